-- table: gold.dim_product
-- severity: error
-- description: Every product of an order line or a snapshot is known, and has a category.

WITH product AS (
    SELECT product_id FROM silver.orders
    UNION
    SELECT product_id FROM silver.inventory
)

SELECT product.product_id, dim.category
FROM product
LEFT JOIN gold.dim_product AS dim ON product.product_id = dim.product_id
WHERE dim.category IS NULL
