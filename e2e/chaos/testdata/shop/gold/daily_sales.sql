-- description: Sales a day.
-- partition: month(day)
-- key: day
-- input silver.sales: same(sale_date)
SELECT sale_date AS day, CAST(count(*) AS BIGINT) AS sales, CAST(sum(amount) AS DECIMAL(38,4)) AS revenue
FROM silver.sales
GROUP BY sale_date
