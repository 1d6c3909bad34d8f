-- title: Kept and dropped lines
-- description: How many invoice lines count as revenue, how many do not and why; and how many repeat an earlier line exactly.
-- chart: table
-- unit amount: currency

WITH reasons AS (
    SELECT unnest(['sold', 'cancelled', 'quantity_not_positive', 'price_not_positive']) AS reason,
        unnest([1, 2, 3, 4]) AS position
),

line AS (
    SELECT *
    FROM gold.fact_order_line
    WHERE order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND order_date < coalesce($to::DATE, 'infinity'::DATE)
)

SELECT
    CASE WHEN reasons.reason = 'sold' THEN 'kept' ELSE 'dropped' END AS outcome,
    reasons.reason,
    count(line.order_id) AS lines,
    count(DISTINCT line.order_id) AS orders,
    count(*) FILTER (WHERE line.is_repeat) AS repeated_lines,
    coalesce(sum(line.revenue), 0)::DECIMAL(38, 4) AS amount
FROM reasons
LEFT JOIN line ON reasons.reason = line.status
GROUP BY reasons.reason, reasons.position
ORDER BY reasons.position
