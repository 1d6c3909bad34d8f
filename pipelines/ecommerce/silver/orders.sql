-- description: Order lines, one row a line. Of several versions of a line the one updated last counts.
-- partition: month(order_date)
-- key: order_id, line_number
-- reach: any
-- input bronze.orders: same(order_date)

-- A correction may move a line to another day and month: every version of a line is compared, wherever it stands.
SELECT
    order_id,
    line_number,
    order_date,
    order_time,
    updated_at,
    customer_id,
    customer_email,
    country,
    city,
    payment_method,
    product_id,
    quantity,
    unit_price,
    discount,
    currency,
    status,
    _source_file,
    _row_number
FROM bronze.orders
QUALIFY row_number() OVER (
    PARTITION BY order_id, line_number
    ORDER BY updated_at DESC, _source_file DESC, _row_number DESC
) = 1
