-- description: Visits. A gap of more than 30 minutes, or midnight of the business day, begins the next one of the same session id.
-- partition: session_date
-- key: session_id, session_number
-- reach: any by session_id
-- input silver.user_activity: same(event_date)

-- session_number counts on over the days of a session id, so all its events are looked at together.
WITH event AS (
    SELECT
        *,
        lag(event_time) OVER in_session AS previous_time,
        lag(event_date) OVER in_session AS previous_date
    FROM silver.user_activity
    WINDOW in_session AS (PARTITION BY session_id ORDER BY event_time, event_id)
),

numbered AS (
    SELECT
        *,
        1 + count(*) FILTER (
            WHERE event_time > previous_time + INTERVAL 30 MINUTES OR event_date <> previous_date
        ) OVER (PARTITION BY session_id ORDER BY event_time, event_id) AS session_number
    FROM event
)

SELECT
    session_id,
    session_number,
    any_value(event_date) AS session_date,
    first(user_id ORDER BY event_time, event_id) FILTER (WHERE user_id IS NOT NULL) AS user_id,
    min(event_time) AS start_time,
    max(event_time) AS end_time,
    count(*) AS events,
    count(DISTINCT product_id) FILTER (WHERE event_type = 'product_view') AS products_viewed,
    bool_or(event_type = 'add_to_cart') AS reached_cart,
    bool_or(event_type = 'checkout') AS reached_checkout,
    bool_or(event_type = 'purchase') AS reached_purchase
FROM numbered
GROUP BY session_id, session_number
