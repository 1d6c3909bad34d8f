-- description: Only sales whose cost is known, a partition a day: a day may be empty until a late snapshot comes.
-- partition: sale_date
-- key: sale_id
-- input silver.sale: same(sale_date)
-- input silver.stock: asof(snapshot_date)

SELECT s.sale_id, s.sale_date, stock.snapshot_date, stock.cost
FROM silver.sale AS s
ASOF JOIN silver.stock AS stock ON s.product = stock.product AND s.sale_date >= stock.snapshot_date
