-- table: silver.order_reviews
-- severity: error
-- description: Each review of an order is one row, and its key has no null.

SELECT review_id, order_id, count(*) AS rows
FROM silver.order_reviews
GROUP BY review_id, order_id
HAVING count(*) > 1 OR review_id IS NULL OR order_id IS NULL
