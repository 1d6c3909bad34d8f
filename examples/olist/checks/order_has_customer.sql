-- table: gold.fact_order
-- severity: warn
-- description: The customer of every order is known. One that is not counts as a guest.

SELECT order_id, order_date FROM gold.fact_order WHERE customer_id IS NULL
