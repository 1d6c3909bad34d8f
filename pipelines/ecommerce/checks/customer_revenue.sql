-- table: gold.customer_month
-- severity: error
-- description: The months of all customers add up to the revenue of the order lines that have a customer.

WITH line AS (
    SELECT currency, sum(revenue) AS revenue
    FROM gold.fact_order_line
    WHERE is_revenue AND customer_id IS NOT NULL
    GROUP BY currency
),

customer AS (
    SELECT currency, sum(revenue) AS revenue
    FROM gold.customer_month
    GROUP BY currency
)

SELECT currency, line.revenue AS line_revenue, customer.revenue AS customer_revenue
FROM line
FULL JOIN customer USING (currency)
WHERE line.revenue IS DISTINCT FROM customer.revenue
