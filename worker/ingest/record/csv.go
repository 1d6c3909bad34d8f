package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// csvReader reads one CSV file.
type csvReader struct {
	layout   *compiled
	window   *window
	splitter splitter
	w        *Writer
	header   *header
	decoded  []byte
	unquoted []byte
	extra    []byte
}

func readCSV(ctx context.Context, in *input, layout *compiled, w *Writer) (*extras, error) {
	window, stop, err := openText(ctx, in, layout.encoding)
	defer stop()
	if err != nil {
		return nil, err
	}
	r := &csvReader{
		layout: layout, window: window, w: w,
		splitter: splitter{delimiter: layout.Delimiter, quote: layout.Quote, most: MaxColumns + 1},
	}
	if err := r.skipLines(layout.SkipRows); err != nil {
		return nil, err
	}
	if err := r.records(); err != nil {
		return nil, err
	}
	if r.header == nil {
		return nil, nil
	}
	return &r.header.extras, nil
}

// skipLines takes n physical lines: what stands above a header need not be CSV.
func (r *csvReader) skipLines(n int) error {
	for n > 0 {
		if newline := bytes.IndexByte(r.window.rest(), '\n'); newline >= 0 {
			r.window.pos += newline + 1
			n--
			continue
		}
		r.window.pos = r.window.end
		if !r.window.fill() {
			return r.window.fault()
		}
	}
	return nil
}

// records reads the header and all that follows.
func (r *csvReader) records() error {
	last := false
	for {
		rest := r.window.rest()
		if len(rest) == 0 && last {
			return nil
		}
		size, next, result := 0, 0, cutShort
		if len(rest) > 0 {
			size, next, result = r.splitter.cut(rest, last)
		}
		if result == cutShort {
			if r.window.overfull() {
				if err := r.oversize(); err != nil {
					return err
				}
				continue
			}
			if !r.window.fill() {
				if err := r.window.fault(); err != nil {
					return err
				}
				last = true
			}
			continue
		}
		if err := r.record(rest[:size], result); err != nil {
			return err
		}
		r.window.pos += next
	}
}

// record delivers one record, or takes it for the header.
func (r *csvReader) record(raw []byte, result cutResult) error {
	if result == cutWhole && r.allBlank(raw) {
		return nil
	}
	if r.header == nil {
		return r.readHeader(raw, result)
	}
	switch {
	case result == cutMalformed || len(raw) > MaxRecordBytes:
		return r.w.refused(RuleMalformed, raw, int64(len(raw)))
	case !r.layout.encoding.valid(raw):
		return r.w.refused(RuleEncoding, raw, int64(len(raw)))
	case r.splitter.cells != len(r.header.columns):
		return r.w.refused(RuleColumnCount, raw, int64(len(raw)))
	}
	r.extra = r.extra[:0]
	for i, cell := range r.splitter.spans {
		if cell.from == cell.to {
			continue
		}
		text := r.text(raw, cell)
		if column := &r.header.columns[i]; column.target >= 0 {
			r.w.text(column.target, text)
		} else {
			r.extra = appendMember(r.extra, column.key)
			r.extra = appendJSONString(r.extra, text)
		}
	}
	return r.w.row(raw, int64(len(raw)), closeObject(r.extra))
}

func (r *csvReader) allBlank(raw []byte) bool {
	for _, cell := range r.splitter.spans {
		if !blank(raw[cell.from:cell.to]) {
			return false
		}
	}
	return !r.splitter.surplus
}

// text is a cell's text, valid until the next call.
func (r *csvReader) text(raw []byte, cell span) []byte {
	text := raw[cell.from:cell.to]
	if cell.doubled {
		r.unquoted = r.unquoted[:0]
		for {
			q := bytes.IndexByte(text, r.layout.Quote)
			if q < 0 {
				break
			}
			r.unquoted = append(r.unquoted, text[:q+1]...)
			text = text[q+2:]
		}
		r.unquoted = append(r.unquoted, text...)
		text = r.unquoted
	}
	text, r.decoded = r.layout.encoding.decode(text, r.decoded)
	return text
}

func (r *csvReader) readHeader(raw []byte, result cutResult) error {
	switch {
	case result == cutMalformed:
		return errors.New("the header's quotes are broken")
	case len(raw) > MaxRecordBytes:
		return errHeaderTooLong
	case bytes.IndexByte(raw, 0) >= 0:
		return errors.New("the header holds NUL bytes; it is not text")
	case !r.layout.encoding.valid(raw):
		return fmt.Errorf("the header is not %s text", r.layout.encoding.name)
	case r.splitter.cells > MaxColumns:
		return fmt.Errorf("the header has more than %d columns", MaxColumns)
	}
	names := make([]string, len(r.splitter.spans))
	for i, cell := range r.splitter.spans {
		text := r.text(raw, cell)
		// A CR at either end of a name is white space; one inside is a line end of another kind.
		if bytes.IndexByte(bytes.TrimSpace(text), '\r') >= 0 && !(cell.from > 0 && raw[cell.from-1] == r.layout.Quote) {
			return errors.New("its lines end with CR alone; save it with LF or CRLF")
		}
		names[i] = string(text)
	}
	var err error
	if r.header, err = newHeader(r.layout, names); err != nil {
		return err
	}
	r.splitter.most = len(names) + 1
	return nil
}

var errHeaderTooLong = fmt.Errorf("the header is longer than %d bytes", MaxRecordBytes)

// oversize takes a record that does not fit into the window.
func (r *csvReader) oversize() error {
	if r.header == nil {
		return errHeaderTooLong
	}
	skip := skipping{delimiter: r.layout.Delimiter, quote: r.layout.Quote}
	raw := bytes.Clone(r.window.rest()[:MaxRawBytes])
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
			if skip.cr && skip.state != skipQuoted {
				skip.size--
			}
			break
		}
	}
	return r.w.refused(RuleMalformed, raw, skip.size)
}

// header is what the columns of a file mean.
type header struct {
	columns []headerColumn
	extras  extras
}

type headerColumn struct {
	target int    // the layout's column, -1 if it has none
	key    []byte // of an unknown column: its name as JSON text
}

// newHeader matches names to the layout's columns.
func newHeader(layout *compiled, names []string) (*header, error) {
	h := &header{columns: make([]headerColumn, len(names))}
	seen := map[string]string{}
	for i, name := range names {
		name = norm.NFC.String(strings.TrimSpace(name))
		folded := fold(name)
		if folded == "" {
			// Several columns without a name are common (a trailing comma); each is kept by its place.
			name = unnamed(i)
			folded = "\x00" + name
		}
		if column, known := layout.byName[folded]; known {
			h.columns[i].target = column
			folded = "\x01" + layout.Columns[column].Name
		} else {
			h.columns[i].target = -1
			h.columns[i].key = appendJSONString(nil, []byte(name))
			h.extras.note(name)
		}
		if first, repeated := seen[folded]; repeated {
			return nil, fmt.Errorf("column %q is repeated (as %q)", first, name)
		}
		seen[folded] = name
	}
	return h, nil
}

// unnamed is what a column without a name is called.
func unnamed(i int) string { return fmt.Sprintf("column %d", i+1) }
