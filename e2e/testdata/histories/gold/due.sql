-- description: What is due, by a day that its input is not partitioned by.
-- partition: month(due_date)
-- key: sale_id
-- input silver.sale: same(due_date)

SELECT sale_id, due_date, sale_date, amount FROM silver.sale
