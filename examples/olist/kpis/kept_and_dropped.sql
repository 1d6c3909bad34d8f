-- title: Kept and dropped lines
-- description: How many order lines count as revenue, how many do not and by which status. Lines without an order have no day and show where no range is given.
-- chart: table
-- unit amount: currency

WITH line AS (
    SELECT is_revenue, status AS reason, order_id, items AS lines, amount
    FROM gold.fact_order
    WHERE order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND order_date < coalesce($to::DATE, 'infinity'::DATE)
    UNION ALL
    SELECT false, 'no_order', order_id, 1, amount
    FROM gold.item_without_order
    WHERE $from::DATE IS NULL AND $to::DATE IS NULL
)

SELECT
    CASE WHEN is_revenue THEN 'kept' ELSE 'dropped' END AS outcome,
    reason,
    sum(lines)::BIGINT AS lines,
    count(DISTINCT order_id) AS orders,
    sum(amount)::DECIMAL(38, 4) AS amount
FROM line
GROUP BY is_revenue, reason
ORDER BY is_revenue DESC, reason
