-- table: gold.fact_inventory
-- severity: error
-- description: The stock of all warehouses is the stock of the snapshot.

WITH warehouse AS (
    SELECT snapshot_date, sum(stock_on_hand) AS stock FROM silver.inventory GROUP BY snapshot_date
),

total AS (
    SELECT snapshot_date, sum(stock_on_hand) AS stock FROM gold.fact_inventory GROUP BY snapshot_date
)

SELECT snapshot_date, warehouse.stock AS stock_of_warehouses, total.stock AS stock
FROM warehouse
FULL JOIN total USING (snapshot_date)
WHERE warehouse.stock IS DISTINCT FROM total.stock
