-- table: gold.fact_order
-- severity: warn
-- description: What was delivered has pieces.

SELECT order_id, order_date FROM gold.fact_order WHERE is_revenue AND items = 0
