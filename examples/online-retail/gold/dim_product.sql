-- description: Products, each with the name that it was last sold under.
-- key: product_id
-- input silver.orders: all

-- Lines that are no sale do not name products: their descriptions are remarks such as "damages" or "?".
SELECT
    product_id,
    arg_max(
        product_name,
        {order_time: order_time, order_id: order_id, line_number: line_number}
    ) FILTER (WHERE status = 'sold' AND product_name IS NOT NULL) AS product_name,
    'unknown' AS category
FROM silver.orders
GROUP BY product_id
