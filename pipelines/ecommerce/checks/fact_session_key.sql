-- table: gold.fact_session
-- severity: error
-- description: Each session is one row, and its key has no null.

SELECT session_id, session_number, count(*) AS rows
FROM gold.fact_session
GROUP BY session_id, session_number
HAVING count(*) > 1 OR session_id IS NULL OR session_number IS NULL
