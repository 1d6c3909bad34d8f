-- table: gold.dim_product
-- severity: error
-- description: Each product is one row, and its key has no null.

SELECT product_id, count(*) AS rows
FROM gold.dim_product
GROUP BY product_id
HAVING count(*) > 1 OR product_id IS NULL
