-- table: gold.customer_month
-- severity: error
-- description: Each customer, month and currency is one row, and its key has no null.

SELECT customer_id, order_month, currency, count(*) AS rows
FROM gold.customer_month
GROUP BY customer_id, order_month, currency
HAVING count(*) > 1 OR customer_id IS NULL OR order_month IS NULL OR currency IS NULL
