-- description: Order lines of every status with their revenue. A line is one piece.
-- partition: month(order_date)
-- key: order_id, line_number
-- input gold.fact_order: same(order_date)
-- input silver.order_items: all

SELECT
    item.order_id,
    item.line_number,
    orders.order_date,
    orders.order_time,
    orders.customer_id,
    orders.city,
    orders.state,
    item.product_id,
    item.seller_id,
    1::BIGINT AS quantity,
    item.unit_price,
    item.freight,
    orders.currency,
    orders.status,
    orders.is_revenue,
    (item.unit_price + item.freight)::DECIMAL(38, 4) AS revenue
FROM silver.order_items AS item
JOIN gold.fact_order AS orders ON item.order_id = orders.order_id
