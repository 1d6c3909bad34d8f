-- description: Sales of each day and the two days before it.
-- partition: day
-- key: day
-- reach: 2 days
-- input gold.daily: same(day)

SELECT d.day, CAST(sum(before.sales) AS BIGINT) AS sales
FROM gold.daily AS d JOIN gold.daily AS before ON before.day BETWEEN d.day - 2 AND d.day
GROUP BY d.day
