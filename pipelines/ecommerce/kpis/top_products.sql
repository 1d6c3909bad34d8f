-- title: Top products
-- description: The products with the most revenue, in each currency.
-- chart: bar
-- param category: string
-- param limit: integer = 10
-- unit revenue: currency

WITH sales AS (
    SELECT product_id, currency, sum(units)::BIGINT AS units, sum(revenue) AS revenue
    FROM gold.kpi_daily_sales
    WHERE day >= coalesce($from::DATE, '-infinity'::DATE)
        AND day < coalesce($to::DATE, 'infinity'::DATE)
        AND ($category::VARCHAR IS NULL OR product_id IN (
            SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
        ))
    GROUP BY product_id, currency
),

ranked AS (
    SELECT *, row_number() OVER (PARTITION BY currency ORDER BY revenue DESC, product_id) AS rank
    FROM sales
)

SELECT
    ranked.rank,
    ranked.product_id,
    product.product_name,
    coalesce(product.category, 'unknown') AS category,
    ranked.currency,
    ranked.units,
    ranked.revenue
FROM ranked
LEFT JOIN gold.dim_product AS product ON ranked.product_id = product.product_id
WHERE ranked.rank <= $limit::BIGINT
ORDER BY ranked.currency, ranked.rank
