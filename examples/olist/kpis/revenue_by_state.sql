-- title: Revenue by state
-- description: Revenue and orders of each state.
-- chart: bar
-- unit revenue: currency

SELECT
    coalesce(state, 'unknown') AS state,
    currency,
    sum(revenue) AS revenue,
    count(DISTINCT order_id) AS orders
FROM gold.fact_order_line
WHERE is_revenue
    AND order_date >= coalesce($from::DATE, '-infinity'::DATE)
    AND order_date < coalesce($to::DATE, 'infinity'::DATE)
GROUP BY ALL
ORDER BY currency, revenue DESC, state
