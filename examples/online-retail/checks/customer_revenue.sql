-- table: gold.dim_customer
-- severity: error
-- description: All customers together spent what the invoice lines that have a customer say.

WITH line AS (
    SELECT coalesce(sum(revenue), 0) AS revenue FROM gold.fact_order_line WHERE is_revenue AND customer_id IS NOT NULL
),

customer AS (
    SELECT coalesce(sum(lifetime_revenue), 0) AS revenue FROM gold.dim_customer
)

SELECT line.revenue AS line_revenue, customer.revenue AS customer_revenue
FROM line, customer
WHERE line.revenue <> customer.revenue
