-- description: Scores of reviews, and how long their messages are. The messages themselves stay in silver.
-- partition: month(review_date)
-- key: review_id, order_id
-- input silver.order_reviews: same(review_date)

SELECT
    review_id,
    order_id,
    review_date,
    score,
    coalesce(length(message), 0)::BIGINT AS characters,
    CASE WHEN message IS NULL THEN 0 ELSE 1 + length(regexp_replace(message, '\r\n?|\n', chr(10), 'g'))
        - length(regexp_replace(message, '\r\n?|\n', '', 'g')) END::BIGINT AS lines
FROM silver.order_reviews
