-- description: What was sold a day, product and currency: revenue lines only.
-- partition: month(day)
-- key: day, product_id, currency
-- input gold.fact_order_line: same(order_date)

SELECT
    order_date AS day,
    product_id,
    currency,
    count(DISTINCT order_id) AS orders,
    sum(quantity)::BIGINT AS units,
    sum(revenue) AS revenue
FROM gold.fact_order_line
WHERE is_revenue
GROUP BY order_date, product_id, currency
