-- table: gold.fact_order
-- severity: warn
-- description: Every order of silver is an order of the fact, and no other. A run of an interval may leave other days behind.

SELECT order_id, orders.order_date AS silver_day, fact.order_date AS fact_day
FROM silver.orders AS orders
FULL JOIN gold.fact_order AS fact USING (order_id)
WHERE orders.order_date IS DISTINCT FROM fact.order_date
