-- description: Sales by region: a partition that is a text, null for some, straight from bronze.
-- partition: region
-- key: sale_id
-- reach: any
-- input bronze.sales: same(region)

SELECT sale_id, region, amount, _source_file
FROM bronze.sales
QUALIFY row_number() OVER (PARTITION BY sale_id ORDER BY version DESC, _source_file DESC, _row_number DESC) = 1
