-- description: Products: their category, in Portuguese and in English, and their measures.
-- key: product_id

-- A category that the translation lacks keeps its Portuguese name.
WITH product AS (
    SELECT *
    FROM bronze.products
    QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY _source_file DESC, _row_number DESC) = 1
),

translation AS (
    SELECT *
    FROM bronze.category_translation
    QUALIFY row_number() OVER (PARTITION BY product_category_name ORDER BY _source_file DESC, _row_number DESC) = 1
)

SELECT
    product.product_id,
    product.product_category_name AS category_portuguese,
    coalesce(translation.product_category_name_english, product.product_category_name) AS category,
    product.product_name_length,
    product.product_description_length,
    product.product_photos_qty,
    product.product_weight_g,
    product.product_length_cm,
    product.product_height_cm,
    product.product_width_cm
FROM product
LEFT JOIN translation ON product.product_category_name = translation.product_category_name
