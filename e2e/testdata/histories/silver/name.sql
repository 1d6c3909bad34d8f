-- description: Names of products; one partition, of an input without days.
-- key: product

SELECT product, max(title) AS title FROM bronze.names GROUP BY product
