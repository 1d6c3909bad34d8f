package record

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// compiled is a Layout made ready for reading.
type compiled struct {
	Layout
	byName   map[string]int // folded name or alias to column
	encoding *encoding
}

func compile(layout Layout) (*compiled, error) {
	c := &compiled{Layout: layout, byName: map[string]int{}}
	switch layout.Format {
	case CSV, NDJSON, XLSX, Parquet:
	default:
		return nil, fmt.Errorf("format %q of the contract is none of csv, ndjson, xlsx, parquet", layout.Format)
	}
	if len(layout.Columns) > MaxColumns {
		return nil, fmt.Errorf("contract has %d columns, at most %d can be read", len(layout.Columns), MaxColumns)
	}
	for i, column := range layout.Columns {
		for _, name := range append([]string{column.Name}, column.Aliases...) {
			folded := fold(name)
			if folded == "" {
				return nil, fmt.Errorf("column %q of the contract has an empty name or alias", column.Name)
			}
			if other, taken := c.byName[folded]; taken && other != i {
				return nil, fmt.Errorf("name %q of the contract means both %s and %s", name, layout.Columns[other].Name, column.Name)
			}
			c.byName[folded] = i
		}
	}
	if c.Delimiter == 0 {
		c.Delimiter = ','
	}
	if c.Quote == 0 {
		c.Quote = '"'
	}
	for _, b := range []byte{c.Delimiter, c.Quote} {
		if b >= utf8.RuneSelf || b == '\n' || b == '\r' {
			return nil, fmt.Errorf("delimiter or quote %q of the contract is not one ASCII character other than a line end", b)
		}
	}
	if c.Delimiter == c.Quote {
		return nil, fmt.Errorf("delimiter and quote of the contract are both %q", c.Quote)
	}
	if c.SkipRows < 0 {
		return nil, fmt.Errorf("contract skips %d rows above the header", c.SkipRows)
	}
	var err error
	c.encoding, err = findEncoding(layout.Encoding)
	return c, err
}

// fold makes names comparable: trimmed, NFC, case folded.
func fold(name string) string {
	if ascii(name) {
		return strings.ToLower(strings.TrimSpace(name)) // the same, a hundred times as fast
	}
	return cases.Fold().String(norm.NFC.String(strings.TrimSpace(name)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func trimLeft(text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if !unicode.IsSpace(r) {
			break
		}
		text = text[n:]
	}
	return text
}

// blank tells whether text is only white space.
func blank(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	if text[0] > ' ' && text[0] < utf8.RuneSelf {
		return false
	}
	return len(trimLeft(text)) == 0
}
