-- description: Products with all that is known of them: one partition of several inputs, whole.
-- key: product
-- input silver.sale: all
-- input silver.stock: all

SELECT product, CAST(sum(amount) AS DECIMAL(38,4)) AS revenue, max(cost) AS highest_cost, min(snapshot_date) AS known_since
FROM (SELECT product, amount, NULL AS cost, NULL AS snapshot_date FROM silver.sale UNION ALL SELECT product, NULL, cost, snapshot_date FROM silver.stock)
GROUP BY product
