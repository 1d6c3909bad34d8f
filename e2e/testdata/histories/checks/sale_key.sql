-- table: silver.sale
-- severity: error
-- description: A sale stands once.

SELECT sale_id FROM silver.sale GROUP BY sale_id HAVING count(*) > 1
