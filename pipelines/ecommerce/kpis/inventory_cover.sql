-- title: Inventory cover
-- description: How many days the stock lasts at the pace of the last 28 days; the range's end is the day that is looked at.
-- chart: table
-- param category: string
-- unit daily_units: units
-- unit days_of_cover: days

-- The stock of a product is that of its latest snapshot before the end. The range's begin is ignored.
WITH bounds AS (
    SELECT coalesce($to::DATE, max(order_date) + 1, 'infinity'::DATE) AS end_day
    FROM gold.fact_order_line
),

stock AS (
    SELECT inventory.*
    FROM gold.fact_inventory AS inventory, bounds
    WHERE inventory.snapshot_date < bounds.end_day
    QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY snapshot_date DESC) = 1
),

sold AS (
    SELECT product_id, sum(units)::BIGINT AS units
    FROM gold.kpi_daily_sales, bounds
    WHERE day >= end_day - 28 AND day < end_day
    GROUP BY product_id
)

SELECT
    stock.product_id,
    product.product_name,
    stock.stock_on_hand,
    quotient(coalesce(sold.units, 0), 28) AS daily_units,
    quotient(stock.stock_on_hand::DECIMAL(19, 0) * 28, sold.units) AS days_of_cover,
    stock.stock_on_hand < stock.reorder_level AS below_reorder_level
FROM stock
LEFT JOIN sold ON stock.product_id = sold.product_id
LEFT JOIN gold.dim_product AS product ON stock.product_id = product.product_id
WHERE $category::VARCHAR IS NULL OR coalesce(product.category, 'unknown') = $category::VARCHAR
ORDER BY stock.product_id
