-- description: The latest version of each sale.
-- partition: month(sale_date)
-- key: sale_id
-- reach: any
-- input bronze.sales: same(sale_date)
SELECT sale_id, sale_date, version, amount
FROM bronze.sales
QUALIFY row_number() OVER (PARTITION BY sale_id ORDER BY version DESC, _source_file DESC, _row_number DESC) = 1
