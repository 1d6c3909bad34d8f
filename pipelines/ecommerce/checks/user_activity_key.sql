-- table: silver.user_activity
-- severity: error
-- description: Each event is one row, and its key has no null.

SELECT event_id, count(*) AS rows
FROM silver.user_activity
GROUP BY event_id
HAVING count(*) > 1 OR event_id IS NULL
