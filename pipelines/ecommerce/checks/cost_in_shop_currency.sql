-- table: gold.fact_order_line
-- severity: error
-- description: Costs are known in the shop's currency only.

SELECT order_id, line_number, order_date, currency, unit_cost
FROM gold.fact_order_line
WHERE unit_cost IS NOT NULL AND currency <> shop_currency()
