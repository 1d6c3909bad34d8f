package pipeline

import (
	"strings"
)

// sqlToken is a piece of an SQL text: a comment, white space, a quoted text or anything else.
type sqlToken struct {
	kind tokenKind
	text string
}

type tokenKind int

const (
	tokenCode tokenKind = iota
	tokenSpace
	tokenComment
	tokenQuoted
)

// sqlTokens splits an SQL text as DuckDB does: 'text' and E'text', "name", $tag$text$tag$, -- and nested /* */ comments.
func sqlTokens(sql string) []sqlToken {
	var tokens []sqlToken
	for len(sql) > 0 {
		kind, length := nextToken(sql)
		if last := len(tokens) - 1; kind == tokenCode && last >= 0 && tokens[last].kind == tokenCode {
			tokens[last].text += sql[:length]
		} else {
			tokens = append(tokens, sqlToken{kind, sql[:length]})
		}
		sql = sql[length:]
	}
	return tokens
}

func nextToken(sql string) (tokenKind, int) {
	switch c := sql[0]; {
	case isSpace(c):
		length := 1
		for length < len(sql) && isSpace(sql[length]) {
			length++
		}
		return tokenSpace, length
	case strings.HasPrefix(sql, "--"):
		if end := strings.IndexByte(sql, '\n'); end >= 0 {
			return tokenComment, end
		}
		return tokenComment, len(sql)
	case strings.HasPrefix(sql, "/*"):
		return tokenComment, blockComment(sql)
	case c == '\'':
		return tokenQuoted, quoted(sql, 0, '\'', false)
	case (c == 'e' || c == 'E') && len(sql) > 1 && sql[1] == '\'':
		return tokenQuoted, quoted(sql, 1, '\'', true)
	case c == '"':
		return tokenQuoted, quoted(sql, 0, '"', false)
	case c == '$':
		if length := dollarQuoted(sql); length > 0 {
			return tokenQuoted, length
		}
		return tokenCode, 1
	case isWord(c):
		length := 1
		for length < len(sql) && (isWord(sql[length]) || sql[length] == '$') {
			length++
		}
		return tokenCode, length
	default:
		return tokenCode, 1
	}
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// quoted returns where a text ends that begins at the given quote; a doubled quote stands for itself.
func quoted(sql string, begin int, quote byte, escapes bool) int {
	for i := begin + 1; i < len(sql); i++ {
		switch {
		case escapes && sql[i] == '\\':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

func blockComment(sql string) int {
	depth := 0
	for i := 0; i < len(sql); i++ {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(sql[i:], "*/"):
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(sql)
}

// dollarQuoted returns the length of a $tag$text$tag$, 0 where none begins here ($name is a parameter).
func dollarQuoted(sql string) int {
	end := 1
	for end < len(sql) && isWord(sql[end]) {
		end++
	}
	if end >= len(sql) || sql[end] != '$' || end > 1 && sql[1] >= '0' && sql[1] <= '9' {
		return 0
	}
	tag := sql[:end+1]
	if close := strings.Index(sql[len(tag):], tag); close >= 0 {
		return len(tag) + close + len(tag)
	}
	return len(sql)
}

// blankOut replaces comments and quoted texts by blanks, so that what is found in the rest stands where it stood.
func blankOut(sql string) string {
	var b strings.Builder
	for _, token := range sqlTokens(sql) {
		if token.kind == tokenComment || token.kind == tokenQuoted {
			for i := range len(token.text) {
				if token.text[i] == '\n' {
					b.WriteByte('\n')
				} else {
					b.WriteByte(' ')
				}
			}
			continue
		}
		b.WriteString(token.text)
	}
	return b.String()
}

// normalizeSQL gives texts that differ in comments and white space only the same form. Texts of the same form mean the same.
func normalizeSQL(sql string) string {
	var b strings.Builder
	gap, newline := false, false
	afterQuote := false
	for _, token := range sqlTokens(sql) {
		if token.kind == tokenSpace || token.kind == tokenComment {
			gap = true
			// A comment to the end of the line ends before its newline, which follows as space.
			newline = newline || strings.ContainsRune(token.text, '\n')
			continue
		}
		if gap && b.Len() > 0 {
			// 'a' and 'b' on two lines are one text in SQL, on one line they are not.
			if afterQuote && newline && token.kind == tokenQuoted {
				b.WriteByte('\n')
			} else {
				b.WriteByte(' ')
			}
		}
		gap, newline = false, false
		afterQuote = token.kind == tokenQuoted
		b.WriteString(token.text)
	}
	return strings.TrimRight(b.String(), " ;")
}
