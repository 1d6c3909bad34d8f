-- title: Repeat purchase rate
-- description: Customers with an order in the range, and those of them with two or more.
-- chart: card
-- param category: string
-- unit rate: percent

WITH customer AS (
    SELECT customer_id, count(DISTINCT order_id) AS orders
    FROM gold.fact_order_line
    WHERE is_revenue
        AND customer_id IS NOT NULL
        AND order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND order_date < coalesce($to::DATE, 'infinity'::DATE)
        AND ($category::VARCHAR IS NULL OR product_id IN (
            SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
        ))
    GROUP BY customer_id
)

SELECT
    count(*) AS customers,
    count(*) FILTER (WHERE orders >= 2) AS repeat_customers,
    quotient(count(*) FILTER (WHERE orders >= 2), count(*)) AS rate
FROM customer
