-- description: Each sale beside what its product earned in all: every partition follows from a table of one.
-- partition: month(sale_date)
-- key: sale_id
-- input silver.sale: same(sale_date)
-- input gold.product: all
-- input silver.name: lookup

SELECT s.sale_id, s.sale_date, s.amount, p.revenue, n.title
FROM silver.sale AS s
JOIN gold.product AS p ON p.product = s.product
LEFT JOIN silver.name AS n ON n.product = s.product
