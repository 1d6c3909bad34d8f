-- title: Payment types
-- description: How delivered orders were paid. Payments include the interest of instalments, so they are no revenue.
-- chart: bar
-- unit amount: currency
-- unit share: percent

WITH paid AS (
    SELECT payment_type, currency, count(*) AS payments, count(DISTINCT order_id) AS orders, sum(amount) AS amount
    FROM gold.fact_payment
    WHERE is_revenue
        AND order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND order_date < coalesce($to::DATE, 'infinity'::DATE)
    GROUP BY payment_type, currency
)

SELECT
    payment_type,
    currency,
    payments,
    orders,
    amount,
    quotient(amount, sum(amount) OVER (PARTITION BY currency)) AS share
FROM paid
ORDER BY currency, amount DESC, payment_type
