-- table: gold.fact_session
-- severity: warn
-- description: Every event belongs to one session, of the day on which it happened. A run of an interval may leave other days behind.

WITH event AS (
    SELECT event_date AS day, count(*) AS events FROM silver.user_activity GROUP BY event_date
),

session AS (
    SELECT session_date AS day, sum(events) AS events FROM gold.fact_session GROUP BY session_date
)

SELECT day, event.events AS events, session.events AS events_of_sessions
FROM event
FULL JOIN session USING (day)
WHERE event.events IS DISTINCT FROM session.events
