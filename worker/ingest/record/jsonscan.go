package record

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// This file is a strict scanner of RFC 8259 over text known to be valid UTF-8.
// Each function takes the text and where to begin, and returns where the thing
// ends, or -1 if it isn't there whole.

func skipSpace(s []byte, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// scanString scans the string whose opening quote is at i; escaped tells
// whether it holds escapes, which are all valid.
func scanString(s []byte, i int) (end int, escaped bool) {
	i++
	for {
		i = plainRun(s, i)
		if i >= len(s) {
			return -1, false
		}
		switch s[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = scanEscape(s, i); i < 0 {
				return -1, false
			}
		default: // a control character
			return -1, false
		}
	}
}

// plainRun finds the first quote, backslash or control character from i on,
// eight bytes at a time.
func plainRun(s []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		quote, slash := x^ones*'"', x^ones*'\\'
		// A byte's high bit ends up set where the byte is zero (quote, slash) or
		// below a space; a borrow may set it above such a byte, never below one.
		hit := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((x - ones*' ') &^ x)
		if hit &= highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)>>3
		}
	}
	for i < len(s) && s[i] != '"' && s[i] != '\\' && s[i] >= ' ' {
		i++
	}
	return i
}

// scanEscape scans one escape at i; a surrogate must be followed by its other half.
func scanEscape(s []byte, i int) int {
	if i+1 >= len(s) {
		return -1
	}
	switch s[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		r := hex4(s, i+2)
		if r < 0 {
			return -1
		}
		if !utf16.IsSurrogate(r) {
			return i + 6
		}
		if i+7 < len(s) && s[i+6] == '\\' && s[i+7] == 'u' {
			if low := hex4(s, i+8); low >= 0 && utf16.DecodeRune(r, low) != utf8.RuneError {
				return i + 12
			}
		}
	}
	return -1
}

// hex4 is the value of the four hexadecimal digits at i, or -1.
func hex4(s []byte, i int) rune {
	if i+4 > len(s) {
		return -1
	}
	var r rune
	for _, c := range s[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendUnescaped appends the text of a scanned string (without its quotes).
func appendUnescaped(buf, s []byte) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' {
			from := i
			for i < len(s) && s[i] != '\\' {
				i++
			}
			buf = append(buf, s[from:i]...)
			continue
		}
		switch c = s[i+1]; c {
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			r := hex4(s, i+2)
			i += 6
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, hex4(s, i+2))
				i += 6
			}
			buf = utf8.AppendRune(buf, r)
			continue
		default:
			buf = append(buf, c)
		}
		i += 2
	}
	return buf
}

// scanNumber scans a number at i.
func scanNumber(s []byte, i int) int {
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i >= len(s):
		return -1
	case s[i] == '0':
		i++
	default:
		if i = scanDigits(s, i); i < 0 {
			return -1
		}
	}
	if i < len(s) && s[i] == '.' {
		if i = scanDigits(s, i+1); i < 0 {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		return scanDigits(s, i)
	}
	return i
}

// scanDigits scans one digit or more.
func scanDigits(s []byte, i int) int {
	from := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// scanWord scans true, false or null.
func scanWord(s []byte, i int, word string) int {
	if len(s)-i < len(word) || string(s[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// scanScalar scans a value that is neither list nor object.
func scanScalar(s []byte, i int) int {
	if i >= len(s) {
		return -1
	}
	switch s[i] {
	case '"':
		end, _ := scanString(s, i)
		return end
	case 't':
		return scanWord(s, i, "true")
	case 'f':
		return scanWord(s, i, "false")
	case 'n':
		return scanWord(s, i, "null")
	}
	return scanNumber(s, i)
}

// scanComposite scans the list or object that begins at i, inside depth others.
func scanComposite(s []byte, i, depth int) int {
	var objects [(MaxJSONDepth + 64) / 64]uint64 // a bit a level: object, not list
	base := depth
	for {
		// At the beginning of a value.
		i = skipSpace(s, i)
		if i < len(s) && (s[i] == '{' || s[i] == '[') {
			if depth >= MaxJSONDepth {
				return -1
			}
			object := s[i] == '{'
			if object {
				objects[depth/64] |= 1 << (depth % 64)
			} else {
				objects[depth/64] &^= 1 << (depth % 64)
			}
			depth++
			i = skipSpace(s, i+1)
			switch {
			case i >= len(s):
				return -1
			case object && s[i] == '}', !object && s[i] == ']':
				i++
				depth--
			case object:
				if i = scanKey(s, i); i < 0 {
					return -1
				}
				continue
			default:
				continue
			}
		} else if i = scanScalar(s, i); i < 0 {
			return -1
		}
		// Behind a value: close what ends here.
		for {
			if depth == base {
				return i
			}
			object := objects[(depth-1)/64]&(1<<((depth-1)%64)) != 0
			i = skipSpace(s, i)
			if i >= len(s) {
				return -1
			}
			c := s[i]
			i++
			if c == ',' {
				if object {
					if i = scanKey(s, skipSpace(s, i)); i < 0 {
						return -1
					}
				}
				break
			}
			if object && c != '}' || !object && c != ']' {
				return -1
			}
			depth--
		}
	}
}

// scanKey scans a member's name and colon.
func scanKey(s []byte, i int) int {
	if i >= len(s) || s[i] != '"' {
		return -1
	}
	i, _ = scanString(s, i)
	if i < 0 {
		return -1
	}
	if i = skipSpace(s, i); i >= len(s) || s[i] != ':' {
		return -1
	}
	return i + 1
}
