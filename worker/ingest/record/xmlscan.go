package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Limits of xmlScanner: a workbook's parts stay far below.
const (
	maxXMLTag   = 1 << 20 // bytes of one tag, comment or instruction
	maxXMLDepth = 256     // elements inside each other
)

// xmlScanner takes a well-formed XML document apart without allocating for
// each element, which is what encoding/xml spends most of its time on. It knows
// the five predefined entities and refuses document type definitions. Names are
// local names; namespaces are not resolved.
type xmlScanner struct {
	r    io.Reader
	buf  []byte
	pos  int
	end  int
	err  error
	open []byte // qualified names of open elements, one after the other
	ends []int  // where each ends in open
	root bool   // whether the root element has begun

	name    []byte // of the element that begins or ends
	attrs   []byte // the raw attributes of the element that begins
	empty   bool   // the element that begins is an empty-element tag; its end follows
	text    []byte // part of the text; a long text comes in several parts
	decoded []byte
}

type xmlToken int

const (
	xmlStart xmlToken = iota
	xmlEnd
	xmlText
)

// newXMLScanner reads UTF-8, or what a byte order mark or declaration says.
func newXMLScanner(r io.Reader) (*xmlScanner, error) {
	x := &xmlScanner{r: r, buf: make([]byte, 64<<10)}
	for x.end < 256 && x.more() {
	}
	head := x.buf[:x.end]
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		x.pos = 3
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		decoder := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()
		return recoded(x, decoder), nil
	}
	if bytes.HasPrefix(x.buf[x.pos:x.end], []byte("<?xml")) {
		declaration, _, _ := bytes.Cut(x.buf[x.pos:x.end], []byte("?>"))
		name := strings.ToLower(string(attribute(declaration, "encoding")))
		if name != "" && name != "utf-8" && name != "utf8" && name != "us-ascii" && !strings.HasPrefix(name, "utf-16") {
			enc, err := htmlindex.Get(name)
			if err != nil {
				return nil, fmt.Errorf("its XML is in an unknown encoding %q", name)
			}
			return recoded(x, enc.NewDecoder()), nil
		}
	}
	return x, nil
}

// recoded reads what x has and will get through a decoder.
func recoded(x *xmlScanner, decoder transform.Transformer) *xmlScanner {
	source := io.MultiReader(bytes.NewReader(bytes.Clone(x.buf[:x.end])), &rest{x})
	return &xmlScanner{r: transform.NewReader(source, decoder), buf: x.buf}
}

// rest is what x hasn't read, with the error that ended it.
type rest struct{ x *xmlScanner }

func (r *rest) Read(p []byte) (int, error) {
	if r.x.err != nil {
		return 0, r.x.err
	}
	return r.x.r.Read(p)
}

// more gets bytes behind those in buf, keeping from pos on; false at the end.
func (x *xmlScanner) more() bool {
	if x.err != nil {
		return false
	}
	if x.pos > 0 {
		copy(x.buf, x.buf[x.pos:x.end])
		x.pos, x.end = 0, x.end-x.pos
	}
	if x.end == len(x.buf) {
		x.buf = append(x.buf, make([]byte, len(x.buf))...)
	}
	for {
		n, err := x.r.Read(x.buf[x.end:])
		x.end += n
		x.err = err
		if n > 0 || err != nil {
			return n > 0
		}
	}
}

// fault is an error for a document that is not well-formed, or the reason why
// it could not be read on.
func (x *xmlScanner) fault(what string) error {
	if x.err != nil && x.err != io.EOF {
		return x.err
	}
	return errors.New("its XML is not well-formed: " + what)
}

// next gives the next token; io.EOF behind a whole document. What it left in
// name, attrs and text is valid until the next call.
func (x *xmlScanner) next() (xmlToken, error) {
	if x.empty {
		x.empty = false
		return xmlEnd, x.pop(x.name, false)
	}
	for {
		if x.pos == x.end && !x.more() {
			if x.err != io.EOF || len(x.ends) > 0 || !x.root {
				return 0, x.fault("it ends early")
			}
			return 0, io.EOF
		}
		if x.buf[x.pos] != '<' {
			if err := x.characters(); err != nil {
				return 0, err
			}
			if len(x.ends) > 0 {
				return xmlText, nil
			}
			if len(bytes.TrimSpace(x.text)) > 0 {
				return 0, x.fault("text outside the root element")
			}
			continue
		}
		tag, err := x.tag()
		if err != nil {
			return 0, err
		}
		switch {
		case tag[1] == '/':
			return xmlEnd, x.pop(bytes.TrimRight(tag[2:len(tag)-1], " \t\r\n"), true)
		case tag[1] == '?':
			continue
		case tag[1] == '!':
			if text, cdata := bytes.CutPrefix(tag, []byte("<![CDATA[")); cdata && len(x.ends) > 0 {
				x.text = text[:len(text)-3]
				return xmlText, nil
			}
			if bytes.HasPrefix(tag, []byte("<!--")) {
				continue
			}
			return 0, x.fault("a declaration")
		}
		return xmlStart, x.start(tag[1 : len(tag)-1])
	}
}

// tag takes a whole tag, comment, CDATA section or instruction.
func (x *xmlScanner) tag() ([]byte, error) {
	searched := 0
	for {
		s := x.buf[x.pos:x.end]
		if len(s) > 2 && s[1] == '!' && s[2] != '-' && s[2] != '[' {
			return nil, x.fault("a document type or other declaration")
		}
		if n := tagLength(s, &searched); n > 0 {
			if s[n-1] != '>' {
				return nil, x.fault("a tag inside a tag")
			}
			x.pos += n
			return s[:n], nil
		}
		limit := maxXMLTag
		if bytes.HasPrefix(s, []byte("<![CDATA[")) {
			limit = MaxRecordBytes
		}
		if len(s) > limit {
			return nil, x.fault("a tag does not end")
		}
		if !x.more() {
			return nil, x.fault("a tag does not end")
		}
	}
}

// tagLength is the length of the tag that s begins with, 0 if it is not whole
// yet. Up to searched nothing needs to be looked at again.
func tagLength(s []byte, searched *int) int {
	if len(s) < 9 && (len(s) < 2 || s[1] == '!') && bytes.IndexByte(s, '>') < 0 {
		return 0
	}
	from := max(*searched-3, 0)
	until := ""
	switch {
	case bytes.HasPrefix(s, []byte("<!--")):
		until, from = "-->", max(from, 4)
	case bytes.HasPrefix(s, []byte("<![CDATA[")):
		until, from = "]]>", max(from, 9)
	case bytes.HasPrefix(s, []byte("<?")):
		until, from = "?>", max(from, 2)
	}
	if until != "" {
		*searched = len(s)
		if from > len(s) {
			return 0
		}
		if n := bytes.Index(s[from:], []byte(until)); n >= 0 {
			return from + n + len(until)
		}
		return 0
	}
	// A > in an attribute's value does not end the tag.
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '>':
			if i == 1 {
				return 2
			}
			return i + 1
		case '"', '\'':
			n := bytes.IndexByte(s[i+1:], s[i])
			if n < 0 {
				return 0
			}
			i += n + 1
		case '<':
			return i + 1 // a fault, for the caller to see
		}
	}
	return 0
}

// start takes what stands between the angle brackets of a start tag.
func (x *xmlScanner) start(tag []byte) error {
	if n := len(tag); n > 0 && tag[n-1] == '/' {
		x.empty = true
		tag = tag[:n-1]
	}
	n := 0
	for n < len(tag) && !xmlSpace(tag[n]) && tag[n] != '=' && tag[n] != '"' && tag[n] != '\'' && tag[n] != '/' {
		n++
	}
	if n == 0 || n < len(tag) && !xmlSpace(tag[n]) || bytes.IndexByte(tag[:n], '<') >= 0 {
		return x.fault("a tag without a name")
	}
	if !wellFormedAttributes(tag[n:]) {
		return x.fault("attributes of " + strconv.QuoteToASCII(string(tag[:n])))
	}
	if len(x.ends) == maxXMLDepth {
		return x.fault("elements too deep inside each other")
	}
	if len(x.ends) == 0 && x.root {
		return x.fault("more than one root element")
	}
	x.root = true
	x.open = append(x.open, tag[:n]...)
	x.ends = append(x.ends, len(x.open))
	x.name, x.attrs = local(tag[:n]), tag[n:]
	return nil
}

// pop ends the innermost element.
func (x *xmlScanner) pop(name []byte, check bool) error {
	if len(x.ends) == 0 {
		return x.fault("an element ends that has not begun")
	}
	last := len(x.ends) - 1
	from := 0
	if last > 0 {
		from = x.ends[last-1]
	}
	if check && !bytes.Equal(x.open[from:], name) {
		return x.fault(fmt.Sprintf("%q ends where %q should", name, x.open[from:]))
	}
	x.name = local(name)
	x.open, x.ends = x.open[:from], x.ends[:last]
	return nil
}

// characters takes text up to the next tag, or a part of it.
func (x *xmlScanner) characters() error {
	s := x.buf[x.pos:x.end]
	n := bytes.IndexByte(s, '<')
	if n < 0 {
		n = len(s)
		// Keep an entity that may go on behind the buffer for the next part.
		if amp := bytes.LastIndexByte(s, '&'); amp >= 0 && bytes.IndexByte(s[amp:], ';') < 0 {
			if amp == 0 {
				if len(s) > 16 || !x.more() {
					return x.fault("an entity does not end")
				}
				return x.characters()
			}
			n = amp
		}
	}
	x.pos += n
	x.text = s[:n]
	if bytes.IndexByte(x.text, '&') < 0 {
		return nil
	}
	var ok bool
	if x.decoded, ok = appendEntities(x.decoded[:0], x.text); !ok {
		return x.fault("an unknown entity")
	}
	x.text = x.decoded
	return nil
}

func appendEntities(buf, s []byte) ([]byte, bool) {
	for {
		amp := bytes.IndexByte(s, '&')
		if amp < 0 {
			return append(buf, s...), true
		}
		buf = append(buf, s[:amp]...)
		semicolon := bytes.IndexByte(s[amp:], ';')
		if semicolon < 0 {
			return buf, false
		}
		name := s[amp+1 : amp+semicolon]
		s = s[amp+semicolon+1:]
		switch string(name) {
		case "amp":
			buf = append(buf, '&')
		case "lt":
			buf = append(buf, '<')
		case "gt":
			buf = append(buf, '>')
		case "quot":
			buf = append(buf, '"')
		case "apos":
			buf = append(buf, '\'')
		default:
			digits, base := "", 10
			if len(name) > 1 && name[0] == '#' {
				if digits = string(name[1:]); digits[0] == 'x' {
					digits, base = digits[1:], 16
				}
			}
			r, err := strconv.ParseUint(digits, base, 32)
			if err != nil || !utf8.ValidRune(rune(r)) || r == 0 {
				return buf, false
			}
			buf = utf8.AppendRune(buf, rune(r))
		}
	}
}

// attr is the value of the attribute of that local name, entities resolved; ""
// if it is not there.
func (x *xmlScanner) attr(name string) []byte {
	value := attribute(x.attrs, name)
	if bytes.IndexByte(value, '&') < 0 {
		return value
	}
	decoded, _ := appendEntities(nil, value)
	return decoded
}

// attribute finds the raw value of an attribute by its local name.
func attribute(s []byte, name string) []byte {
	for {
		eq := bytes.IndexByte(s, '=')
		if eq < 0 {
			return nil
		}
		key := bytes.TrimSpace(s[:eq])
		if space := bytes.LastIndexAny(key, " \t\r\n"); space >= 0 {
			key = key[space+1:]
		}
		s = bytes.TrimLeft(s[eq+1:], " \t\r\n")
		if len(s) == 0 {
			return nil
		}
		closing := bytes.IndexByte(s[1:], s[0])
		if closing < 0 {
			return nil
		}
		if string(local(key)) == name && string(key) != "xmlns:"+name {
			return s[1 : 1+closing]
		}
		s = s[closing+2:]
	}
}

// wellFormedAttributes checks name="value" pairs that white space separates.
func wellFormedAttributes(s []byte) bool {
	for {
		trimmed := bytes.TrimLeft(s, " \t\r\n")
		if len(trimmed) == 0 {
			return true
		}
		if len(trimmed) == len(s) {
			return false
		}
		eq := bytes.IndexByte(trimmed, '=')
		if eq <= 0 || bytes.ContainsAny(bytes.TrimRight(trimmed[:eq], " \t\r\n"), " \t\r\n\"'<&") {
			return false
		}
		s = bytes.TrimLeft(trimmed[eq+1:], " \t\r\n")
		if len(s) == 0 || s[0] != '"' && s[0] != '\'' {
			return false
		}
		closing := bytes.IndexByte(s[1:], s[0])
		if closing < 0 || bytes.IndexByte(s[1:1+closing], '<') >= 0 {
			return false
		}
		s = s[closing+2:]
	}
}

func xmlSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// local cuts the namespace prefix off a name.
func local(name []byte) []byte {
	if colon := bytes.IndexByte(name, ':'); colon >= 0 {
		return name[colon+1:]
	}
	return name
}
