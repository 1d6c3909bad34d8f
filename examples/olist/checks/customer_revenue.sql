-- table: gold.dim_customer
-- severity: error
-- description: All customers together spent what the orders that have a customer say.

WITH orders AS (
    SELECT coalesce(sum(amount), 0) AS revenue FROM gold.fact_order WHERE is_revenue AND customer_id IS NOT NULL
),

customer AS (
    SELECT coalesce(sum(lifetime_revenue), 0) AS revenue FROM gold.dim_customer
)

SELECT orders.revenue AS order_revenue, customer.revenue AS customer_revenue
FROM orders, customer
WHERE orders.revenue <> customer.revenue
