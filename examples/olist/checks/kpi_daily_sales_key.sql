-- table: gold.kpi_daily_sales
-- severity: error
-- description: Each day, product and currency is one row, and its key has no null.

SELECT day, product_id, currency, count(*) AS rows
FROM gold.kpi_daily_sales
GROUP BY day, product_id, currency
HAVING count(*) > 1 OR day IS NULL OR product_id IS NULL OR currency IS NULL
