-- table: silver.orders
-- severity: warn
-- description: A cancellation takes pieces back: its quantity is negative.

SELECT order_id, line_number, order_date, quantity
FROM silver.orders
WHERE status = 'cancelled' AND quantity >= 0
