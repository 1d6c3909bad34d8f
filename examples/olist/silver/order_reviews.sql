-- description: Reviews of orders. One review may be of several orders.
-- partition: month(review_date)
-- key: review_id, order_id
-- reach: any
-- input bronze.order_reviews: same(review_date)

SELECT
    review_id,
    order_id,
    review_date,
    review_score AS score,
    review_comment_title AS title,
    review_comment_message AS message,
    review_answer_timestamp AS answered_at
FROM bronze.order_reviews
QUALIFY row_number() OVER (PARTITION BY review_id, order_id ORDER BY _source_file DESC, _row_number DESC) = 1
