-- table: silver.sales
-- severity: error
-- description: No sale is that large.
SELECT sale_id, amount FROM silver.sales WHERE amount > 1000
