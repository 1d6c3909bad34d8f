-- table: gold.fact_order_line
-- severity: warn
-- description: The lines of an order add up to what its pieces cost. A run of an interval may leave other days behind.

WITH line AS (
    SELECT order_id, count(*) AS lines, sum(revenue) AS amount FROM gold.fact_order_line GROUP BY order_id
)

SELECT order_id, orders.items, line.lines, orders.amount, line.amount AS amount_of_lines
FROM gold.fact_order AS orders
FULL JOIN line USING (order_id)
WHERE coalesce(orders.items, 0) <> coalesce(line.lines, 0) OR coalesce(orders.amount, 0) <> coalesce(line.amount, 0)
