-- description: Order lines of every status with their revenue, cost and margin.
-- partition: month(order_date)
-- key: order_id, line_number
-- input silver.orders: same(order_date)
-- input silver.inventory: asof(snapshot_date)

-- A revenue line is one whose status is paid, shipped or delivered: is_revenue says so, and is the only place that does.
-- The cost of a product is that of its latest snapshot on or before the day of the order, in the first warehouse by name.
-- Costs are in the shop's currency, so a line in another one has no cost.
WITH product_cost AS (
    SELECT product_id, snapshot_date, arg_min(unit_cost, warehouse) AS unit_cost
    FROM silver.inventory
    GROUP BY product_id, snapshot_date
),

line AS (
    SELECT
        orders.*,
        orders.status IN ('paid', 'shipped', 'delivered') AS is_revenue,
        (orders.quantity * orders.unit_price - orders.discount)::DECIMAL(38, 4) AS revenue,
        CASE WHEN orders.currency = shop_currency() THEN product_cost.unit_cost END AS unit_cost
    FROM silver.orders AS orders
    ASOF LEFT JOIN product_cost
        ON orders.product_id = product_cost.product_id
        AND orders.order_date >= product_cost.snapshot_date
)

SELECT
    order_id,
    line_number,
    order_date,
    order_time,
    customer_id,
    country,
    product_id,
    quantity,
    unit_price,
    discount,
    currency,
    status,
    is_revenue,
    revenue,
    unit_cost,
    (quantity * unit_cost)::DECIMAL(38, 4) AS cost,
    revenue - (quantity * unit_cost)::DECIMAL(38, 4) AS margin
FROM line
