package record

import "bytes"

// span is a cell's place in its record, without quotes around it.
type span struct {
	from, to int
	doubled  bool // holds doubled quotes
}

// cutResult is what became of an attempt to cut one record off a text.
type cutResult int

const (
	cutWhole     cutResult = iota // a record, in spans
	cutMalformed                  // text after a closing quote, or a quote left open
	cutShort                      // the record's end is not in the buffer yet
)

// splitter cuts a text into the records of RFC 4180: a quote opens a quoted
// cell only at the cell's very beginning, elsewhere it is text; LF and CRLF end
// records, a lone CR does not.
type splitter struct {
	delimiter, quote byte
	most             int    // spans kept; further cells are counted only
	spans            []span // cells of the last record
	cells            int    // number of its cells
	surplus          bool   // whether a cell beyond most isn't blank
}

func (s *splitter) add(buf []byte, cell span) {
	s.cells++
	if len(s.spans) < s.most {
		s.spans = append(s.spans, cell)
	} else if !s.surplus {
		s.surplus = !blank(buf[cell.from:cell.to])
	}
}

// cut takes the first record of buf: size bytes without its line end, next
// where the one after it begins. last says that nothing follows buf.
func (s *splitter) cut(buf []byte, last bool) (size, next int, result cutResult) {
	s.spans, s.cells, s.surplus = s.spans[:0], 0, false
	newline := bytes.IndexByte(buf, '\n')
	if newline < 0 && !last {
		return 0, 0, cutShort
	}
	size, next = lineEnd(buf, newline)
	line := buf[:size]
	if bytes.IndexByte(line, s.quote) >= 0 {
		return s.cutQuoted(buf, newline, last)
	}
	from := 0
	for {
		d := bytes.IndexByte(line[from:], s.delimiter)
		if d < 0 {
			break
		}
		s.add(buf, span{from: from, to: from + d})
		from += d + 1
	}
	s.add(buf, span{from: from, to: len(line)})
	return size, next, cutWhole
}

// lineEnd tells the size of a line that ends at newline (-1: with buf), without
// its line end, and where the next begins.
func lineEnd(buf []byte, newline int) (size, next int) {
	size, next = newline, newline+1
	if newline < 0 {
		size, next = len(buf), len(buf)
	}
	if size > 0 && buf[size-1] == '\r' {
		size--
	}
	return size, next
}

// cutQuoted is cut for a record with quotes.
func (s *splitter) cutQuoted(buf []byte, newline int, last bool) (size, next int, result cutResult) {
	from := 0
	for {
		if from < len(buf) && buf[from] == s.quote {
			end, doubled, result := s.closing(buf, from+1, last)
			if result == cutMalformed {
				return len(buf), len(buf), result
			}
			if result == cutShort {
				return 0, 0, result
			}
			s.add(buf, span{from: from + 1, to: end - 1, doubled: doubled})
			switch {
			case end == len(buf): // and last
				return end, end, cutWhole
			case buf[end] == s.delimiter:
				from = end + 1
				continue
			case buf[end] == '\n':
				return end, end + 1, cutWhole
			case buf[end] == '\r' && end+1 < len(buf) && buf[end+1] == '\n':
				return end, end + 2, cutWhole
			case buf[end] == '\r' && end+1 == len(buf) && last:
				return end, end + 1, cutWhole
			}
			newline = bytes.IndexByte(buf[end:], '\n')
			if newline < 0 && !last {
				return 0, 0, cutShort
			}
			if newline >= 0 {
				newline += end
			}
			size, next = lineEnd(buf, newline)
			return size, next, cutMalformed
		}
		if newline >= 0 && newline < from {
			if newline = bytes.IndexByte(buf[from:], '\n'); newline >= 0 {
				newline += from
			}
		}
		if newline < 0 && !last {
			return 0, 0, cutShort
		}
		size, next = lineEnd(buf, newline)
		size = max(size, from)
		d := bytes.IndexByte(buf[from:size], s.delimiter)
		if d < 0 {
			s.add(buf, span{from: from, to: size})
			return size, next, cutWhole
		}
		s.add(buf, span{from: from, to: from + d})
		from += d + 1
	}
}

// closing finds the quote that closes a cell whose text begins at from, and
// tells where what follows it begins.
func (s *splitter) closing(buf []byte, from int, last bool) (end int, doubled bool, result cutResult) {
	for {
		q := bytes.IndexByte(buf[from:], s.quote)
		if q < 0 {
			if last {
				return 0, false, cutMalformed
			}
			return 0, false, cutShort
		}
		end = from + q + 1
		if end == len(buf) && !last {
			return 0, false, cutShort
		}
		if end == len(buf) || buf[end] != s.quote {
			return end, doubled, cutWhole
		}
		doubled = true
		from = end + 1
	}
}

// skipping finds the end of a record too long to be held, byte by byte.
type skipping struct {
	delimiter, quote byte
	state            skipState
	size             int64 // bytes seen, without the line end once it was found
	cr               bool  // whether the last byte was a CR
}

type skipState int

const (
	skipCell   skipState = iota // at a cell's beginning
	skipText                    // in a cell without quotes
	skipQuoted                  // between quotes
	skipClosed                  // behind a quote that may close or double
	skipLine                    // behind a fault or a CR after a closing quote: the line's end ends the record
)

// take looks at the record's next bytes and tells how many of buf belong to it,
// its line end included, and whether it ends there.
func (s *skipping) take(buf []byte) (n int, found bool) {
	for i, b := range buf {
		if b == '\n' && s.state != skipQuoted {
			s.size += int64(i)
			if s.cr {
				s.size--
			}
			return i + 1, true
		}
		s.cr = b == '\r'
		s.next(b)
	}
	s.size += int64(len(buf))
	return len(buf), false
}

func (s *skipping) next(b byte) {
	switch s.state {
	case skipCell, skipText:
		switch {
		case b == s.quote && s.state == skipCell:
			s.state = skipQuoted
		case b == s.delimiter:
			s.state = skipCell
		default:
			s.state = skipText
		}
	case skipQuoted:
		if b == s.quote {
			s.state = skipClosed
		}
	case skipClosed:
		switch b {
		case s.quote:
			s.state = skipQuoted
		case s.delimiter:
			s.state = skipCell
		default:
			s.state = skipLine
		}
	}
}
