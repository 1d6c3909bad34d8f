-- table: gold.fact_order_line
-- severity: error
-- description: Every revenue line says in which currency it is, and its revenue.

SELECT order_id, line_number, order_date, currency, revenue
FROM gold.fact_order_line
WHERE is_revenue AND (currency IS NULL OR revenue IS NULL)
