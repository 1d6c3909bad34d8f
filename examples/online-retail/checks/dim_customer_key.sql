-- table: gold.dim_customer
-- severity: error
-- description: Each customer is one row, and its key has no null.

SELECT customer_id, count(*) AS rows
FROM gold.dim_customer
GROUP BY customer_id
HAVING count(*) > 1 OR customer_id IS NULL
