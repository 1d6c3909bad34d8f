-- description: Customers: their first and last order, how many, what they spent, and where they live.
-- key: customer_id
-- input gold.fact_order_line: all

-- Whoever has a line of any status is a customer; dates, orders and revenue are those of revenue lines.
SELECT
    customer_id,
    min(order_date) FILTER (WHERE is_revenue) AS first_order_date,
    max(order_date) FILTER (WHERE is_revenue) AS last_order_date,
    count(DISTINCT order_id) FILTER (WHERE is_revenue) AS orders,
    coalesce(sum(revenue) FILTER (WHERE is_revenue), 0)::DECIMAL(38, 4) AS lifetime_revenue,
    arg_max(
        country,
        {order_time: order_time, order_id: order_id, line_number: line_number}
    ) FILTER (WHERE country IS NOT NULL) AS country
FROM gold.fact_order_line
WHERE customer_id IS NOT NULL
GROUP BY customer_id
