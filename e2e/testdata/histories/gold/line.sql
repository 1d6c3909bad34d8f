-- description: Sales with the cost of their day: the latest snapshot on or before it.
-- partition: month(sale_date)
-- key: sale_id
-- input silver.sale: same(sale_date)
-- input silver.stock: asof(snapshot_date)

SELECT s.sale_id, s.sale_date, s.customer, s.product, s.amount, stock.cost, s.amount - stock.cost AS margin
FROM silver.sale AS s
ASOF LEFT JOIN silver.stock AS stock ON s.product = stock.product AND s.sale_date >= stock.snapshot_date
