-- table: gold.dim_date
-- severity: warn
-- description: The newest snapshot is no more than 10 days older than the newest order, session or snapshot.

WITH newest AS (
    SELECT max(day) AS day FROM gold.dim_date
),

inventory AS (
    SELECT max(snapshot_date) AS day FROM gold.fact_inventory
)

SELECT inventory.day AS newest_snapshot, newest.day AS newest_day
FROM inventory, newest
WHERE inventory.day < newest.day - 10
