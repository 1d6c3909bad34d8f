-- table: silver.orders
-- severity: warn
-- description: Every row of bronze is a line of silver, and no other. A run of an interval may leave other days behind.

SELECT coalesce(bronze._source_file, silver._source_file) AS source_file, bronze.order_date AS bronze_day, silver.order_date AS silver_day
FROM bronze.orders AS bronze
FULL JOIN silver.orders AS silver USING (_source_file, _row_number)
WHERE bronze.order_date IS DISTINCT FROM silver.order_date
