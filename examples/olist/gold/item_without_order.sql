-- description: Pieces whose order is not there (yet): they have no day, and are no revenue.
-- key: order_id, line_number

SELECT
    item.order_id,
    item.line_number,
    item.product_id,
    (item.unit_price + item.freight)::DECIMAL(38, 4) AS amount
FROM silver.order_items AS item
ANTI JOIN silver.orders AS orders ON item.order_id = orders.order_id
