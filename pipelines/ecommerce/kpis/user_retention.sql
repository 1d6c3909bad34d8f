-- title: Customer retention
-- description: Of the customers who first ordered in a month of the range, how many ordered again in each month after it.
-- chart: heatmap
-- param category: string
-- unit retention: percent

WITH bought AS (
    -- One row a customer and month; guests are one without an id, and only tell which month is the last.
    SELECT DISTINCT customer_id, date_trunc('month', order_date)::DATE AS month
    FROM gold.fact_order_line
    WHERE is_revenue
        AND order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND order_date < coalesce($to::DATE, 'infinity'::DATE)
        AND ($category::VARCHAR IS NULL OR product_id IN (
            SELECT product_id FROM gold.dim_product WHERE coalesce(category, 'unknown') = $category::VARCHAR
        ))
),

newcomer AS (
    SELECT customer_id, date_trunc('month', first_order_date)::DATE AS cohort
    FROM gold.dim_customer
    WHERE first_order_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND first_order_date < coalesce($to::DATE, 'infinity'::DATE)
),

cohort_month AS (
    SELECT
        cohort,
        count(*) AS cohort_size,
        unnest(range(0, date_diff('month', cohort, (SELECT max(month) FROM bought)) + 1)) AS month_number
    FROM newcomer
    GROUP BY cohort
),

active AS (
    SELECT
        newcomer.cohort,
        date_diff('month', newcomer.cohort, bought.month) AS month_number,
        count(*) AS customers
    FROM newcomer
    JOIN bought ON newcomer.customer_id = bought.customer_id
    GROUP BY ALL
)

SELECT
    strftime(cohort, '%Y-%m') AS cohort,
    month_number,
    coalesce(customers, 0) AS customers,
    cohort_size,
    quotient(coalesce(customers, 0), cohort_size) AS retention
FROM cohort_month
LEFT JOIN active USING (cohort, month_number)
ORDER BY cohort, month_number
