-- table: silver.sales
-- severity: error
-- description: A sale stands once.
SELECT sale_id, count(*) AS rows FROM silver.sales GROUP BY sale_id HAVING count(*) > 1
