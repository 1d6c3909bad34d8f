-- description: Invoice lines of every status with their revenue.
-- partition: month(order_date)
-- key: order_id, line_number
-- input silver.orders: same(order_date)

-- A revenue line is one that was sold: is_revenue says so, and is the only place that does.
SELECT
    order_id,
    line_number,
    order_date,
    order_time,
    customer_id,
    country,
    product_id,
    quantity,
    unit_price,
    currency,
    status,
    status = 'sold' AS is_revenue,
    is_repeat,
    (quantity * unit_price)::DECIMAL(38, 4) AS revenue
FROM silver.orders
