-- title: Gross margin
-- description: Revenue, cost and margin of each category over the lines whose cost is known; the others are counted.
-- chart: table
-- param category: string
-- unit revenue: currency
-- unit cost: currency
-- unit margin: currency
-- unit margin_rate: percent

WITH sales AS (
    SELECT
        coalesce(product.category, 'unknown') AS category,
        line.currency,
        coalesce(sum(line.revenue) FILTER (WHERE line.cost IS NOT NULL), 0)::DECIMAL(38, 4) AS revenue,
        coalesce(sum(line.cost), 0)::DECIMAL(38, 4) AS cost,
        coalesce(sum(line.margin), 0)::DECIMAL(38, 4) AS margin,
        count(*) FILTER (WHERE line.cost IS NULL) AS lines_without_cost
    FROM gold.fact_order_line AS line
    LEFT JOIN gold.dim_product AS product ON line.product_id = product.product_id
    WHERE line.is_revenue
        AND line.order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND line.order_date < coalesce($to::DATE, 'infinity'::DATE)
        AND ($category::VARCHAR IS NULL OR coalesce(product.category, 'unknown') = $category::VARCHAR)
    GROUP BY ALL
)

SELECT
    category,
    currency,
    revenue,
    cost,
    margin,
    quotient(margin, revenue) AS margin_rate,
    lines_without_cost
FROM sales
ORDER BY currency, category
