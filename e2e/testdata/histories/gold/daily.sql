-- description: Sales a day.
-- partition: month(day)
-- key: day
-- input gold.line: same(sale_date)

SELECT sale_date AS day, count(*) AS sales, CAST(sum(amount) AS DECIMAL(38,4)) AS revenue, CAST(sum(margin) AS DECIMAL(38,4)) AS margin,
    list(sale_id ORDER BY sale_id) AS sale_ids
FROM gold.line
GROUP BY sale_date
