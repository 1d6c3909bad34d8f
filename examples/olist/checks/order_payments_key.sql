-- table: silver.order_payments
-- severity: error
-- description: Each payment is one row, and its key has no null.

SELECT order_id, payment_number, count(*) AS rows
FROM silver.order_payments
GROUP BY order_id, payment_number
HAVING count(*) > 1 OR order_id IS NULL OR payment_number IS NULL
