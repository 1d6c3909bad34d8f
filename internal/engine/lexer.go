package engine

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// parameter is one place where a statement uses $name.
type parameter struct {
	name       string // without the dollar
	start, end int    // bytes of $name
}

// lexed is what can be told of a statement without its grammar.
type lexed struct {
	parameters []parameter
	// statements is how many there are, empty ones left out.
	statements int
	// start and end enclose the text from the first to the last token that is neither a comment nor a semicolon.
	start, end int
}

// lex finds the parameters of a statement: dollars inside of strings, quoted names, comments, identifiers and
// dollar-quoted text are none. The syntax tree of DuckDB names parameters but not where they stand.
func lex(sql string) lexed {
	var out lexed
	within := false // a statement
	for i := 0; i < len(sql); {
		start := i
		switch c := sql[i]; {
		case strings.HasPrefix(sql[i:], "--"):
			if length := strings.IndexAny(sql[i:], "\r\n"); length >= 0 {
				i += length
			} else {
				i = len(sql)
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i = blockComment(sql, i)
			continue
		case c == ';':
			within = false
			i++
			continue
		case spaceAt(sql, i) > 0:
			i += spaceAt(sql, i)
			continue
		case (c == 'e' || c == 'E') && i+1 < len(sql) && sql[i+1] == '\'':
			i = quoted(sql, i+1, true)
		case c == '\'' || c == '"':
			i = quoted(sql, i, false)
		case nameStart(c):
			i = nameEnd(sql, i)
		case c == '$':
			end := nameEnd(sql, i+1)
			tag := strings.IndexByte(sql[i+1:end], '$')
			switch {
			case tag >= 0: // nameEnd takes dollars for part of a name, so $tag$ ends before it does
				i = after(sql, i+tag+2, sql[i:i+tag+2])
			case end > i+1:
				i = end
				out.parameters = append(out.parameters, parameter{name: sql[start+1 : end], start: start, end: end})
			default:
				i++
			}
		case c >= '0' && c <= '9':
			for i < len(sql) && (sql[i] >= '0' && sql[i] <= '9' || sql[i] == '.' || sql[i] == '_') {
				i++
			}
		default:
			i++
		}
		if !within {
			if out.statements == 0 {
				out.start = start
			}
			within = true
			out.statements++
		}
		out.end = i
	}
	return out
}

// Subquery puts a statement into parentheses, for use in the FROM of another; semicolons and comments around it are cut off.
func Subquery(sql string) string {
	tokens := lex(sql)
	return "(\n" + sql[tokens.start:tokens.end] + "\n)"
}

// after is the byte after the next mark, or the end of the text.
func after(sql string, from int, mark string) int {
	if i := strings.Index(sql[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(sql)
}

// blockComment is the byte after a comment, which may hold others.
func blockComment(sql string, i int) int {
	depth := 0
	for i < len(sql) {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(sql[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// quoted is the byte after a string or quoted name that begins at i; a doubled quote is part of it.
func quoted(sql string, i int, escapes bool) int {
	mark := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case escapes && sql[i] == '\\':
			i++
		case sql[i] == mark:
			if i+1 == len(sql) || sql[i+1] != mark {
				return i + 1
			}
			i++
		}
	}
	return len(sql)
}

// spaceAt is the length of the white space character at a byte, 0 where there is none.
func spaceAt(sql string, i int) int {
	r, size := utf8.DecodeRuneInString(sql[i:])
	if unicode.IsSpace(r) {
		return size
	}
	return 0
}

// nameStart says whether a name can begin with a byte; what is not ASCII can, unless it is white space.
func nameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// nameEnd is the byte after the characters of a name.
func nameEnd(sql string, i int) int {
	for i < len(sql) && (nameStart(sql[i]) || sql[i] == '$' || sql[i] >= '0' && sql[i] <= '9') && spaceAt(sql, i) == 0 {
		i++
	}
	return i
}
