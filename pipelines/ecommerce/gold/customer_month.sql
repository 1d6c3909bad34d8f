-- description: What each customer did a month and currency; dim_customer folds it. Guests are no customers.
-- partition: month(order_month)
-- key: customer_id, order_month, currency
-- input gold.fact_order_line: same(order_date)

-- The orders are kept by id, not counted: the lines of one order may lie in two months or currencies, and it is still one order.
-- The latest line with a country is kept with what orders it, so that the latest of all months can be told.
WITH customer AS (
    SELECT
        customer_id,
        date_trunc('month', order_date)::DATE AS order_month,
        currency,
        min(order_date) FILTER (WHERE is_revenue) AS first_order_date,
        max(order_date) FILTER (WHERE is_revenue) AS last_order_date,
        list(DISTINCT order_id) FILTER (WHERE is_revenue) AS order_ids,
        sum(revenue) FILTER (WHERE is_revenue) AS revenue,
        max({
            order_time: order_time,
            order_id: order_id,
            line_number: line_number,
            country: country
        }) FILTER (WHERE country IS NOT NULL) AS latest
    FROM gold.fact_order_line
    WHERE customer_id IS NOT NULL
    GROUP BY ALL
)

SELECT
    customer_id,
    order_month,
    currency,
    first_order_date,
    last_order_date,
    coalesce(list_sort(order_ids), []) AS order_ids,
    revenue,
    latest.country AS country,
    latest.order_time AS country_order_time,
    latest.order_id AS country_order_id,
    latest.line_number AS country_line_number
FROM customer
