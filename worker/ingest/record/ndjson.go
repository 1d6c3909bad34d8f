package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"unicode/utf8"
)

// jsonReader reads one file of JSON objects, a line each or in one array.
type jsonReader struct {
	window    *window
	w         *Writer
	keys      *keys
	unescaped []byte
	extra     []byte
}

func readJSON(ctx context.Context, in *input, layout *compiled, w *Writer) (*extras, error) {
	window, stop, err := openText(ctx, in, utf8Text)
	defer stop()
	if err != nil {
		return nil, err
	}
	r := &jsonReader{window: window, w: w, keys: newKeys(layout)}
	read := r.lines
	if mayHoldArray(in.name) {
		if first, err := r.firstByte(); err != nil {
			return nil, err
		} else if first == '[' {
			read = r.array
		}
	}
	if err := read(); err != nil {
		return nil, err
	}
	return &r.keys.extras, nil
}

// mayHoldArray tells a .json file, packed or not.
func mayHoldArray(name string) bool {
	return path.Ext(unpackedName(name)) == ".json"
}

// firstByte takes white space and peeks at what follows, 0 at the end.
func (r *jsonReader) firstByte() (byte, error) {
	for {
		r.window.pos += skipSpace(r.window.rest(), 0)
		if rest := r.window.rest(); len(rest) > 0 {
			return rest[0], nil
		}
		if !r.window.fill() {
			return 0, r.window.fault()
		}
	}
}

// lines reads an object a line.
func (r *jsonReader) lines() error {
	searched := 0 // bytes of rest known to hold no line end
	for {
		rest := r.window.rest()
		newline := bytes.IndexByte(rest[searched:], '\n')
		if newline >= 0 {
			newline += searched
		} else {
			if r.window.overfull() {
				if err := r.skipLine(); err != nil {
					return err
				}
				searched = 0
				continue
			}
			searched = len(rest)
			if r.window.fill() {
				continue
			}
			if err := r.window.fault(); err != nil || len(rest) == 0 {
				return err
			}
		}
		searched = 0
		size, next := lineEnd(r.window.rest(), newline)
		if err := r.element(r.window.rest()[:size]); err != nil {
			return err
		}
		r.window.pos += next
	}
}

// skipLine takes a line that does not fit into the window.
func (r *jsonReader) skipLine() error {
	raw := bytes.Clone(r.window.rest()[:MaxRawBytes])
	skip := skipping{state: skipLine}
	for {
		n, found := skip.take(r.window.rest())
		r.window.pos += n
		if found {
			break
		}
		if !r.window.fill() {
			if err := r.window.fault(); err != nil {
				return err
			}
			if skip.cr {
				skip.size--
			}
			break
		}
	}
	return r.w.refused(RuleMalformed, raw, skip.size)
}

// element delivers one line, or one element of an array.
func (r *jsonReader) element(raw []byte) error {
	if skipSpace(raw, 0) == len(raw) {
		return nil
	}
	filled, ok := false, len(raw) <= MaxRecordBytes && utf8.Valid(raw)
	if ok {
		filled, ok = r.object(raw)
	}
	switch {
	case !ok:
		return r.w.refused(RuleMalformed, raw, int64(len(raw)))
	case !filled:
		r.w.discard()
		return nil
	}
	return r.w.row(raw, int64(len(raw)), closeObject(r.extra))
}

// object sets the cells of one strict JSON object; filled tells whether a cell
// isn't empty.
func (r *jsonReader) object(s []byte) (filled, ok bool) {
	r.extra = r.extra[:0]
	r.keys.begin()
	i := skipSpace(s, 0)
	if i == len(s) || s[i] != '{' {
		return false, false
	}
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		return false, skipSpace(s, i+1) == len(s)
	}
	for n := 0; ; n++ {
		if i >= len(s) || s[i] != '"' || n == MaxColumns {
			return false, false
		}
		end, escaped := scanString(s, i)
		if end < 0 {
			return false, false
		}
		member, repeated := r.keys.find(n, s[i+1:end-1], escaped)
		if repeated {
			return false, false
		}
		i = skipSpace(s, end)
		if i >= len(s) || s[i] != ':' {
			return false, false
		}
		if i = r.value(s, skipSpace(s, i+1), member, &filled); i < 0 {
			return false, false
		}
		i = skipSpace(s, i)
		if i >= len(s) {
			return false, false
		}
		switch s[i] {
		case ',':
			i = skipSpace(s, i+1)
		case '}':
			return filled, skipSpace(s, i+1) == len(s)
		default:
			return false, false
		}
	}
}

// value sets the cell of a member whose value begins at i, and tells where the
// value ends, or -1.
func (r *jsonReader) value(s []byte, i int, member *key, filled *bool) (end int) {
	if i >= len(s) {
		return -1
	}
	var text []byte
	switch c := s[i]; {
	case c == '"':
		var escaped bool
		if end, escaped = scanString(s, i); end < 0 {
			return -1
		}
		text = s[i+1 : end-1]
		if escaped {
			r.unescaped = appendUnescaped(r.unescaped[:0], text)
			text = r.unescaped
		}
		if !*filled {
			*filled = !blank(text)
		}
	case c == '{' || c == '[':
		if end = scanComposite(s, i, 1); end < 0 {
			return -1
		}
		*filled = true
		if member.target >= 0 {
			r.w.prefixed(member.target, PrefixComposite, s[i:end])
			return end
		}
	case c == 'n':
		return scanWord(s, i, "null")
	default:
		if end = scanScalar(s, i); end < 0 {
			return -1
		}
		*filled = true
		text = withoutZeroFraction(s[i:end])
	}
	if member.target >= 0 {
		r.w.text(member.target, text)
	} else if len(text) > 0 || s[i] != '"' {
		r.extra = appendMember(r.extra, member.json)
		r.extra = append(r.extra, s[i:end]...)
	}
	return end
}

// array reads the elements of one array, which is the whole text.
func (r *jsonReader) array() error {
	r.window.pos++ // the bracket
	for first := true; ; first = false {
		c, err := r.firstByte()
		if err != nil {
			return err
		}
		if first && c == ']' {
			break
		}
		if err := r.arrayElement(); err != nil {
			return err
		}
		if c, err = r.firstByte(); err != nil {
			return err
		}
		if c == ']' {
			break
		}
		if c != ',' {
			return errors.New("its JSON array is broken: a comma or a bracket is missing behind an element")
		}
		r.window.pos++
	}
	r.window.pos++
	if c, err := r.firstByte(); err != nil {
		return err
	} else if c != 0 || len(r.window.rest()) > 0 {
		return errors.New("its JSON array is followed by more text")
	}
	return nil
}

// arrayElement takes the element that begins at the window's position.
func (r *jsonReader) arrayElement() error {
	var lexer elementLexer
	size := 0 // bytes lexed
	for {
		n, ended, ok := lexer.take(r.window.rest()[size:])
		size += n
		if !ok {
			return fmt.Errorf("its JSON array is broken in element %d", r.w.rows+1)
		}
		if ended {
			err := r.element(r.window.rest()[:size])
			r.window.pos += size
			return err
		}
		if r.window.overfull() {
			return r.skipElement(&lexer, size)
		}
		if !r.window.fill() {
			if err := r.window.fault(); err != nil {
				return err
			}
			return errors.New("its JSON array does not end")
		}
	}
}

// skipElement takes an element that does not fit into the window; lexer has
// seen lexed bytes of it.
func (r *jsonReader) skipElement(lexer *elementLexer, lexed int) error {
	raw := bytes.Clone(r.window.rest()[:MaxRawBytes])
	size := int64(lexed)
	r.window.pos += lexed
	for {
		if !r.window.fill() {
			if err := r.window.fault(); err != nil {
				return err
			}
			return errors.New("its JSON array does not end")
		}
		n, ended, ok := lexer.take(r.window.rest())
		if !ok {
			return fmt.Errorf("its JSON array is broken in element %d", r.w.rows+1)
		}
		size += int64(n)
		r.window.pos += n
		if ended {
			return r.w.refused(RuleMalformed, raw, size)
		}
	}
}

// withoutZeroFraction is a number's text without a fraction of zeros: 12 for 12.0, which writers of JSON make of an integer.
func withoutZeroFraction(number []byte) []byte {
	point := bytes.IndexByte(number, '.')
	if point < 0 || len(bytes.Trim(number[point+1:], "0")) > 0 {
		return number
	}
	return number[:point]
}
