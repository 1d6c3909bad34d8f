package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxSharedStrings bounds the index of a workbook's shared strings.
const maxSharedStrings = 16 << 20

// sharedStrings are the texts that cells refer to by number.
type sharedStrings struct {
	text []byte
	ends []uint32
}

func (s *sharedStrings) get(i int) ([]byte, bool) {
	if s == nil || i < 0 || i >= len(s.ends) {
		return nil, false
	}
	from := uint32(0)
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.text[from:s.ends[i]], true
}

// readStrings reads the shared strings: plain or rich text, without phonetic
// hints.
func (b *workbook) readStrings(name string) (*sharedStrings, error) {
	r, err := b.part(name)
	if errors.Is(err, errNoPart) {
		return nil, nil // a fault only if a cell refers to them
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	x, err := newXMLScanner(r)
	if err != nil {
		return nil, fmt.Errorf("workbook: %s: %w", name, err)
	}
	s := &sharedStrings{}
	depth, phonetic, inText := 0, 0, false
	item := 0 // where the item's text begins
	for {
		token, err := x.next()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("workbook: %s: %w", name, err)
		}
		switch token {
		case xmlStart:
			depth++
			switch {
			case depth == 2:
				item = len(s.text)
			case string(x.name) == "rPh" && phonetic == 0:
				phonetic = depth
			case string(x.name) == "t":
				inText = phonetic == 0
			}
		case xmlText:
			if inText {
				if s.text = append(s.text, x.text...); len(s.text) > MaxSharedText {
					return nil, fmt.Errorf("workbook: %s: more than %d bytes of text; save the sheet as CSV", name, MaxSharedText)
				}
			}
		case xmlEnd:
			switch {
			case depth == phonetic:
				phonetic = 0
			case string(x.name) == "t":
				inText = false
			case depth == 2 && string(x.name) == "si":
				if !utf8.Valid(s.text[item:]) {
					return nil, fmt.Errorf("workbook: %s: text that is not UTF-8", name)
				}
				s.text = unescapeX(s.text, item)
				if s.ends = append(s.ends, uint32(len(s.text))); len(s.ends) > maxSharedStrings {
					return nil, fmt.Errorf("workbook: %s: more than %d texts; save the sheet as CSV", name, maxSharedStrings)
				}
			}
			depth--
		}
	}
}

// unescapeX resolves _xHHHH_, which stands for a UTF-16 unit, in the text that
// begins at from.
func unescapeX(text []byte, from int) []byte {
	if !bytes.Contains(text[from:], []byte("_x")) {
		return text
	}
	s := bytes.Clone(text[from:])
	text = text[:from]
	for i := 0; i < len(s); {
		r, ok := escapedUnit(s[i:])
		if !ok {
			text = append(text, s[i])
			i++
			continue
		}
		i += 7
		if utf16.IsSurrogate(r) {
			if low, ok := escapedUnit(s[i:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				r = utf16.DecodeRune(r, low)
				i += 7
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text
}

func escapedUnit(s []byte) (rune, bool) {
	if len(s) < 7 || s[0] != '_' || s[1] != 'x' || s[6] != '_' {
		return 0, false
	}
	r := hex4(s, 2)
	return r, r >= 0
}

// readStyles finds out which styles show a number as a date.
func (b *workbook) readStyles(name string) error {
	formats := map[int]bool{}
	err := b.walk(name, func(x *xmlScanner, at []string) error {
		switch strings.Join(at, "/") {
		case "styleSheet/numFmts/numFmt":
			if id, err := strconv.Atoi(string(x.attr("numFmtId"))); err == nil && len(formats) < 100_000 {
				formats[id] = dateFormat(string(x.attr("formatCode")))
			}
		case "styleSheet/cellXfs/xf":
			id, _ := strconv.Atoi(string(x.attr("numFmtId")))
			date, own := formats[id]
			if !own {
				date = builtinDate(id)
			}
			if len(b.styles) < 1<<20 {
				b.styles = append(b.styles, date)
			}
		}
		return nil
	})
	if errors.Is(err, errNoPart) {
		return nil
	}
	return err
}

// builtinDate tells the number formats that every workbook has, those of East
// Asian locales included; 46 is a duration.
func builtinDate(id int) bool {
	return id >= 14 && id <= 22 || id >= 27 && id <= 36 || id == 45 || id == 47 || id >= 50 && id <= 58
}

// dateFormat tells whether a number format shows a date or a time of day:
// whether a date's letter stands outside of quotes, escapes and brackets in its
// first section. Elapsed time ([h]:mm) is a number.
func dateFormat(code string) bool {
	date := false
	for i := 0; i < len(code); i++ {
		switch c := code[i] | 0x20; {
		case code[i] == ';':
			return date
		case code[i] == '\\', code[i] == '_', code[i] == '*':
			i++
		case code[i] == '"':
			n := strings.IndexByte(code[i+1:], '"')
			if n < 0 {
				return date
			}
			i += n + 1
		case code[i] == '[':
			n := strings.IndexByte(code[i:], ']')
			if n < 0 {
				return date
			}
			inside := strings.ToLower(code[i+1 : i+n])
			if inside != "" && strings.Trim(inside, "h") == "" || strings.Trim(inside, "m") == "" || strings.Trim(inside, "s") == "" {
				return false
			}
			i += n
		case c == 'y', c == 'm', c == 'd', c == 'h', c == 's':
			date = true
		}
	}
	return date
}
