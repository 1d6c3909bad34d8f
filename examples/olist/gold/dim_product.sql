-- description: Products with their category. Olist gives products no names.
-- key: product_id

-- A product without a category, or that only order items know, is of the category unknown.
WITH product AS (
    SELECT product_id FROM silver.products
    UNION
    SELECT product_id FROM silver.order_items
)

SELECT
    product.product_id,
    NULL::VARCHAR AS product_name,
    coalesce(known.category, 'unknown') AS category,
    known.category_portuguese
FROM product
LEFT JOIN silver.products AS known ON product.product_id = known.product_id
