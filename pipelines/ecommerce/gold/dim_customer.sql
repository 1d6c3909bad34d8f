-- description: Customers: their first and last order, how many, what they spent in each currency, and where they live.
-- key: customer_id
-- input gold.customer_month: all

-- Whoever has an order line of any status is a customer; dates, orders and revenue are those of revenue lines.
-- The country is that of the latest line that has one: by order_time, then order_id, then line_number.
-- lifetime_revenue is a JSON object from currency to amount, for example {"EUR":120.0000,"USD":15.5000}.
WITH by_currency AS (
    SELECT
        customer_id,
        currency,
        min(first_order_date) AS first_order_date,
        max(last_order_date) AS last_order_date,
        flatten(list(order_ids)) AS order_ids,
        sum(revenue) AS revenue,
        max({
            order_time: country_order_time,
            order_id: country_order_id,
            line_number: country_line_number,
            country: country
        }) FILTER (WHERE country IS NOT NULL) AS latest
    FROM gold.customer_month
    GROUP BY customer_id, currency
)

SELECT
    customer_id,
    min(first_order_date) AS first_order_date,
    max(last_order_date) AS last_order_date,
    len(list_distinct(flatten(list(order_ids))))::BIGINT AS orders,
    '{' || coalesce(
        string_agg(to_json(currency) || ':' || revenue::VARCHAR, ',' ORDER BY currency)
        FILTER (WHERE revenue IS NOT NULL),
        ''
    ) || '}' AS lifetime_revenue,
    max(latest).country AS country
FROM by_currency
GROUP BY customer_id
