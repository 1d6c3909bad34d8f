-- table: silver.sale
-- severity: error
-- description: No sale is that large: a file with one fails the check until it is mended.

SELECT sale_id, amount FROM silver.sale WHERE amount > 1000
