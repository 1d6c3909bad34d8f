package ingest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// Regular expressions of the parts of a moment. The engine's casts check the
// calendar, but take more ways to write a moment than these.
const (
	isoDay     = `[0-9]{4}-[0-9]{2}-[0-9]{2}`
	dayTime    = `(?:[01][0-9]|2[0-3]):[0-5][0-9]`
	second     = `:[0-5][0-9](?:\.[0-9]+)?`
	offset     = `[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]`
	looseShift = `[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?`
)

// readDate takes a date in one of the contract's formats, a date cell of a
// workbook without its time, or a number cell as a serial number.
func readDate(c *pipeline.ContractColumn, text string) (reading, error) {
	iso, err := isoText(c, text)
	if err != nil {
		return reading{}, err
	}
	cell, cast, quick := quote(hidden(c, "cell")), hidden(c, "cast"), hidden(c, "quick")
	day, serial := quote(hidden(c, "day")), quote(hidden(c, "serial"))
	// A date that is written back as it was read had all its digits.
	r := reading{
		slow: []derived{
			{hidden(c, "iso"), fmt.Sprintf("CASE WHEN %s THEN %s WHEN %s THEN substring(%s, 2, 10) END",
				plain(text), iso, begins(text, 5), text)},
			{hidden(c, "day"), fmt.Sprintf("TRY_CAST(%s AS DATE)", quote(hidden(c, "iso")))},
			// Both systems of a workbook count from the same day, once 1,462 days are added to a serial of 1904.
			{hidden(c, "serial"), fmt.Sprintf(`CASE
      WHEN %s THEN TRY_CAST(regexp_extract(substring(%s, 2), '^([0-9]+)(?:\.[0-9]+)?$', 1) AS INTEGER)
      WHEN %s THEN TRY_CAST(nullif(regexp_extract(substring(%s, 2), '^0*([0-9]{0,8})(?:\.[0-9]+)?$', 1), '') AS INTEGER) + 1462 END`,
				begins(text, 3), text, begins(text, 6), text)},
		},
		// Serial 60 is a 29 February 1900, which never was: days before it are numbered one higher than days after it.
		value: fmt.Sprintf(`CASE
      WHEN CAST(%s AS VARCHAR) = %s AND strlen(%s) = 10 THEN %s
      WHEN %s BETWEEN 1 AND 59 AND %s THEN DATE '1899-12-31' + %s
      WHEN %s BETWEEN 61 AND 2958465 THEN DATE '1899-12-30' + %s END`,
			day, quote(hidden(c, "iso")), quote(hidden(c, "iso")), day, serial, begins(text, 3), serial, serial, serial),
	}
	if isoFirst(c) {
		r.quick = []derived{
			{cast, fmt.Sprintf("TRY_CAST(%s AS DATE)", cell)},
			{quick, fmt.Sprintf("CASE WHEN strlen(%s) = 10 AND CAST(%s AS VARCHAR) = %s THEN %s END", cell, quote(cast), cell, quote(cast))},
		}
		r.value = fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN %s ELSE %s END", quote(quick), quote(quick), r.value)
	}
	return r, nil
}

// isoFirst tells that YYYY-MM-DD is among the column's formats: no other looks
// like it.
func isoFirst(c *pipeline.ContractColumn) bool { return slices.ContainsFunc(c.DateFormats, isISO) }

func isISO(f pipeline.DateFormat) bool {
	return f.Order == pipeline.OrderYMD && f.Separator == "-" && !f.Loose && !f.ShortYear
}

// lastMillisecond is the last that 64 bits of microseconds hold.
const lastMillisecond = 9223372036854774

// readInstant takes RFC 3339, with a T or, as the RFC lets programs agree, a
// space; or the digits of an epoch: seconds where they are below 10^11, else
// milliseconds. What is finer than a microsecond is cut. A leap second is the
// moment that follows it.
func readInstant(c *pipeline.ContractColumn, text string) reading {
	number, at, leap := quote(hidden(c, "number")), quote(hidden(c, "at")), quote(hidden(c, "leap"))
	whole, fraction := quote(hidden(c, "whole")), quote(hidden(c, "fraction"))
	cell, cast, quick := quote(hidden(c, "cell")), quote(hidden(c, "cast")), quote(hidden(c, "quick"))
	return reading{
		quick: []derived{
			{hidden(c, "cast"), fmt.Sprintf("TRY_CAST(%s AS BIGINT)", cell)},
			{hidden(c, "quick"), fmt.Sprintf(`CASE
      WHEN %s IS NOT NULL THEN CASE WHEN CAST(%s AS VARCHAR) <> %s THEN NULL WHEN %s BETWEEN 0 AND 99999999999 THEN make_timestamptz(%s * 1000000)
        WHEN %s BETWEEN 100000000000 AND %d THEN make_timestamptz(%s * 1000) END
      WHEN %s >= '0001-01-02' AND %s < '9999-12-31' AND regexp_full_match(%s, '%s[T ]%s%s(?:Z|%s)') THEN TRY_CAST(%s AS TIMESTAMPTZ) END`,
				cast, cast, cell, cast, cast, cast, lastMillisecond, cast,
				cell, cell, cell, isoDay, dayTime, second, offset, cell)},
		},
		slow: []derived{
			{hidden(c, "at"), fmt.Sprintf(`CASE
      WHEN %s IS NOT NULL THEN %s
      WHEN regexp_full_match(%s, '%s[Tt ]%s%s(?:[Zz]|%s)') THEN TRY_CAST(upper(%s) AS TIMESTAMPTZ) END`,
				quick, quick, text, isoDay, dayTime, second, offset, text)},
			{hidden(c, "number"), fmt.Sprintf(`CASE WHEN %s IS NULL THEN CASE
        WHEN %s THEN regexp_extract(%s, '^[0-9]+(?:\.[0-9]+)?$')
        WHEN %s THEN regexp_extract(substring(%s, 2), '^[0-9]+(?:\.[0-9]+)?$') END END`,
				at, plain(text), text, begins(text, 3), text)},
			{hidden(c, "leap"), fmt.Sprintf(`CASE WHEN %s IS NULL AND regexp_full_match(%s, '%s[Tt ]%s:60(?:\.[0-9]+)?(?:[Zz]|%s)')
        THEN epoch_us(TRY_CAST(upper(regexp_replace(%s, ':60', ':59')) AS TIMESTAMPTZ)) + 1000000 END`,
				at, text, isoDay, dayTime, offset, text)},
			{hidden(c, "whole"), fmt.Sprintf("TRY_CAST(split_part(%s, '.', 1) AS BIGINT)", number)},
			{hidden(c, "fraction"), fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN CAST(rpad(substring(split_part(%s, '.', 2), 1, 6), 6, '0') AS BIGINT) END", whole, number)},
		},
		// Leap seconds stand at the end of a month in UTC.
		value: fmt.Sprintf(`CASE
      WHEN %s IS NOT NULL THEN %s
      WHEN %s AND %s >= '0001' THEN %s
      WHEN %s < 100000000000 THEN make_timestamptz(%s * 1000000 + %s)
      WHEN %s <= %d THEN make_timestamptz(%s * 1000 + %s // 1000)
      WHEN %s AND day(make_timestamp(%s)) = 1 AND hour(make_timestamp(%s)) = 0 AND minute(make_timestamp(%s)) = 0 AND second(make_timestamp(%s)) = 0
        THEN make_timestamptz(%s) END`,
			quick, quick, inYears(at), text, at, whole, whole, fraction, whole, lastMillisecond, whole, fraction,
			inYears("make_timestamptz("+leap+")"), leap, leap, leap, leap, leap),
	}
}

// readLocalTime takes a date in one of the contract's formats, optionally with
// a time of day and a zone, or a date cell of a workbook. Without a zone it is
// in the pipeline's time zone.
func readLocalTime(c *pipeline.ContractColumn, text, zone string) (reading, error) {
	formatted, err := isoText(c, text)
	if err != nil {
		return reading{}, err
	}
	iso, local, zoned := quote(hidden(c, "iso")), quote(hidden(c, "local")), quote(hidden(c, "zoned"))
	cell, quick := quote(hidden(c, "cell")), "NULL"
	var r reading
	if isoFirst(c) {
		// A cell that is the moment as the engine writes it needs no other look.
		quick = quote(hidden(c, "quick"))
		r.quick = []derived{
			{hidden(c, "cast"), fmt.Sprintf("TRY_CAST(%s AS TIMESTAMP)", cell)},
			{hidden(c, "quick"), fmt.Sprintf("CASE WHEN strlen(%s) = 19 AND CAST(%s AS VARCHAR) = %s THEN %s END",
				cell, quote(hidden(c, "cast")), cell, quote(hidden(c, "cast")))},
		}
	}
	r.slow = []derived{
		{hidden(c, "iso"), fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN NULL WHEN %s THEN %s WHEN %s THEN substring(%s, 2) END",
			quick, plain(text), formatted, begins(text, 5), text)},
		{hidden(c, "local"), fmt.Sprintf(`CASE
      WHEN %s IS NOT NULL THEN %s
      WHEN %s >= '0001' AND regexp_full_match(%s, '%s(?:[Tt ]%s(?:%s)?)?') THEN TRY_CAST(upper(%s) AS TIMESTAMP) END`,
			quick, quick,
			iso, iso, isoDay, dayTime, second, iso)},
		{hidden(c, "zoned"), fmt.Sprintf(`CASE WHEN %s IS NULL AND %s >= '0001'
        AND regexp_full_match(%s, '%s[Tt ]%s(?:%s)?(?:[Zz]|%s)')
        THEN TRY_CAST(regexp_replace(upper(%s), '^(.{16})([Z+-])', '\1:00\2') AS TIMESTAMPTZ) END`,
			local, iso, iso, isoDay, dayTime, second, looseShift, iso)},
	}
	if universal(zone) {
		r.value = fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN make_timestamptz(epoch_us(%s)) WHEN %s THEN %s END", local, local, inYears(zoned), zoned)
		return r, nil
	}
	// The engine moves a skipped hour forward, but takes the second of two like hours. The first is found with the offset
	// that held a day before: if it gives the same local time, it is earlier.
	late, earlier := quote(hidden(c, "late")), quote(hidden(c, "earlier"))
	dayBefore := fmt.Sprintf("make_timestamptz(%s - 86400000000)", late)
	r.slow = append(r.slow,
		derived{hidden(c, "late"), fmt.Sprintf("epoch_us(timezone(%s, %s))", literal(zone), local)},
		derived{hidden(c, "earlier"), fmt.Sprintf("epoch_us(%s) - (epoch_us(timezone(%s, %s)) - (%s - 86400000000))",
			local, literal(zone), dayBefore, late)},
	)
	r.value = fmt.Sprintf(`CASE
      WHEN %s IS NULL THEN CASE WHEN %s THEN %s END
      WHEN NOT (%s) THEN NULL
      WHEN %s < %s AND timezone(%s, make_timestamptz(%s)) = %s THEN make_timestamptz(%s)
      ELSE make_timestamptz(%s) END`,
		local, inYears(zoned), zoned, inYears("make_timestamptz("+late+")"), earlier, late, literal(zone), earlier, local, earlier, late)
	return r, nil
}

// inYears tells that a moment is, in UTC too, of the years 1 to 9999: text that
// its zone brings beyond them is no moment, since few programs could read it.
func inYears(moment string) string {
	return moment + " BETWEEN make_timestamptz(-62135596800000000) AND make_timestamptz(253402300799999999)"
}

// businessDay is the date of a moment in the pipeline's time zone.
func businessDay(moment, zone string) string {
	if universal(zone) {
		return fmt.Sprintf("CAST(make_timestamp(epoch_us(%s)) AS DATE)", moment)
	}
	return fmt.Sprintf("CAST(timezone(%s, %s) AS DATE)", literal(zone), moment)
}

// universal tells the zones whose local time is UTC: no calendar is needed.
func universal(zone string) bool {
	switch zone {
	case "", "UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal":
		return true
	}
	return false
}

// isoText rewrites a date in one of the column's formats, and what follows it,
// to begin with YYYY-MM-DD; text of no format is null. Of formats that look the
// same the first is taken. Digits are checked later.
func isoText(c *pipeline.ContractColumn, text string) (string, error) {
	if len(c.DateFormats) == 0 {
		return "", fmt.Errorf("type %s: no date format", c.Type)
	}
	var cases []string
	for _, f := range c.DateFormats {
		test, iso, err := isoRewrite(f, text)
		if err != nil {
			return "", err
		}
		cases = append(cases, fmt.Sprintf("WHEN %s THEN %s", test, iso))
	}
	return "CASE " + strings.Join(cases, " ") + " END", nil
}

// isoRewrite tells text of a format, and rewrites it.
func isoRewrite(f pipeline.DateFormat, text string) (test, iso string, err error) {
	if isISO(f) {
		return fmt.Sprintf("substring(%s, 5, 1) = '-'", text), text, nil
	}
	year, part := "[0-9]{4}", "[0-9]{2}"
	if f.ShortYear {
		year = "[0-9]{2}"
	}
	separator := regexp.QuoteMeta(f.Separator)
	loosePart := part
	if f.Loose {
		loosePart = "[0-9]{1,2}"
	}
	var order [3]string // of the pattern's groups: the number of the year's, the month's, the day's
	var parts func(part, year string) string
	switch f.Order {
	case pipeline.OrderYMD:
		order = [3]string{`\1`, `\2`, `\3`}
		parts = func(part, year string) string {
			return "(" + year + ")" + separator + "(" + part + ")" + separator + "(" + part + ")"
		}
	case pipeline.OrderDMY, pipeline.OrderMDY:
		order = [3]string{`\3`, `\2`, `\1`}
		if f.Order == pipeline.OrderMDY {
			order = [3]string{`\3`, `\1`, `\2`}
		}
		parts = func(part, year string) string {
			return "(" + part + ")" + separator + "(" + part + ")" + separator + "(" + year + ")"
		}
	default:
		return "", "", fmt.Errorf("date format %q: unknown order %q", f.Text, f.Order)
	}
	test = fmt.Sprintf("regexp_matches(%s, %s)", text, literal("^"+parts(loosePart, year)+"(?:[Tt ]|$)"))
	padded := text
	if f.Loose {
		edge := separator
		if edge == "" {
			return "", "", fmt.Errorf("date format %q: parts of one or two digits need a separator", f.Text)
		}
		// Twice, since a match takes the separator that the next would begin with.
		for range 2 {
			padded = fmt.Sprintf("regexp_replace(%s, %s, '\\10\\2\\3')", padded, literal("(^|"+edge+")([0-9])("+edge+"|[Tt ]|$)"))
		}
		// One pass each for the first, second and third part is enough; the hour follows.
		padded = fmt.Sprintf("regexp_replace(%s, %s, '\\10\\2\\3')", padded, literal("(^|"+edge+")([0-9])("+edge+"|[Tt ]|$)"))
		padded = fmt.Sprintf("regexp_replace(%s, '([Tt ])([0-9]:)', '\\10\\2')", padded)
	}
	rewrite := func(from, year, century string) string {
		return fmt.Sprintf("regexp_replace(%s, %s, '%s')", from, literal("^"+parts(part, year)),
			century+order[0]+"-"+order[1]+"-"+order[2])
	}
	if !f.ShortYear {
		return test, rewrite(padded, year, ""), nil
	}
	recent := fmt.Sprintf("regexp_matches(%s, %s)", padded, literal("^"+parts(part, "69|[7-9][0-9]")))
	return test, fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", recent, rewrite(padded, year, "19"), rewrite(padded, year, "20")), nil
}
