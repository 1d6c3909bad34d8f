-- table: gold.fact_order
-- severity: error
-- description: Each order is one row, and its key has no null.

SELECT order_id, count(*) AS rows
FROM gold.fact_order
GROUP BY order_id
HAVING count(*) > 1 OR order_id IS NULL
