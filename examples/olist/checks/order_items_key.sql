-- table: silver.order_items
-- severity: error
-- description: Each piece of an order is one row, and its key has no null.

SELECT order_id, line_number, count(*) AS rows
FROM silver.order_items
GROUP BY order_id, line_number
HAVING count(*) > 1 OR order_id IS NULL OR line_number IS NULL
