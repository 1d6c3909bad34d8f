-- title: Revenue by country
-- description: Revenue and orders of each country.
-- chart: bar
-- param category: string
-- unit revenue: currency

SELECT
    coalesce(country, 'unknown') AS country,
    currency,
    sum(revenue) AS revenue,
    count(DISTINCT order_id) AS orders
FROM gold.fact_order_line
WHERE is_revenue
    AND order_date >= coalesce($from::DATE, '-infinity'::DATE)
    AND order_date < coalesce($to::DATE, 'infinity'::DATE)
    AND ($category::VARCHAR IS NULL OR product_id IN (
        SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
    ))
GROUP BY ALL
ORDER BY currency, revenue DESC, country
