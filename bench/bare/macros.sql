-- The rules of values, as macros: white space, words for null, whole numbers, amounts with symbols and separators, moments.

-- Few cells have anything to trim.
CREATE MACRO trimmed(t) AS (
    CASE WHEN t BETWEEN '!' AND '~' AND NOT (suffix(t, ' ') OR suffix(t, chr(9)) OR suffix(t, chr(13)) OR suffix(t, chr(10))
        OR suffix(t, chr(160))) THEN t
    ELSE trim(t, ' ' || chr(9) || chr(10) || chr(13) || chr(160)) END);

CREATE MACRO present(t) AS (
    CASE WHEN strlen(t) <= 4 AND lower(t) IN ('', 'null', 'n/a', 'nan', '-') THEN NULL ELSE nfc_normalize(t) END);

CREATE MACRO cell(t) AS (present(trimmed(t)));

CREATE MACRO whole(t) AS (TRY_CAST(regexp_extract(t, '^([+-]?[0-9]+)(?:\.0+)?$', 1) AS BIGINT));

CREATE MACRO amount(t) AS (TRY_CAST(replace(regexp_extract(
    regexp_replace(t, '^[$€£¥]\s*|\s*[$€£¥]$', ''),
    '^[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?$'), ',', '') AS DECIMAL(18, 4)));

CREATE MACRO moment(t) AS (TRY_CAST(
    CASE WHEN t[5] = '-' THEN t
    WHEN t[5] = '/' THEN concat(t[1:4], '-', t[6:7], '-', t[9:])
    WHEN t[3] IN ('.', '/') THEN concat(t[7:10], '-', t[4:5], '-', t[1:2], t[11:]) END
    AS TIMESTAMP WITH TIME ZONE));

CREATE MACRO instant(t) AS (
    CASE WHEN regexp_full_match(t, '[0-9]+') THEN
        CASE WHEN t::BIGINT < 100000000000 THEN make_timestamptz(t::BIGINT * 1000000) ELSE make_timestamptz(t::BIGINT * 1000) END
    WHEN regexp_matches(t, '(Z|[+-][0-9]{2}:[0-9]{2})$') THEN TRY_CAST(t AS TIMESTAMP WITH TIME ZONE) END);

CREATE MACRO composite(t) AS (starts_with(t, '{') OR starts_with(t, '['));
