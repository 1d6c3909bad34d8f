package ingest

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// whiteSpace matches a character of Unicode's White_Space: what RE2 has no class
// for, and the separators.
const whiteSpace = `[\t-\r \x{85}\p{Z}]`

// oddCell is a scratch cell, trimmed, where it needs a closer look: that is not
// ASCII, has white space at an end, or may stand for null. It is null for the
// others, nearly all, which are told by comparisons or because quick (unless
// empty) has read them: they are text as they are.
//
// A cell that is not plain text keeps its one-character prefix (see package
// record), text that looks like one included.
func oddCell(cell, quick string) string {
	trim := func(text string) string {
		return fmt.Sprintf("regexp_replace(%s, '^%s+|%s+$', '', 'g')", text, whiteSpace, whiteSpace)
	}
	read := ""
	if quick != "" {
		read = "\n      WHEN " + quick + " IS NOT NULL THEN NULL"
	}
	return "CASE" + read + fill(`
      WHEN @ BETWEEN '!' AND '~' AND strlen(@) = length(@) AND NOT (suffix(@, ' ') OR suffix(@, chr(9)) OR suffix(@, chr(10))
        OR suffix(@, chr(11)) OR suffix(@, chr(12)) OR suffix(@, chr(13)) OR @ = '-' OR @ BETWEEN 'N' AND 'Nz' OR @ BETWEEN 'n' AND 'nz') THEN NULL
      WHEN (`+fill(noSpace, cell)+`) AND (`+fill(noSpace, cell+"[-1]")+`) THEN @
      WHEN `+begins(cell, 4)+` THEN concat(chr(4), `+trim("substring("+cell+", 2)")+`)
      WHEN @ >= chr(1) AND @ < chr(7) THEN @
      ELSE `+trim(cell)+` END`, cell)
}

// noSpace tells that @ (see fill) begins with a character that is neither white
// space nor a control character. Text compares bytewise, which is by code
// point; ranges that hold a white space among others are left to trim. No part
// of it is written like the test for ASCII: the engine would compute what the
// two share for all cells.
const noSpace = `@ >= '!' AND @ < chr(127) OR @ >= chr(161) AND @ < chr(5760) OR @ > chr(5761) AND @ < chr(8192) OR @ > chr(12289)`

// fill puts an expression in the place of @.
func fill(template, text string) string { return strings.ReplaceAll(template, "@", text) }

// begins tells that text begins with the character of that code.
func begins(text string, code int) string {
	return fmt.Sprintf("%s >= chr(%d) AND %s < chr(%d)", text, code, text, code+1)
}

// plain tells that a cell is plain text, or nearly so: text that begins with some control
// characters is no value of any type but string.
func plain(text string) string { return text + " >= chr(7)" }

// neverText tells that a cell is a list, an object or an error.
func neverText(odd string) string { return odd + " >= chr(1) AND " + odd + " < chr(3)" }

// isNull tells what is no value, of odd cells. A list, because IN is made a join.
const isNull = `strlen(@) < 5 AND list_contains(['', '-', 'null', 'n/a', 'nan'], lower(@))`

// columnText is a cell's text: null for what counts as null, normalised unless
// it is JSON, and the column's default where there is none.
func columnText(c *pipeline.ContractColumn, cell, odd string) string {
	normal := fmt.Sprintf("nfc_normalize(%s)", odd)
	if c.Type == pipeline.ColumnObject {
		normal = odd
	}
	rest, none := withDefault(c, cell)
	return fmt.Sprintf("CASE WHEN %s IS NULL THEN %s WHEN %s THEN %s ELSE %s END", odd, rest, fill(isNull, odd), none, normal)
}

// withDefault gives a cell, or the column's default for null, and what null
// itself becomes.
func withDefault(c *pipeline.ContractColumn, cell string) (rest, none string) {
	if c.DefaultValue == nil {
		return cell, "NULL"
	}
	none = literal(*c.DefaultValue)
	return fmt.Sprintf("coalesce(%s, %s)", cell, none), none
}

// readString takes text; numbers, booleans and dates of a workbook are their
// text; lists, objects and error cells cannot be read.
func readString(c *pipeline.ContractColumn) reading {
	cell, odd := quote(hidden(c, "cell")), quote(hidden(c, "odd"))
	rest, none := withDefault(c, cell)
	value := fmt.Sprintf(`CASE
      WHEN %s IS NULL THEN %s
      WHEN %s THEN %s
      WHEN %s THEN NULL
      WHEN %s >= chr(3) AND %s < chr(7) THEN nfc_normalize(substring(%s, 2))
      ELSE nfc_normalize(%s) END`, odd, rest, fill(isNull, odd), none, neverText(odd), odd, odd, odd, odd)
	if len(c.Enum) == 0 && !c.UpperCase {
		return reading{value: value}
	}
	name := hidden(c, "string")
	steps := []derived{{name, value}}
	value = quote(name)
	switch {
	case len(c.Enum) > 0:
		// A capital I with a dot is no other way to write i.
		value = fmt.Sprintf("CASE WHEN contains(%s, chr(304)) THEN %s ELSE lower(%s) END", value, value, value)
		if ascii(c.Enum) {
			value = fmt.Sprintf("lower(%s)", quote(name))
			value = fmt.Sprintf("CASE WHEN strlen(%s) = length(%s) THEN %s ELSE %s END", quote(name), quote(name), value, quote(name))
		}
	case c.UpperCaseWhen != "":
		value = fmt.Sprintf("CASE WHEN regexp_matches(%s, %s) THEN %s ELSE %s END", value, literal(c.UpperCaseWhen), upper(value), value)
	default:
		value = upper(value)
	}
	return reading{slow: steps, value: value}
}

// upper writes text in upper case, but leaves text with the two letters outside
// ASCII that would become letters of ASCII: they must not turn into a code.
func upper(text string) string {
	return fmt.Sprintf("CASE WHEN strlen(%s) = length(%s) OR NOT (contains(%s, chr(305)) OR contains(%s, chr(383))) THEN upper(%s) ELSE %s END",
		text, text, text, text, text, text)
}

func ascii(texts []string) bool {
	for _, text := range texts {
		for i := range len(text) {
			if text[i] >= utf8.RuneSelf {
				return false
			}
		}
	}
	return true
}

// readBoolean takes true, t, yes, y and 1, and their opposites, in any case.
func readBoolean(text string) reading {
	return reading{value: fmt.Sprintf(`CASE
      WHEN strlen(%s) > 6 THEN NULL
      WHEN list_contains(['true', 't', 'yes', 'y', '1', chr(3) || '1'], lower(%s)) THEN true
      WHEN list_contains(['false', 'f', 'no', 'n', '0', chr(3) || '0'], lower(%s)) THEN false END`, text, text, text)}
}

// readObject takes an object that a reader found, and where asked for text that
// is one: formats without objects of their own hold them as text. The engine's
// JSON reader lets a comma through before a closing bracket, and NaN and
// Infinity: they are looked for in what is left when strings are taken out.
func readObject(text string, asText bool) reading {
	value := fmt.Sprintf("WHEN %s THEN CASE WHEN starts_with(substring(%s, 2, 1), '{') THEN substring(%s, 2) END",
		begins(text, 1), text, text)
	if asText {
		value += fill(`
      WHEN starts_with(@, '{') AND json_valid(@)
        AND NOT regexp_matches(regexp_replace(@, '"(?:[^"\\]|\\.)*"', '""', 'g'), ',[ \t\r\n]*[}\]]|[NIni][aAnN][NnFf]') THEN @`, text)
	}
	return reading{value: "CASE\n      " + value + " END"}
}

// onlyJSON tells that all files of a format have objects of their own.
func onlyJSON(f pipeline.Format) bool {
	return f.Kind == pipeline.FormatNDJSON && !slices.ContainsFunc(f.Kinds, func(kind pipeline.FormatKind) bool {
		return kind != pipeline.FormatNDJSON
	})
}
