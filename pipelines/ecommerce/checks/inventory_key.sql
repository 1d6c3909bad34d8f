-- table: silver.inventory
-- severity: error
-- description: Each snapshot, product and warehouse is one row, and its key has no null.

SELECT snapshot_date, product_id, warehouse, count(*) AS rows
FROM silver.inventory
GROUP BY snapshot_date, product_id, warehouse
HAVING count(*) > 1 OR snapshot_date IS NULL OR product_id IS NULL OR warehouse IS NULL
