-- table: gold.fact_order_line
-- severity: warn
-- description: At least 95 % of a month's revenue lines in the shop's currency have a known cost.

SELECT
    date_trunc('month', order_date)::DATE AS month,
    count(*) AS lines,
    count(*) FILTER (WHERE cost IS NULL) AS lines_without_cost
FROM gold.fact_order_line
WHERE is_revenue AND currency = shop_currency()
GROUP BY date_trunc('month', order_date)
HAVING count(*) FILTER (WHERE cost IS NULL) * 20 > count(*)
