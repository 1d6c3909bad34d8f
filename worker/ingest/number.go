package ingest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// readInteger takes 64 bits: digits with an optional sign and an optional
// fraction of zeros. The engine's cast takes more than that (exponents, hex,
// fractions, which it rounds), so it is believed only where the number written
// back is the cell.
func readInteger(c *pipeline.ContractColumn, text string) reading {
	cell, cast, quick := quote(hidden(c, "cell")), hidden(c, "cast"), hidden(c, "quick")
	return reading{
		quick: []derived{
			{cast, fmt.Sprintf("TRY_CAST(%s AS BIGINT)", cell)},
			{quick, fmt.Sprintf("CASE WHEN CAST(%s AS VARCHAR) = %s THEN %s END", quote(cast), cell, quote(cast))},
		},
		value: fmt.Sprintf(`CASE
      WHEN %s IS NOT NULL THEN %s%s
      ELSE TRY_CAST(regexp_extract(%s, '^([+-]?[0-9]+)(?:\.0+)?$', 1) AS BIGINT) END`,
			quote(quick), quote(quick), defaultNumber(c, text), plainNumber(c, text)),
	}
}

// readDecimal takes a number whose digits before the point fit the type; digits
// after it beyond the scale are rounded half away from zero, which the cast
// from text does exactly, from the first digit beyond. Cells of digits and a
// point go straight to the cast.
func readDecimal(c *pipeline.ContractColumn, text string) reading {
	cell, quick := quote(hidden(c, "cell")), hidden(c, "quick")
	form := `[+-]?[0-9]+(?:\.[0-9]+)?`
	if decimalPoint(c) != "." {
		form = `[+-]?[0-9]+`
	}
	return reading{
		quick: []derived{{quick, fmt.Sprintf("CASE WHEN regexp_full_match(%s, '%s') THEN TRY_CAST(%s AS %s) END", cell, form, cell, c.StoredType())}},
		value: fmt.Sprintf(`CASE
      WHEN %s IS NOT NULL THEN %s%s
      ELSE TRY_CAST(%s AS %s) END`,
			quote(quick), quote(quick), defaultNumber(c, text), plainNumber(c, text), c.StoredType()),
	}
}

// defaultNumber reads the text of a number's default once, not in each row.
func defaultNumber(c *pipeline.ContractColumn, text string) string {
	if c.DefaultValue == nil || !wholeNumber.MatchString(*c.DefaultValue) {
		return ""
	}
	return fmt.Sprintf("\n      WHEN %s = %s THEN TRY_CAST(%s AS %s)", text, literal(*c.DefaultValue), literal(*c.DefaultValue), c.StoredType())
}

var wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)

// readDouble takes a decimal number with or without an exponent; one beyond
// what a double holds cannot be read.
func readDouble(c *pipeline.ContractColumn, text string) reading {
	fast := hidden(c, "fast")
	return reading{
		slow: []derived{{fast, fmt.Sprintf(`CASE
      WHEN regexp_full_match(%s, '[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?') THEN TRY_CAST(%s AS DOUBLE)
      ELSE TRY_CAST(%s AS DOUBLE) END`, text, text, plainNumber(c, text))}},
		value: fmt.Sprintf("CASE WHEN isfinite(%s) THEN %s END", quote(fast), quote(fast)),
	}
}

func decimalPoint(c *pipeline.ContractColumn) string {
	if c.DecimalSeparator == "" {
		return "."
	}
	return c.DecimalSeparator
}

// plainNumber is the number in text as digits with an optional sign and point:
// a currency symbol at either end and separators between well-formed groups are
// taken away, where the contract allows them. It is null or empty where text is
// no such number. Number cells of a workbook are plain already.
func plainNumber(c *pipeline.ContractColumn, text string) string {
	point, separator := decimalPoint(c), c.ThousandsSeparator
	body := text
	if len(c.CurrencySymbols) > 0 {
		symbols := make([]string, len(c.CurrencySymbols))
		for i, symbol := range c.CurrencySymbols {
			symbols[i] = regexp.QuoteMeta(symbol)
		}
		either := "(?:" + strings.Join(symbols, "|") + ")"
		body = fmt.Sprintf("regexp_replace(%s, %s, '')", body, literal("^"+either+whiteSpace+"*|"+whiteSpace+"*"+either+"$"))
	}
	whole := "[0-9]+"
	if separator != "" {
		whole = "(?:[0-9]+|[0-9]{1,3}(?:" + regexp.QuoteMeta(separator) + "[0-9]{3})+)"
	}
	fraction := regexp.QuoteMeta(point) + "[0-9]+"
	number := "^([+-]?(?:" + whole + "(?:" + fraction + ")?|" + fraction + "))$"
	body = fmt.Sprintf("regexp_extract(%s, %s, 1)", body, literal(number))
	if separator != "" {
		body = fmt.Sprintf("replace(%s, %s, '')", body, literal(separator))
	}
	if point != "." {
		body = fmt.Sprintf("replace(%s, %s, '.')", body, literal(point))
	}
	return fmt.Sprintf("CASE WHEN %s THEN %s WHEN (%s) OR (%s) THEN regexp_extract(substring(%s, 2), '^-?[0-9]+(?:\\.[0-9]+)?$') END",
		plain(text), body, begins(text, 3), begins(text, 6), text)
}
