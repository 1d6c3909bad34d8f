package pipeline

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// What Shoplake adds to the standard, all of it under customProperties. Other properties are left to other tools.
const extensionPrefix = "shoplake"

// Extensions of the server: how files are read.
const (
	extFormats   = "shoplakeFormats"   // [csv, xlsx]: further formats that files may have
	extDelimiter = "shoplakeDelimiter" // ";"
	extQuote     = "shoplakeQuote"     // "'"
	extEncoding  = "shoplakeEncoding"  // iso-8859-1
	extSheet     = "shoplakeSheet"     // name of the workbook's sheet
	extSkipRows  = "shoplakeSkipRows"  // rows above the header
)

// Extension of the schema object.
const extBusinessDay = "shoplakeBusinessDay" // {column: order_date, of: order_time}, or {column: snapshot_date}

// The parts of a document that Shoplake reads. The schema has been checked before.
type (
	odcsDocument struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		Version     string `json:"version"`
		Description struct {
			Purpose string `json:"purpose"`
		} `json:"description"`
		Servers          []odcsServer    `json:"servers"`
		Schema           []odcsObject    `json:"schema"`
		SLAProperties    []odcsPromise   `json:"slaProperties"`
		CustomProperties []odcsExtension `json:"customProperties"`
	}
	odcsServer struct {
		Server           string          `json:"server"`
		Type             string          `json:"type"`
		Path             string          `json:"path"`
		Format           string          `json:"format"`
		CustomProperties []odcsExtension `json:"customProperties"`
	}
	odcsObject struct {
		Name             string          `json:"name"`
		BusinessName     string          `json:"businessName"`
		Description      string          `json:"description"`
		Properties       []odcsProperty  `json:"properties"`
		Quality          []odcsQuality   `json:"quality"`
		CustomProperties []odcsExtension `json:"customProperties"`
	}
	odcsPromise struct {
		Property string `json:"property"`
		Value    any    `json:"value"`
		Unit     string `json:"unit"`
		Element  string `json:"element"`
	}
	odcsExtension struct {
		Property string          `json:"property"`
		Value    json.RawMessage `json:"value"`
	}
)

// contractReader turns a document into a contract.
type contractReader struct {
	doc      *document
	faults   *Faults
	contract *Contract
}

func (r *contractReader) fault(at []string, format string, args ...any) {
	line, column := r.doc.at(at...)
	r.faults.add(r.doc.file, line, column, format, args...)
}

// readContract reads a contract; nil where it has faults.
func readContract(file, name string, content []byte, faults *Faults) *Source {
	before := len(*faults)
	doc := readYAML(file, content, faults)
	if doc == nil || !checkODCS(doc, faults) {
		return nil
	}
	var raw odcsDocument
	encoded, err := json.Marshal(doc.value)
	if err == nil {
		decoder := json.NewDecoder(strings.NewReader(string(encoded)))
		decoder.UseNumber()
		err = decoder.Decode(&raw)
	}
	if err != nil {
		faults.add(file, 1, 1, "is no contract: %v", err)
		return nil
	}
	r := &contractReader{doc: doc, faults: faults, contract: &Contract{ID: raw.ID, Version: raw.Version}}
	r.extensions(raw.CustomProperties, nil)
	if len(raw.Schema) != 1 {
		r.fault([]string{"schema", "1"}, "a contract describes one source: put the second into its own file")
		return nil
	}
	object := raw.Schema[0]
	if object.Name != name {
		r.fault([]string{"schema", "0", "name"}, "schema name %s is not that of the file: name it %s", shorten(object.Name), name)
	}
	r.readServers(name, raw.Servers)
	r.readColumns(object)
	r.readSLA(raw.SLAProperties)
	if len(*faults) > before {
		return nil
	}
	r.contract.Hash = contractHash(r.contract)
	source := &Source{Name: name, Title: object.BusinessName, Description: object.Description, File: file, Contract: r.contract}
	if source.Title == "" {
		source.Title = raw.Name
	}
	if source.Title == "" {
		source.Title = name
	}
	if source.Description == "" {
		source.Description = raw.Description.Purpose
	}
	return source
}

// extension is the value of one of Shoplake's custom properties.
type extension struct {
	reader *contractReader
	name   string
	raw    json.RawMessage
	at     []string
}

// extensions returns Shoplake's custom properties by name; those that are not known at this place are faults.
func (r *contractReader) extensions(list []odcsExtension, at []string, known ...string) map[string]*extension {
	found := map[string]*extension{}
	for i, item := range list {
		if !strings.HasPrefix(item.Property, extensionPrefix) {
			continue
		}
		place := append(slices.Clone(at), "customProperties", strconv.Itoa(i))
		switch {
		case !slices.Contains(known, item.Property):
			if len(known) == 0 {
				r.fault(append(place, "property"), "%s is not known here", shorten(item.Property))
			} else {
				r.fault(append(place, "property"), "%s is not known here: known are %s", shorten(item.Property), strings.Join(known, ", "))
			}
		case found[item.Property] != nil:
			r.fault(append(place, "property"), "%s stands here twice", item.Property)
		default:
			found[item.Property] = &extension{reader: r, name: item.Property, raw: item.Value, at: append(place, "value")}
		}
	}
	return found
}

// fault faults the value.
func (e *extension) fault(format string, args ...any) {
	e.reader.fault(e.at, e.name+" "+format, args...)
}

// decode reads the value; it says what the value should be where it is something else.
func (e *extension) decode(into any, should string) bool {
	decoder := json.NewDecoder(strings.NewReader(string(e.raw)))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil || string(e.raw) == "null" {
		e.fault("must be %s", should)
		return false
	}
	return true
}

// text returns a text that is not empty; empty where the property is absent or something else.
func (e *extension) text() string {
	var value string
	if e == nil || !e.decode(&value, "text") {
		return ""
	}
	if value == "" {
		e.fault("is empty")
	}
	return value
}

// texts returns a list of texts, none of them empty or twice.
func (e *extension) texts() []string {
	var values []string
	if e == nil || !e.decode(&values, "a list of texts") {
		return nil
	}
	if len(values) == 0 {
		e.fault("is empty")
	}
	for i, value := range values {
		if strings.TrimSpace(value) == "" || slices.Contains(values[:i], value) {
			e.fault("has %s empty or twice", shorten(value))
		}
	}
	return values
}

// oneRune returns the only character of a text; 0 where the property is absent.
func (e *extension) oneRune() rune {
	text := e.text()
	if text == "" {
		return 0
	}
	char, size := utf8.DecodeRuneInString(text)
	if size != len(text) || char == utf8.RuneError || char == '\n' || char == '\r' {
		e.fault("must be one character")
		return 0
	}
	return char
}

const maxSkipRows = 1000

// readServers reads how the source's files are found and read: from the one server of type local. Others are left to others.
func (r *contractReader) readServers(name string, servers []odcsServer) {
	var server *odcsServer
	var at []string
	for i := range servers {
		if servers[i].Type != "local" {
			continue
		}
		if server != nil {
			r.fault([]string{"servers", strconv.Itoa(i)}, "a source has one server of type local")
			return
		}
		server, at = &servers[i], []string{"servers", strconv.Itoa(i)}
	}
	if server == nil {
		r.fault([]string{"servers"}, "there is no server of type local: it names the landing folder (path: landing/%s) and the format", name)
		return
	}
	c := r.contract
	within := func(key string) []string { return append(slices.Clone(at), key) }
	root := "landing/" + name
	switch rest, found := strings.CutPrefix(strings.TrimSuffix(server.Path, "/"), root); {
	case !found || rest != "" && rest[0] != '/':
		r.fault(within("path"), "the path of the source's files is %s, with a pattern of file names behind it where needed (%s/*.csv)", root, root)
	case rest != "":
		c.Glob = rest[1:]
		if _, err := path.Match(c.Glob, ""); err != nil || strings.Contains(c.Glob, "/") {
			r.fault(within("path"), "%s is no pattern of file names", shorten(c.Glob))
		}
	}
	ext := r.extensions(server.CustomProperties, at, extFormats, extDelimiter, extQuote, extEncoding, extSheet, extSkipRows)
	c.Format = Format{Delimiter: ',', Quote: '"', Encoding: EncodingUTF8}
	addKind := func(text string, at []string) {
		kind := FormatKind(strings.ToLower(text))
		switch kind {
		case "json", "jsonl":
			kind = FormatNDJSON
		case FormatCSV, FormatNDJSON, FormatXLSX, FormatParquet:
		default:
			r.fault(at, "unknown format %s: known are csv, ndjson, xlsx and parquet", shorten(text))
			return
		}
		if !slices.Contains(c.Format.Kinds, kind) {
			c.Format.Kinds = append(c.Format.Kinds, kind)
		}
	}
	addKind(server.Format, within("format"))
	if formats := ext[extFormats]; formats != nil {
		for _, text := range formats.texts() {
			addKind(text, formats.at)
		}
	}
	if len(c.Format.Kinds) == 0 {
		return
	}
	c.Format.Kind = c.Format.Kinds[0]
	r.readDialect(ext)
}

// readDialect reads what only some formats have.
func (r *contractReader) readDialect(ext map[string]*extension) {
	format := &r.contract.Format
	needs := func(name string, kinds ...FormatKind) bool {
		e := ext[name]
		if e == nil {
			return false
		}
		if !slices.ContainsFunc(kinds, format.Accepts) {
			e.fault("says nothing about the format %s", format.Kind)
			return false
		}
		return true
	}
	if needs(extDelimiter, FormatCSV) {
		if char := ext[extDelimiter].oneRune(); char != 0 {
			format.Delimiter = char
		}
	}
	if needs(extQuote, FormatCSV) {
		if char := ext[extQuote].oneRune(); char != 0 {
			format.Quote = char
		}
	}
	if format.Delimiter == format.Quote {
		ext[namedOf(ext)].fault("is the same as the other: delimiter and quote must differ")
	}
	if needs(extEncoding, FormatCSV) {
		switch text := strings.ReplaceAll(strings.ToLower(ext[extEncoding].text()), " ", ""); text {
		case "utf-8", "utf8":
		case "iso-8859-1", "latin-1", "latin1":
			format.Encoding = EncodingLatin1
		case "windows-1252", "cp1252":
			format.Encoding = EncodingWindows1252
		case "utf-8,iso-8859-1", "utf-8,latin-1", "utf-8,latin1":
			format.Encoding = EncodingUTF8OrLatin1
		case "utf-8,windows-1252", "utf-8,cp1252":
			format.Encoding = EncodingUTF8OrWindows1252
		default:
			ext[extEncoding].fault("%s is unknown: known are utf-8, iso-8859-1 and windows-1252, and \"utf-8, iso-8859-1\" where files have both", shorten(text))
		}
	}
	if needs(extSheet, FormatXLSX) {
		format.Sheet = ext[extSheet].text()
	}
	if needs(extSkipRows, FormatCSV, FormatXLSX) && ext[extSkipRows].decode(&format.SkipRows, "a number") {
		if format.SkipRows < 0 || format.SkipRows > maxSkipRows {
			ext[extSkipRows].fault("must be between 0 and %d", maxSkipRows)
		}
	}
}

// namedOf is the one of delimiter and quote that the contract names, the delimiter where it names both.
func namedOf(ext map[string]*extension) string {
	if ext[extDelimiter] != nil {
		return extDelimiter
	}
	return extQuote
}

func (r *contractReader) readSLA(promises []odcsPromise) {
	for _, promise := range promises {
		value := ""
		switch v := promise.Value.(type) {
		case string:
			value = v
		case json.Number:
			value = v.String()
		case bool:
			value = strconv.FormatBool(v)
		}
		r.contract.SLA = append(r.contract.SLA, SLA{Property: promise.Property, Value: value, Unit: promise.Unit, Element: promise.Element})
	}
}

// FoldHeader is the form in which names of a header are compared: trimmed, in NFC and case-folded.
func FoldHeader(name string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(strings.TrimSpace(name))))
}

// contractHash covers what decides which rows come out, and how; not what is only told of them.
func contractHash(c *Contract) string {
	meaning := *c
	meaning.ID, meaning.Version, meaning.Hash, meaning.SLA = "", "", "", nil
	meaning.Columns = slices.Clone(c.Columns)
	for i := range meaning.Columns {
		meaning.Columns[i].Description, meaning.Columns[i].PII = "", false
	}
	return hashOf(meaning)
}
