-- title: Products
-- description: What each product earned.
-- chart: bar

SELECT product, revenue FROM gold.product ORDER BY revenue DESC NULLS LAST, product
