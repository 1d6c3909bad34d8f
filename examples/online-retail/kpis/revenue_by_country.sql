-- title: Revenue by country
-- description: Revenue and orders of each country.
-- chart: bar
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
GROUP BY ALL
ORDER BY currency, revenue DESC, country
