-- table: gold.dim_date
-- severity: warn
-- description: Activity is no more than 2 days older than the newest order, session or snapshot.

WITH newest AS (
    SELECT max(day) AS day FROM gold.dim_date
),

activity AS (
    SELECT max(session_date) AS day FROM gold.fact_session
)

SELECT activity.day AS newest_session, newest.day AS newest_day
FROM activity, newest
WHERE activity.day < newest.day - 2
