-- description: The how manieth sale of its customer each is; guests count together.
-- partition: month(sale_date)
-- key: sale_id
-- reach: any by customer
-- input silver.sale: same(sale_date)

SELECT sale_id, sale_date, customer, row_number() OVER (PARTITION BY customer ORDER BY sale_date NULLS FIRST, sale_id) AS nth
FROM silver.sale
