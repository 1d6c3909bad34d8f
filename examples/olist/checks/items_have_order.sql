-- table: gold.item_without_order
-- severity: warn
-- description: Every piece belongs to an order. Until the file of its order comes, a piece is no revenue.

SELECT order_id, line_number, amount FROM gold.item_without_order
