-- table: silver.orders
-- severity: error
-- description: Each order is one row, and its key has no null.

SELECT order_id, count(*) AS rows
FROM silver.orders
GROUP BY order_id
HAVING count(*) > 1 OR order_id IS NULL
