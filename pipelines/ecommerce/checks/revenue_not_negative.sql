-- table: gold.fact_order_line
-- severity: error
-- description: No discount is greater than what it is taken from.

SELECT order_id, line_number, order_date, quantity, unit_price, discount, revenue
FROM gold.fact_order_line
WHERE revenue < 0
