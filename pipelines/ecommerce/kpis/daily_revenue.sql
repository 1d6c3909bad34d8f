-- title: Daily revenue
-- description: Revenue, orders and units of every day, for each currency that was sold in.
-- chart: line
-- param category: string
-- unit revenue: currency

-- Revenue and units come from kpi_daily_sales; orders do not, since an order of two products would count twice.
WITH bounds AS (
    SELECT
        coalesce($from::DATE, min(order_date)) AS first_day,
        coalesce($to::DATE, max(order_date) + 1) AS end_day
    FROM gold.fact_order_line
),

sales AS (
    SELECT day, currency, sum(revenue) AS revenue, sum(units)::BIGINT AS units
    FROM gold.kpi_daily_sales, bounds
    WHERE day >= first_day AND day < end_day
        AND ($category::VARCHAR IS NULL OR product_id IN (
            SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
        ))
    GROUP BY day, currency
),

ordered AS (
    SELECT order_date AS day, currency, count(DISTINCT order_id) AS orders
    FROM gold.fact_order_line, bounds
    WHERE is_revenue AND order_date >= first_day AND order_date < end_day
        AND ($category::VARCHAR IS NULL OR product_id IN (
            SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
        ))
    GROUP BY order_date, currency
),

calendar AS (
    SELECT unnest(range(first_day, end_day, INTERVAL 1 DAY))::DATE AS day FROM bounds
)

SELECT
    day,
    currency,
    coalesce(revenue, 0)::DECIMAL(38, 4) AS revenue,
    coalesce(orders, 0) AS orders,
    coalesce(units, 0) AS units
FROM calendar
CROSS JOIN (SELECT DISTINCT currency FROM sales)
LEFT JOIN sales USING (day, currency)
LEFT JOIN ordered USING (day, currency)
ORDER BY day, currency
