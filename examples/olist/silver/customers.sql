-- description: Customers of orders: the person behind each, and where they live.
-- key: customer_id

SELECT
    customer_id,
    customer_unique_id,
    customer_zip_code_prefix AS zip_code_prefix,
    customer_city AS city,
    customer_state AS state
FROM bronze.customers
QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY _source_file DESC, _row_number DESC) = 1
