-- description: Payments of orders, one row a payment.
-- key: order_id, payment_number

SELECT
    order_id,
    payment_sequential AS payment_number,
    payment_type,
    payment_installments AS installments,
    payment_value AS amount
FROM bronze.order_payments
QUALIFY row_number() OVER (PARTITION BY order_id, payment_sequential ORDER BY _source_file DESC, _row_number DESC) = 1
