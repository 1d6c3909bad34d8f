-- description: Sales with the visits of their customer: two inputs, whose rows of one customer stand in different months.
-- partition: month(sale_date)
-- key: sale_id
-- reach: any by customer
-- input silver.sale: same(sale_date)
-- input silver.visit: same(visit_date)

SELECT s.sale_id, s.sale_date, count(v.visit_id) AS visits
FROM silver.sale AS s LEFT JOIN silver.visit AS v ON v.customer = s.customer
GROUP BY s.sale_id, s.sale_date
