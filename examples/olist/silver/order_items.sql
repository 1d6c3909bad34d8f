-- description: The pieces of orders, one row a piece.
-- key: order_id, line_number

SELECT
    order_id,
    order_item_id AS line_number,
    product_id,
    seller_id,
    shipping_limit_date AS ship_until,
    price AS unit_price,
    freight_value AS freight
FROM bronze.order_items
QUALIFY row_number() OVER (PARTITION BY order_id, order_item_id ORDER BY _source_file DESC, _row_number DESC) = 1
