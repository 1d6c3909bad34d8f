-- description: Orders, one row an order, with their last known status.
-- partition: month(order_date)
-- key: order_id
-- reach: any
-- input bronze.orders: same(order_date)

-- No column tells when a row was changed: of several rows of an order that of the later file by name counts, then the later row.
SELECT
    order_id,
    customer_id,
    order_status AS status,
    order_date,
    order_purchase_timestamp AS order_time,
    order_approved_at AS approved_at,
    order_delivered_carrier_date AS handed_over_at,
    order_delivered_customer_date AS delivered_at,
    order_estimated_delivery_date AS estimated_at
FROM bronze.orders
QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY _source_file DESC, _row_number DESC) = 1
