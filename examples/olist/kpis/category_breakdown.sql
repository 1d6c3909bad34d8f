-- title: Revenue by category
-- description: Revenue, orders and units of each category, and its share of the currency's revenue.
-- chart: bar
-- unit revenue: currency
-- unit share: percent

WITH sales AS (
    SELECT
        coalesce(product.category, 'unknown') AS category,
        line.currency,
        sum(line.revenue) AS revenue,
        count(DISTINCT line.order_id) AS orders,
        sum(line.quantity)::BIGINT AS units
    FROM gold.fact_order_line AS line
    LEFT JOIN gold.dim_product AS product ON line.product_id = product.product_id
    WHERE line.is_revenue
        AND line.order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND line.order_date < coalesce($to::DATE, 'infinity'::DATE)
    GROUP BY ALL
),

total AS (
    SELECT currency, sum(revenue) AS revenue FROM sales GROUP BY currency
)

SELECT
    sales.category,
    sales.currency,
    sales.revenue,
    quotient(sales.revenue, total.revenue) AS share,
    sales.orders,
    sales.units
FROM sales
JOIN total ON sales.currency = total.currency
ORDER BY sales.currency, sales.revenue DESC, sales.category
