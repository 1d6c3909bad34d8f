-- table: gold.dim_product
-- severity: error
-- description: Every product has a category, be it unknown.

SELECT product_id FROM gold.dim_product WHERE category IS NULL
