-- description: Cost of each product at each snapshot: the later file counts.
-- partition: snapshot_date
-- key: snapshot_date, product
-- input bronze.stock: same(snapshot_date)

SELECT snapshot_date, product, cost
FROM bronze.stock
QUALIFY row_number() OVER (PARTITION BY snapshot_date, product ORDER BY _source_file DESC, _row_number DESC) = 1
