-- title: Total revenue
-- description: Revenue, orders, customers and units of each currency, and what an order is worth on average.
-- chart: card
-- param category: string
-- unit revenue: currency
-- unit average_order_value: currency

SELECT
    currency,
    sum(revenue) AS revenue,
    count(DISTINCT order_id) AS orders,
    count(DISTINCT customer_id) AS customers,
    sum(quantity)::BIGINT AS units,
    quotient(sum(revenue), count(DISTINCT order_id)) AS average_order_value
FROM gold.fact_order_line
WHERE is_revenue
    AND order_date >= coalesce($from::DATE, '-infinity'::DATE)
    AND order_date < coalesce($to::DATE, 'infinity'::DATE)
    AND ($category::VARCHAR IS NULL OR product_id IN (
        SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
    ))
GROUP BY currency
ORDER BY currency
