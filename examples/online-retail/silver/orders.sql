-- description: Invoice lines, all of them, with what each is: sold, or why it is no sale.
-- partition: month(order_date)
-- key: order_id, line_number
-- reach: any by invoice_no
-- input bronze.orders: same(order_date)

-- Lines have no number in the data: they are counted in the order in which the files hold them. Nothing is de-duplicated, since
-- two equal lines of an invoice may well be two sales; is_repeat marks those that repeat an earlier line of their invoice exactly.
SELECT
    invoice_no AS order_id,
    row_number() OVER (PARTITION BY invoice_no ORDER BY _source_file, _row_number) AS line_number,
    order_date,
    invoice_date AS order_time,
    customer_id::VARCHAR AS customer_id,
    country,
    stock_code AS product_id,
    description AS product_name,
    quantity,
    unit_price,
    shop_currency() AS currency,
    CASE
        WHEN upper(invoice_no[1]) = 'C' THEN 'cancelled'
        WHEN quantity <= 0 THEN 'quantity_not_positive'
        WHEN unit_price <= 0 THEN 'price_not_positive'
        ELSE 'sold'
    END AS status,
    row_number() OVER (
        PARTITION BY invoice_no, stock_code, description, quantity, invoice_date, unit_price, customer_id, country
        ORDER BY _source_file, _row_number
    ) > 1 AS is_repeat,
    _source_file,
    _row_number
FROM bronze.orders
