package record

import (
	"fmt"
	"strings"
	"unicode/utf8"

	textencoding "golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// encoding is how a text's bytes mean characters.
type encoding struct {
	name string
	// table gives the character of each byte where one byte is one character and
	// ASCII is itself; such text is split before it is decoded, so that raw bytes
	// stay as they lie.
	table *[256]string
	// mixed says that table is for cells only that are not UTF-8.
	mixed bool
	// wide decodes any other encoding before the text is split.
	wide textencoding.Encoding
}

// utf8Text is the encoding of a contract that names none.
var utf8Text = &encoding{name: "UTF-8"}

func findEncoding(name string) (*encoding, error) {
	if second, mixed := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), "utf-8,"); mixed {
		e, err := findEncoding(second)
		if err == nil && e.table == nil {
			err = fmt.Errorf("encoding %q of the contract: beside UTF-8 there may be a character set of one byte a character, such as iso-8859-1", name)
		}
		if err != nil {
			return nil, err
		}
		return &encoding{name: name, table: e.table, mixed: true}, nil
	}
	var found textencoding.Encoding
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return utf8Text, nil
	case "latin-1", "latin1", "iso-8859-1", "iso8859-1", "iso_8859-1":
		found = charmap.ISO8859_1 // htmlindex would take windows-1252
	case "utf-16", "utf16":
		found = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	default:
		var err error
		if found, err = htmlindex.Get(name); err != nil {
			return nil, fmt.Errorf("encoding %q of the contract is not known; name it as IANA does, such as utf-8, iso-8859-1 or windows-1252", name)
		}
	}
	if single, ok := found.(*charmap.Charmap); ok {
		if table := asciiTable(single); table != nil {
			return &encoding{name: name, table: table}, nil
		}
	}
	return &encoding{name: name, wide: found}, nil
}

// asciiTable is nil for a character set in which ASCII isn't itself.
func asciiTable(set *charmap.Charmap) *[256]string {
	var table [256]string
	for b := range 256 {
		r := set.DecodeByte(byte(b))
		if b < utf8.RuneSelf && r != rune(b) {
			return nil
		}
		if r != utf8.RuneError {
			table[b] = string(r)
		}
	}
	return &table
}

// valid tells whether all bytes of a record are characters.
func (e *encoding) valid(record []byte) bool {
	switch {
	case e.mixed && utf8.Valid(record):
		return true
	case e.table != nil:
		for _, b := range record {
			if e.table[b] == "" {
				return false
			}
		}
		return true
	case e.wide != nil:
		// The decoder puts U+FFFD for what is no character.
		return utf8.Valid(record) && !strings.ContainsRune(string(record), utf8.RuneError)
	}
	return utf8.Valid(record)
}

// decode gives the UTF-8 of a valid cell, in scratch if it differs.
func (e *encoding) decode(cell, scratch []byte) (decoded, grown []byte) {
	if e.table == nil || e.mixed && utf8.Valid(cell) {
		return cell, scratch
	}
	i := 0
	for i < len(cell) && cell[i] < utf8.RuneSelf {
		i++
	}
	if i == len(cell) {
		return cell, scratch
	}
	scratch = append(scratch[:0], cell[:i]...)
	for _, b := range cell[i:] {
		scratch = append(scratch, e.table[b]...)
	}
	return scratch, scratch
}
