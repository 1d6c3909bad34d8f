-- description: Orders of every status, with who ordered, what its pieces cost and what was paid.
-- partition: month(order_date)
-- key: order_id
-- input silver.orders: same(order_date)
-- input silver.order_items: all
-- input silver.order_payments: all
-- input silver.customers: all

-- A revenue order is one that was delivered: is_revenue says so, and is the only place that does.
-- customer_id is the person: the files have a new customer_id for each order.
WITH item AS (
    SELECT order_id, count(*) AS items, sum(unit_price + freight) AS amount
    FROM silver.order_items
    GROUP BY order_id
),

payment AS (
    SELECT order_id, count(*) AS payments, sum(amount) AS paid
    FROM silver.order_payments
    GROUP BY order_id
)

SELECT
    orders.order_id,
    orders.order_date,
    orders.order_time,
    customer.customer_unique_id AS customer_id,
    customer.city,
    customer.state,
    orders.status,
    orders.status = 'delivered' AS is_revenue,
    shop_currency() AS currency,
    coalesce(item.items, 0) AS items,
    coalesce(item.amount, 0)::DECIMAL(38, 4) AS amount,
    coalesce(payment.payments, 0) AS payments,
    coalesce(payment.paid, 0)::DECIMAL(38, 4) AS paid,
    orders.delivered_at,
    orders.estimated_at
FROM silver.orders AS orders
LEFT JOIN silver.customers AS customer ON orders.customer_id = customer.customer_id
LEFT JOIN item ON orders.order_id = item.order_id
LEFT JOIN payment ON orders.order_id = payment.order_id
