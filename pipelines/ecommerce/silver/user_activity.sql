-- description: What visitors did, one row an event. An event that was sent twice counts once, at its earliest time.
-- partition: event_date
-- key: event_id
-- reach: any
-- input bronze.user_activity: same(event_date)

SELECT
    event_id,
    event_date,
    event_time,
    session_id,
    user_id,
    event_type,
    product_id,
    order_id,
    country,
    page_url,
    referrer,
    device,
    search_query,
    properties,
    _source_file,
    _row_number
FROM bronze.user_activity
QUALIFY row_number() OVER (
    PARTITION BY event_id
    ORDER BY event_time, _source_file, _row_number
) = 1
