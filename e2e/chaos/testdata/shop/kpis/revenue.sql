-- title: Revenue
-- description: All sales of a range.
-- chart: card
-- unit revenue: currency
SELECT CAST(sum(sales) AS BIGINT) AS sales, sum(revenue) AS revenue
FROM gold.daily_sales
WHERE ($from IS NULL OR day >= $from) AND ($to IS NULL OR day < $to)
