-- table: gold.fact_order_line
-- severity: error
-- description: Each invoice line is one row, and its key has no null.

SELECT order_id, line_number, count(*) AS rows
FROM gold.fact_order_line
GROUP BY order_id, line_number
HAVING count(*) > 1 OR order_id IS NULL OR line_number IS NULL
