-- description: Every day from the first to the last of any order, session or snapshot.
-- key: day
-- input silver.orders: all
-- input gold.fact_session: all
-- input gold.fact_inventory: all

WITH span AS (
    SELECT min(order_date) AS first_day, max(order_date) AS last_day FROM silver.orders
    UNION ALL
    SELECT min(session_date), max(session_date) FROM gold.fact_session
    UNION ALL
    SELECT min(snapshot_date), max(snapshot_date) FROM gold.fact_inventory
),

calendar AS (
    SELECT unnest(generate_series(min(first_day), max(last_day), INTERVAL 1 DAY))::DATE AS day
    FROM span
)

SELECT
    day,
    year(day) AS year,
    quarter(day) AS quarter,
    month(day) AS month,
    strftime(day, '%Y-%m') AS year_month,
    isoyear(day) AS iso_year,
    weekofyear(day) AS iso_week,
    isodow(day) AS iso_weekday
FROM calendar
