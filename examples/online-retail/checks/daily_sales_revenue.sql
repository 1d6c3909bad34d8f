-- table: gold.kpi_daily_sales
-- severity: error
-- description: Daily sales add up to the revenue and units of the invoice lines, day by day.

WITH line AS (
    SELECT order_date AS day, currency, sum(revenue) AS revenue, sum(quantity) AS units
    FROM gold.fact_order_line
    WHERE is_revenue
    GROUP BY order_date, currency
),

sales AS (
    SELECT day, currency, sum(revenue) AS revenue, sum(units) AS units
    FROM gold.kpi_daily_sales
    GROUP BY day, currency
)

SELECT
    day,
    currency,
    line.revenue AS line_revenue,
    sales.revenue AS sales_revenue,
    line.units AS line_units,
    sales.units AS sales_units
FROM line
FULL JOIN sales USING (day, currency)
WHERE line.revenue IS DISTINCT FROM sales.revenue OR line.units IS DISTINCT FROM sales.units
