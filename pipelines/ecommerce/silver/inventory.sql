-- description: Stock and prices, one row a snapshot, product and warehouse. Of several the one in the later file counts, then the later row.
-- partition: snapshot_date
-- key: snapshot_date, product_id, warehouse
-- input bronze.inventory: same(snapshot_date)

SELECT
    snapshot_date,
    product_id,
    warehouse,
    sku,
    product_name,
    category,
    subcategory,
    brand,
    unit_cost,
    list_price,
    stock_on_hand,
    reorder_level,
    last_restocked,
    _source_file,
    _row_number
FROM bronze.inventory
QUALIFY row_number() OVER (
    PARTITION BY snapshot_date, product_id, warehouse
    ORDER BY _source_file DESC, _row_number DESC
) = 1
