-- table: gold.dim_date
-- severity: error
-- description: Each day is one row, and its key has no null.

SELECT day, count(*) AS rows
FROM gold.dim_date
GROUP BY day
HAVING count(*) > 1 OR day IS NULL
