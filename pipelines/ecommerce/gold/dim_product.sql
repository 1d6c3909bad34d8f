-- description: Products as their latest snapshot describes them, in the first warehouse by name.
-- key: product_id
-- input silver.inventory: all
-- input silver.orders: all

-- A product that only orders know is of the category unknown.
WITH stocked AS (
    SELECT *
    FROM silver.inventory
    QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY snapshot_date DESC, warehouse) = 1
),

product AS (
    SELECT product_id FROM stocked
    UNION
    SELECT product_id FROM silver.orders
)

SELECT
    product.product_id,
    stocked.sku,
    stocked.product_name,
    coalesce(stocked.category, 'unknown') AS category,
    stocked.subcategory,
    stocked.brand,
    stocked.unit_cost,
    stocked.list_price,
    stocked.snapshot_date
FROM product
LEFT JOIN stocked ON product.product_id = stocked.product_id
