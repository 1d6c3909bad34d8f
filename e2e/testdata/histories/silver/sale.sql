-- description: The latest version of each sale, of two sources: a later version in one takes the sale out of the other's month.
-- partition: month(sale_date)
-- key: sale_id
-- reach: any
-- input bronze.sales: same(sale_date)
-- input bronze.imports: same(sale_date)

WITH every AS (
    SELECT sale_id, sale_date, version, due_date, customer, product, region, amount, 'sales' AS source, _source_file, _row_number
    FROM bronze.sales
    UNION ALL
    SELECT sale_id, sale_date, version, due_date, customer, product, region, amount, 'imports', _source_file, _row_number
    FROM bronze.imports
)
-- bucket is what tables regrouped by customer are partitioned by.
SELECT *, CAST(ascii(customer) % 3 AS INTEGER) AS bucket
FROM every
QUALIFY row_number() OVER (PARTITION BY sale_id ORDER BY version DESC, source DESC, _source_file DESC, _row_number DESC) = 1
