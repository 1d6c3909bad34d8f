package record

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// sheetReader reads the rows of one sheet.
type sheetReader struct {
	book   *workbook
	layout *compiled
	w      *Writer
	header *header
	x      *xmlScanner

	number int64 // of the row, from 1
	column int   // of the cell, from 0
	kind   []byte
	style  int
	value  []byte // text of the cell's v
	inline []byte // text of the cell's is

	text  []byte // texts of the row's cells
	cells []sheetCell
	width int   // of the row
	large int64 // bytes of the row's texts that were not kept
	raw   []byte
	extra []byte
}

// sheetCell is one cell of a row; prefix says what it is.
type sheetCell struct {
	prefix   string
	from, to int
}

// readSheet reads the sheet to its end, so that damage anywhere is found.
func (b *workbook) readSheet(sheet sheetPart, layout *compiled, w *Writer) (*extras, error) {
	part, err := b.part(sheet.path)
	if err != nil {
		return nil, err
	}
	defer part.Close()
	x, err := newXMLScanner(part)
	if err != nil {
		return nil, fmt.Errorf("sheet %q: %w", sheet.name, err)
	}
	r := &sheetReader{book: b, layout: layout, w: w, x: x}
	if err := r.rows(); err != nil {
		return nil, fmt.Errorf("sheet %q: %w", sheet.name, err)
	}
	// What the XML ends with may not be what the part ends with: its checksum is
	// compared at its very end.
	if _, err := io.Copy(io.Discard, part); err != nil {
		return nil, fmt.Errorf("sheet %q: %w", sheet.name, err)
	}
	if r.header == nil {
		return nil, nil
	}
	return &r.header.extras, nil
}

// Elements that matter, as a path below the root.
type sheetPlace int

const (
	placeOther sheetPlace = iota
	placeData
	placeRow
	placeCell
	placeValue
	placeInline
	placeRun
	placeText
)

func (p sheetPlace) inside(name []byte) sheetPlace {
	switch string(name) {
	case "sheetData":
		if p == placeOther {
			return placeData
		}
	case "row":
		if p == placeData {
			return placeRow
		}
	case "c":
		if p == placeRow {
			return placeCell
		}
	case "v":
		if p == placeCell {
			return placeValue
		}
	case "is":
		if p == placeCell {
			return placeInline
		}
	case "r":
		if p == placeInline {
			return placeRun
		}
	case "t":
		if p == placeInline || p == placeRun {
			return placeText
		}
	}
	return placeOther
}

func (r *sheetReader) rows() error {
	var places []sheetPlace
	for {
		token, err := r.x.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		place := placeOther
		if len(places) > 0 {
			place = places[len(places)-1]
		}
		switch token {
		case xmlStart:
			if len(places) == 0 {
				if string(r.x.name) != "worksheet" {
					return fmt.Errorf("its part holds a %q, not a worksheet", r.x.name)
				}
				places = append(places, placeOther)
				continue
			}
			// Below an element of no interest nothing is of interest.
			inner := placeOther
			if place != placeOther || len(places) == 1 {
				inner = place.inside(r.x.name)
			}
			places = append(places, inner)
			err = r.start(inner)
		case xmlText:
			switch place {
			case placeValue:
				r.value, err = r.gather(r.value)
			case placeText:
				r.inline, err = r.gather(r.inline)
			}
		case xmlEnd:
			places = places[:len(places)-1]
			switch place {
			case placeCell:
				err = r.endCell()
			case placeRow:
				err = r.endRow()
			}
		}
		if err != nil {
			return err
		}
	}
}

// gather appends a part of a cell's text.
func (r *sheetReader) gather(to []byte) ([]byte, error) {
	if len(to)+len(r.x.text) > MaxRecordBytes {
		return nil, fmt.Errorf("row %d: a cell is longer than %d bytes", r.number, MaxRecordBytes)
	}
	return append(to, r.x.text...), nil
}

func (r *sheetReader) start(place sheetPlace) error {
	switch place {
	case placeRow:
		r.number++
		if attr := r.x.attr("r"); len(attr) > 0 {
			n, err := strconv.ParseInt(string(attr), 10, 64)
			if err != nil || n < 1 {
				return fmt.Errorf("a row with number %q", attr)
			}
			r.number = n
		}
		r.column, r.width, r.large = -1, 0, 0
		r.text, r.cells = r.text[:0], r.cells[:0]
	case placeCell:
		r.column++
		if attr := r.x.attr("r"); len(attr) > 0 {
			column, ok := columnOf(attr)
			if !ok {
				return fmt.Errorf("row %d: a cell at %q", r.number, attr)
			}
			r.column = column
		}
		r.kind = append(r.kind[:0], r.x.attr("t")...)
		r.style, _ = strconv.Atoi(string(r.x.attr("s")))
		r.value, r.inline = r.value[:0], r.inline[:0]
	}
	return nil
}

// columnOf is the column of a cell's reference such as AB12, from 0.
func columnOf(reference []byte) (int, bool) {
	column := 0
	for i, c := range reference {
		switch {
		case c == '$':
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			if column = column*26 + int(c|0x20-'a') + 1; column > 1<<20 {
				return 0, false
			}
		case c >= '0' && c <= '9':
			return column - 1, i > 0 && column > 0
		default:
			return 0, false
		}
	}
	return column - 1, column > 0
}

// endCell keeps the cell's text in the row.
func (r *sheetReader) endCell() error {
	from := len(r.text)
	prefix, err := r.appendCell()
	if err != nil {
		return fmt.Errorf("row %d: %w", r.number, err)
	}
	if len(r.text) == from {
		return nil
	}
	if !utf8.Valid(r.text[from:]) {
		return fmt.Errorf("row %d: text that is not UTF-8", r.number)
	}
	if r.column >= MaxColumns {
		if blank(r.text[from:]) {
			r.text = r.text[:from]
			return nil
		}
		return fmt.Errorf("row %d: more than %d columns", r.number, MaxColumns)
	}
	for len(r.cells) <= r.column {
		r.cells = append(r.cells, sheetCell{})
	}
	if r.cells[r.column].prefix != "" || r.cells[r.column].to > 0 {
		return fmt.Errorf("row %d: column %d comes twice", r.number, r.column+1)
	}
	r.cells[r.column] = sheetCell{prefix: prefix, from: from, to: len(r.text)}
	r.width = max(r.width, r.column+1)
	if len(r.text) > MaxRecordBytes {
		// The row is refused; its beginning is kept for raw.
		r.large += int64(len(r.text) - from)
		r.cells[r.column].to = from
		r.text = r.text[:from]
	}
	return nil
}

// appendCell appends the cell's text to the row's and tells its kind.
func (r *sheetReader) appendCell() (prefix string, err error) {
	switch string(r.kind) {
	case "s":
		if len(bytes.TrimSpace(r.value)) == 0 {
			return "", nil
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(r.value)))
		text, ok := r.book.strings.get(n)
		if err != nil || !ok {
			return "", fmt.Errorf("a cell refers to shared text %q, which is not there", r.value)
		}
		r.text = append(r.text, text...)
	case "inlineStr":
		from := len(r.text)
		r.text = unescapeX(append(r.text, r.inline...), from)
		if len(r.inline) == 0 {
			r.text = unescapeX(append(r.text, r.value...), from)
		}
	case "str":
		from := len(r.text)
		r.text = unescapeX(append(r.text, r.value...), from)
	case "b":
		switch value := string(bytes.TrimSpace(r.value)); value {
		case "1", "true":
			r.text = append(r.text, "true"...)
			return "", nil
		case "0", "false":
			r.text = append(r.text, "false"...)
			return "", nil
		default:
			r.text = append(r.text, value...)
		}
	case "e":
		r.text = append(r.text, r.value...)
		if len(r.value) > 0 {
			return PrefixError, nil
		}
	case "d":
		var ok bool
		if r.text, ok = appendISODate(r.text, bytes.TrimSpace(r.value)); ok {
			return PrefixDate, nil
		}
		r.text = append(r.text, r.value...)
	default:
		return r.appendNumberCell(bytes.TrimSpace(r.value)), nil
	}
	return "", nil
}

func (r *sheetReader) appendNumberCell(value []byte) (prefix string) {
	if len(value) == 0 {
		return ""
	}
	if r.style >= 0 && r.style < len(r.book.styles) && r.book.styles[r.style] {
		if serial, ok := parseNumber(value); ok {
			text, onlyTime, ok := appendSerial(r.text, serial, r.book.epoch04)
			if ok {
				r.text = text
				if onlyTime {
					return ""
				}
				return PrefixDate
			}
		}
	}
	var ok bool
	if r.text, ok = appendNumber(r.text, value); !ok {
		r.text = append(r.text, value...) // some writers put text there
		return ""
	}
	if r.book.epoch04 {
		return PrefixNumber1904
	}
	return PrefixNumber
}

// endRow delivers the row, or takes it for the header.
func (r *sheetReader) endRow() error {
	if r.number <= int64(r.layout.SkipRows) || r.allBlank() {
		return nil
	}
	if r.header == nil {
		return r.readHeader()
	}
	r.raw = r.raw[:0]
	for i, cell := range r.cells[:r.width] {
		r.raw = append(r.raw, "[,"[min(i, 1)])
		switch text := r.text[cell.from:cell.to]; {
		case len(text) == 0:
			r.raw = append(r.raw, "null"...)
		default:
			r.raw = appendJSONString(r.raw, text)
		}
	}
	r.raw = append(r.raw, ']')
	size := int64(len(r.raw)) + r.large
	if size > MaxRecordBytes {
		return r.w.refused(RuleMalformed, r.raw, size)
	}
	r.extra = r.extra[:0]
	for i, cell := range r.cells[:r.width] {
		text := r.text[cell.from:cell.to]
		if len(text) == 0 {
			continue
		}
		column := r.headerColumn(i)
		switch {
		case column.target < 0:
			r.extra = appendMember(r.extra, column.key)
			r.extra = appendJSONString(r.extra, text)
		case cell.prefix == "":
			r.w.text(column.target, text)
		default:
			r.w.prefixed(column.target, cell.prefix, text)
		}
	}
	return r.w.row(r.raw, size, closeObject(r.extra))
}

// headerColumn is what column i means; a cell beyond the header has no name.
func (r *sheetReader) headerColumn(i int) headerColumn {
	if i < len(r.header.columns) {
		return r.header.columns[i]
	}
	name := unnamed(i)
	r.header.extras.note(name)
	return headerColumn{target: -1, key: appendJSONString(nil, []byte(name))}
}

func (r *sheetReader) allBlank() bool {
	for _, cell := range r.cells[:r.width] {
		if !blank(r.text[cell.from:cell.to]) {
			return false
		}
	}
	return r.large == 0
}

func (r *sheetReader) readHeader() error {
	if r.large > 0 {
		return errHeaderTooLong
	}
	for r.width > 0 && blank(r.text[r.cells[r.width-1].from:r.cells[r.width-1].to]) {
		r.width--
	}
	names := make([]string, r.width)
	for i, cell := range r.cells[:r.width] {
		names[i] = string(r.text[cell.from:cell.to])
	}
	var err error
	r.header, err = newHeader(r.layout, names)
	return err
}
