-- table: gold.dim_date
-- severity: warn
-- description: Orders are no more than 2 days older than the newest order, session or snapshot.

WITH newest AS (
    SELECT max(day) AS day FROM gold.dim_date
),

orders AS (
    SELECT max(order_date) AS day FROM silver.orders
)

SELECT orders.day AS newest_order, newest.day AS newest_day
FROM orders, newest
WHERE orders.day < newest.day - 2
