-- Order lines as text: what cannot be cut into cells is kept in reject_errors.
CREATE TABLE order_cells AS
{{reads}};

CREATE TABLE order_rejects AS
SELECT files.file_path AS filename, errors.line, any_value(errors.csv_line) AS raw, list(DISTINCT errors.error_type::VARCHAR) AS rules
FROM reject_errors AS errors
JOIN reject_scans AS files USING (scan_id, file_id)
GROUP BY ALL;

CREATE TABLE orders_checked AS
WITH cells AS (
    SELECT
        filename,
        cell(order_id) AS order_id,
        cell(line_number) AS line_number,
        cell(order_time) AS order_time,
        cell(updated_at) AS updated_at,
        cell(customer_id) AS customer_id,
        cell(customer_email) AS customer_email,
        cell(country) AS country,
        cell(payment_method) AS payment_method,
        cell(city) AS city,
        cell(product_id) AS product_id,
        cell(quantity) AS quantity,
        cell(unit_price) AS unit_price,
        coalesce(cell(discount), '0') AS discount,
        cell(currency) AS currency,
        cell(status) AS status
    FROM order_cells
    -- A record whose cells are all empty is no row.
    WHERE concat(order_id, line_number, order_time, updated_at, customer_id, customer_email, country, payment_method, city, product_id,
        quantity, unit_price, discount, currency, status) <> ''
),

typed AS (
    SELECT
        cells.*,
        whole(line_number) AS line,
        moment(order_time) AS ordered,
        moment(updated_at) AS updated,
        CASE WHEN regexp_matches(country, '^[A-Za-z]{2}$') THEN upper(country) ELSE country END AS land,
        whole(quantity) AS pieces,
        amount(unit_price) AS price,
        amount(discount) AS off,
        upper(currency) AS money,
        lower(status) AS state
    FROM cells
),

faults AS (
    SELECT
        *,
        CASE WHEN order_id IS NULL THEN 'required:order_id' END AS f1,
        CASE WHEN line_number IS NULL THEN 'required:line_number' WHEN line IS NULL THEN 'type:line_number'
            WHEN line < 1 THEN 'range:line_number' END AS f2,
        CASE WHEN order_time IS NULL THEN 'required:order_time' WHEN ordered IS NULL THEN 'type:order_time' END AS f3,
        CASE WHEN updated_at IS NOT NULL AND updated IS NULL THEN 'type:updated_at' END AS f4,
        CASE WHEN product_id IS NULL THEN 'required:product_id' END AS f5,
        CASE WHEN quantity IS NULL THEN 'required:quantity' WHEN pieces IS NULL THEN 'type:quantity'
            WHEN pieces < 1 THEN 'range:quantity' END AS f6,
        CASE WHEN unit_price IS NULL THEN 'required:unit_price' WHEN price IS NULL THEN 'type:unit_price'
            WHEN price < 0 THEN 'range:unit_price' END AS f7,
        CASE WHEN off IS NULL THEN 'type:discount'
            WHEN off < 0 OR (pieces >= 1 AND price >= 0 AND off > pieces * price) THEN 'range:discount' END AS f8,
        CASE WHEN currency IS NULL THEN 'required:currency' WHEN NOT regexp_matches(currency, '^[A-Za-z]{3}$') THEN 'pattern:currency' END AS f9,
        CASE WHEN status IS NULL THEN 'required:status'
            WHEN state NOT IN ('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'returned') THEN 'enum:status' END AS f10
    FROM typed
),

ruled AS (
    SELECT
        *,
        CASE WHEN coalesce(f1, f2, f3, f4, f5, f6, f7, f8, f9, f10) IS NOT NULL
            THEN list_filter([f1, f2, f3, f4, f5, f6, f7, f8, f9, f10], lambda rule: rule IS NOT NULL) END AS rules
    FROM faults
)

SELECT * FROM ruled;

COPY (
    SELECT
        order_id, line AS line_number, ordered AS order_time, coalesce(updated, ordered) AS updated_at, customer_id, customer_email,
        land AS country, payment_method, city, product_id, pieces AS quantity, price AS unit_price, off AS discount, money AS currency,
        state AS status, business_day(ordered) AS order_date, filename AS _source_file, 0::BIGINT AS _row_number
    FROM orders_checked
    WHERE rules IS NULL
) TO '{{out}}/bronze.orders.parquet' (FORMAT parquet, COMPRESSION zstd);

COPY (
    SELECT filename, rules, to_json(checked)::VARCHAR AS raw FROM orders_checked AS checked WHERE rules IS NOT NULL
    UNION ALL
    SELECT filename, rules, raw FROM order_rejects
) TO '{{out}}/quarantine.orders.parquet' (FORMAT parquet, COMPRESSION zstd);

DROP TABLE order_cells;
DROP TABLE order_rejects;
DROP TABLE orders_checked;
