-- table: gold.fact_order_line
-- severity: error
-- description: Revenue comes from lines with both a quantity and a price above 0 that cancel nothing.

SELECT order_id, line_number, order_date, quantity, unit_price, revenue
FROM gold.fact_order_line
WHERE is_revenue AND (quantity <= 0 OR unit_price <= 0 OR revenue <= 0 OR order_id ILIKE 'c%')
