-- description: Customers who were ever seen; a table that grows.
-- key: customer
-- build: append
-- input silver.sale: all
-- input silver.visit: all

SELECT customer, min(day) AS first_day
FROM (SELECT customer, sale_date AS day FROM silver.sale UNION ALL SELECT customer, visit_date FROM silver.visit)
WHERE customer IS NOT NULL
GROUP BY customer
