-- title: Conversion funnel
-- description: Sessions with at least one event of each kind, whatever came before it, and their part of all sessions.
-- chart: funnel
-- unit rate: percent

WITH counted AS (
    SELECT
        count(*) AS sessions,
        count(*) FILTER (WHERE products_viewed > 0) AS product_view,
        count(*) FILTER (WHERE reached_cart) AS add_to_cart,
        count(*) FILTER (WHERE reached_checkout) AS checkout,
        count(*) FILTER (WHERE reached_purchase) AS purchase
    FROM gold.fact_session
    WHERE session_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND session_date < coalesce($to::DATE, 'infinity'::DATE)
),

steps AS (
    SELECT 1 AS position, 'session' AS step, sessions AS reached, sessions AS all_sessions FROM counted
    UNION ALL
    SELECT 2, 'product_view', product_view, sessions FROM counted
    UNION ALL
    SELECT 3, 'add_to_cart', add_to_cart, sessions FROM counted
    UNION ALL
    SELECT 4, 'checkout', checkout, sessions FROM counted
    UNION ALL
    SELECT 5, 'purchase', purchase, sessions FROM counted
)

SELECT step, reached AS sessions, quotient(reached, all_sessions) AS rate
FROM steps
ORDER BY position
