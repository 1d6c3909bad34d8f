-- description: Customers, in buckets; guests are one of them.
-- partition: bucket
-- key: customer
-- input silver.sale: same(bucket)

SELECT bucket, customer, CAST(sum(amount) AS DECIMAL(38,4)) AS spent, list(DISTINCT product ORDER BY product) AS products
FROM silver.sale
GROUP BY bucket, customer
