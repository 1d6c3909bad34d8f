-- table: silver.customers
-- severity: error
-- description: Each customer of an order is one row, and its key has no null.

SELECT customer_id, count(*) AS rows
FROM silver.customers
GROUP BY customer_id
HAVING count(*) > 1 OR customer_id IS NULL
