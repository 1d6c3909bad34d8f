-- table: gold.dim_customer
-- severity: error
-- description: Everybody who ordered is a customer.

SELECT DISTINCT month.customer_id
FROM gold.customer_month AS month
ANTI JOIN gold.dim_customer AS customer USING (customer_id)
