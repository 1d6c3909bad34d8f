-- description: Visits, each once, at its earliest time.
-- partition: visit_date
-- key: visit_id
-- reach: any
-- input bronze.visits: same(visit_date)

SELECT visit_id, visit_date, visited_at, customer
FROM bronze.visits
QUALIFY row_number() OVER (PARTITION BY visit_id ORDER BY visited_at, _source_file, _row_number) = 1
