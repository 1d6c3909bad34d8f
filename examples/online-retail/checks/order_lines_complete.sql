-- table: gold.fact_order_line
-- severity: warn
-- description: Every invoice line of silver is a line of the fact, and no other. A run of an interval may leave other days behind.

SELECT order_id, line_number, orders.order_date AS silver_day, line.order_date AS fact_day
FROM silver.orders AS orders
FULL JOIN gold.fact_order_line AS line USING (order_id, line_number)
WHERE orders.order_date IS DISTINCT FROM line.order_date
