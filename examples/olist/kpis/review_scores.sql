-- title: Review scores
-- description: Reviews of each score by the day they were asked for, and how many have a message, or one of several lines.
-- chart: bar
-- unit share: percent

WITH review AS (
    SELECT
        score,
        count(*) AS reviews,
        count(*) FILTER (WHERE lines > 0) AS with_message,
        count(*) FILTER (WHERE lines > 1) AS with_several_lines
    FROM gold.fact_review
    WHERE review_date >= coalesce($from::DATE, '-infinity'::DATE)
        AND review_date < coalesce($to::DATE, 'infinity'::DATE)
    GROUP BY score
)

SELECT score, reviews, quotient(reviews, sum(reviews) OVER ()) AS share, with_message, with_several_lines
FROM review
ORDER BY score DESC
