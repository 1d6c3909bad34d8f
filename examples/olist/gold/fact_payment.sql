-- description: Payments of orders, each on the day of its order.
-- partition: month(order_date)
-- key: order_id, payment_number
-- input gold.fact_order: same(order_date)
-- input silver.order_payments: all

SELECT
    payment.order_id,
    payment.payment_number,
    orders.order_date,
    payment.payment_type,
    payment.installments,
    orders.currency,
    orders.is_revenue,
    payment.amount
FROM silver.order_payments AS payment
JOIN gold.fact_order AS orders ON payment.order_id = orders.order_id
