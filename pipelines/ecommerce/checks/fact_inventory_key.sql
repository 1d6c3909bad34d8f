-- table: gold.fact_inventory
-- severity: error
-- description: Each snapshot and product is one row, and its key has no null.

SELECT snapshot_date, product_id, count(*) AS rows
FROM gold.fact_inventory
GROUP BY snapshot_date, product_id
HAVING count(*) > 1 OR snapshot_date IS NULL OR product_id IS NULL
