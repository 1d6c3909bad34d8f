-- description: Customers, one row a person: their first and last order, how many, what they spent, and where they live.
-- key: customer_id
-- input gold.fact_order: all

-- Whoever has an order of any status is a customer; dates, orders and revenue are those of revenue orders. People move: city and
-- state are those of the latest order.
SELECT
    customer_id,
    min(order_date) FILTER (WHERE is_revenue AND items > 0) AS first_order_date,
    max(order_date) FILTER (WHERE is_revenue AND items > 0) AS last_order_date,
    count(*) FILTER (WHERE is_revenue AND items > 0) AS orders,
    coalesce(sum(amount) FILTER (WHERE is_revenue), 0)::DECIMAL(38, 4) AS lifetime_revenue,
    arg_max(city, {order_time: order_time, order_id: order_id}) FILTER (WHERE city IS NOT NULL) AS city,
    arg_max(state, {order_time: order_time, order_id: order_id}) FILTER (WHERE state IS NOT NULL) AS state
FROM gold.fact_order
WHERE customer_id IS NOT NULL
GROUP BY customer_id
