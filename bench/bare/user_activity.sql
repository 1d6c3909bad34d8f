-- Events a line each: read as text, since only so a bad line is kept, and split by whether the line is JSON.
CREATE TABLE events_checked AS
WITH lines AS (
    SELECT line, filename
    FROM read_csv({{files}}, columns = {'line': 'VARCHAR'}, auto_detect = false, header = false, delim = e'\x01', quote = '',
        escape = '', filename = true, max_line_size = 20000000)
    WHERE trim(line) <> ''
),

-- The engine lets a comma before a closing bracket pass.
valid AS (
    SELECT *, json_valid(line) AND starts_with(line, '{') AND NOT regexp_matches(line, ',\s*[}\]]') AS is_object FROM lines
),

keyed AS (
    SELECT *, CASE WHEN is_object THEN json_keys(line) END AS keys FROM valid
),

named AS (
    SELECT *, array_to_string(keys, ' ') AS names FROM keyed
),

-- Keys match whatever their case. One that is repeated in the same case is let through: to look for it in every line would take
-- longer than to read the line.
folded AS (
    SELECT
        *,
        names <> lower(names) AS is_folded,
        CASE WHEN names <> lower(names) THEN len(list_distinct(list_transform(keys, lambda k: lower(k)))) < len(keys) ELSE false END AS repeats
    FROM named
),

members AS (
    SELECT
        *,
        CASE
            WHEN is_object AND NOT is_folded THEN json_extract_string(line, ['$.event_id', '$.event_time', '$.user_id', '$.session_id',
                '$.event_type', '$.product_id', '$.order_id', '$.country', '$.page_url', '$.referrer', '$.device', '$.search_query',
                '$.properties'])
            WHEN is_object THEN list_transform(['event_id', 'event_time', 'user_id', 'session_id', 'event_type', 'product_id', 'order_id',
                'country', 'page_url', 'referrer', 'device', 'search_query', 'properties'],
                lambda name: json_extract_string(line, '$.' || keys[list_position(list_transform(keys, lambda k: lower(k)), name)]))
        END AS v
    FROM folded
),

cells AS (
    SELECT
        line, filename, is_object, repeats,
        CASE WHEN NOT regexp_full_match(names, '(?:(?:event_id|event_time|user_id|session_id|event_type|product_id|order_id|country'
            || '|page_url|referrer|device|search_query|properties)(?: |$))*') THEN line END AS extra,
        cell(v[1]) AS event_id, cell(v[2]) AS event_time, cell(v[3]) AS user_id, cell(v[4]) AS session_id, lower(cell(v[5])) AS event_type,
        cell(v[6]) AS product_id, cell(v[7]) AS order_id, upper(cell(v[8])) AS country, cell(v[9]) AS page_url, cell(v[10]) AS referrer,
        cell(v[11]) AS device, cell(v[12]) AS search_query, cell(v[13]) AS properties
    FROM members
),

typed AS (
    SELECT *, instant(event_time) AS moment FROM cells
),

faults AS (
    SELECT
        *,
        CASE WHEN NOT is_object OR repeats THEN 'malformed' END AS f0,
        CASE WHEN event_id IS NULL THEN 'required:event_id' WHEN composite(event_id) THEN 'type:event_id' END AS f1,
        CASE WHEN event_time IS NULL THEN 'required:event_time' WHEN moment IS NULL THEN 'type:event_time'
            WHEN moment > now() + INTERVAL 24 HOURS THEN 'future:event_time' END AS f2,
        CASE WHEN composite(user_id) THEN 'type:user_id' END AS f3,
        CASE WHEN session_id IS NULL THEN 'required:session_id' WHEN composite(session_id) THEN 'type:session_id' END AS f4,
        CASE WHEN event_type IS NULL THEN 'required:event_type' WHEN event_type NOT IN ('page_view', 'product_view', 'search', 'add_to_cart',
            'remove_from_cart', 'checkout', 'purchase') THEN 'enum:event_type' END AS f5,
        CASE WHEN composite(product_id) THEN 'type:product_id' WHEN product_id IS NULL
            AND event_type IN ('product_view', 'add_to_cart', 'remove_from_cart') THEN 'required:product_id' END AS f6,
        CASE WHEN composite(order_id) THEN 'type:order_id' WHEN order_id IS NULL AND event_type = 'purchase' THEN 'required:order_id' END AS f7,
        CASE WHEN NOT regexp_matches(country, '^[A-Z]{2}$') THEN 'pattern:country' END AS f8,
        CASE WHEN composite(page_url) THEN 'type:page_url' END AS f9,
        CASE WHEN composite(referrer) THEN 'type:referrer' END AS f10,
        CASE WHEN composite(device) THEN 'type:device' END AS f11,
        CASE WHEN composite(search_query) THEN 'type:search_query' END AS f12,
        CASE WHEN NOT starts_with(properties, '{') THEN 'type:properties' END AS f13
    FROM typed
),

ruled AS (
    SELECT
        * EXCLUDE (line),
        CASE WHEN f0 IS NOT NULL THEN [f0] WHEN coalesce(f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13) IS NOT NULL
            THEN list_filter([f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13], lambda rule: rule IS NOT NULL) END AS rules,
        CASE WHEN rules IS NOT NULL THEN line END AS line
    FROM faults
)

SELECT * EXCLUDE (f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, is_object, repeats, event_time) FROM ruled;

COPY (
    SELECT
        event_id, moment AS event_time, user_id, session_id, event_type, product_id, order_id, country, page_url, referrer, device, search_query,
        properties, business_day(moment) AS event_date, extra AS _extra, filename AS _source_file, 0::BIGINT AS _row_number
    FROM events_checked
    WHERE rules IS NULL
) TO '{{out}}/bronze.user_activity.parquet' (FORMAT parquet, COMPRESSION zstd);

COPY (
    SELECT filename, rules, line AS raw FROM events_checked WHERE rules IS NOT NULL
) TO '{{out}}/quarantine.user_activity.parquet' (FORMAT parquet, COMPRESSION zstd);

DROP TABLE events_checked;
