-- description: Stock of each product at each snapshot, summed over warehouses.
-- partition: snapshot_date
-- key: snapshot_date, product_id
-- input silver.inventory: same(snapshot_date)

SELECT
    snapshot_date,
    product_id,
    sum(stock_on_hand)::BIGINT AS stock_on_hand,
    sum(reorder_level)::BIGINT AS reorder_level
FROM silver.inventory
GROUP BY snapshot_date, product_id
