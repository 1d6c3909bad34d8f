package record

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzCSV reads anything as CSV: every byte of it is a header's, a record's, a
// line end's, or a blank record's.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{"a,b,c\n1,2,3\n", "a,b,c\r\n1,\"2\r\n\"\"\",3\r\n", "\xef\xbb\xbfa;b\n1;2", "a,b\n\"x\"y,1\n2,3\n", "a,b\n\"open\n1,2", "a,b\n\xff,1\n", "a\n\n\x00\n", "PK\x03\x04", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "a,A\n", "a\r1\r"} {
		f.Add([]byte(text), byte(','), byte('"'))
		f.Add([]byte(text), byte(';'), byte('\''))
	}
	setup := newSetup(f)
	f.Fuzz(func(t *testing.T, data []byte, delimiter, quote byte) {
		layout := Layout{Format: CSV, Columns: abc.Columns, Delimiter: delimiter, Quote: quote}
		if _, err := compile(layout); err != nil {
			t.Skip()
		}
		info, rows := setup.readBytes(t, "f.csv", data, layout)
		if info.Unreadable != nil || bytes.HasPrefix(data, []byte("\x1f\x8b")) || zstdFrame(data[:min(4, len(data))]) {
			return
		}
		for _, row := range rows {
			if !bytes.Contains(data, []byte(row.Raw)) {
				t.Fatalf("row %d is not in the file: %q", row.Number, row.Raw)
			}
			if row.Extra != null && !json.Valid([]byte(row.Extra)) {
				t.Fatalf("row %d has extra %q", row.Number, row.Extra)
			}
		}
	})
}

// FuzzJSON compares the scanner with another strict one.
func FuzzJSON(f *testing.F) {
	for _, text := range append(malformedObjects, `{"a":1}`, `{"a":[1,{"b":"\u00e9\ud83d\ude00"}],"c":-0.5e-3}`, "{}\n[1]\n", `[{"a":1},{"b":[]}]`, "[1,2") {
		if len(text) < 10_000 {
			f.Add([]byte(text))
		}
	}
	setup := newSetup(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"f.ndjson", "f.json"} {
			_, rows := setup.readBytes(t, name, data, jsonABC)
			for _, row := range rows {
				if row.Extra != null && !json.Valid([]byte(row.Extra)) {
					t.Fatalf("row %d has extra %q", row.Number, row.Extra)
				}
			}
		}
		r := &jsonReader{keys: newKeys(&compiled{}), w: &Writer{batch: takeBatch(0)}}
		_, ok := r.object(data)
		ok = ok && utf8.Valid(data)
		if want := strictObject(data); want != ok {
			t.Fatalf("%q is a strict object: %v, jsontext says %v", data, ok, want)
		}
		l := &elementLexer{}
		from := skipSpace(data, 0)
		n, ended, lexed := l.take(data[from:])
		if from < len(data) && lexed && ended {
			if value := jsontext.Value(data[from : from+n]); !value.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
				t.Fatalf("%q is taken for an element", value)
			}
		} else if value := jsontext.Value(data); value.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) && strings.ContainsAny(string(bytes.TrimSpace(data)[:1]), "[{\"tfn") {
			t.Fatalf("%q is not taken for an element", value)
		}
	})
}

// strictObject tells by jsontext whether text is an object that a record may be.
func strictObject(text []byte) bool {
	value := jsontext.Value(text)
	if value.Kind() != '{' || !value.IsValid(jsontext.AllowDuplicateNames(true)) {
		return false
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	names := map[string]bool{}
	for {
		token, err := decoder.ReadToken()
		if err == io.EOF {
			return true
		}
		if err != nil || decoder.StackDepth() > MaxJSONDepth {
			return false
		}
		if decoder.StackDepth() != 1 {
			continue
		}
		if kind, n := decoder.StackIndex(1); kind == '{' && n%2 == 1 && token.Kind() == '"' {
			name := fold(token.String())
			if names[name] || len(names) == MaxColumns {
				return false
			}
			names[name] = true
		}
	}
}

// FuzzXLSX takes the input for a sheet's XML, and for a whole file.
func FuzzXLSX(f *testing.F) {
	f.Add([]byte(`<worksheet><sheetData>` + headerRow + `<row r="2"><c r="A2"><v>1</v></c></row></sheetData></worksheet>`))
	f.Add([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?><worksheet><sheetData><row><c t="inlineStr"><is><r><t>a&#x41;</t></r></is></c><c t="b"><v>1</v></c></row></sheetData></worksheet>`))
	f.Add([]byte("\xff\xfe<\x00w\x00"))
	f.Add([]byte(`<worksheet><sheetData><row r="9"><c r="ZZ9" s="1"><v>44197.5</v></c><c t="d"><v>2021-01-01</v></c><c t="e"><v>#N/A</v></c></row></sheetData>`))
	f.Add(zipped(f, bookParts(headerRow, nil)))
	setup := newSetup(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, rows := setup.readBytes(t, "f.xlsx", data, book)
		if len(data) > 0 && len(rows) > 0 && rows[0].Rule == RuleUnreadable {
			if _, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err == nil {
				return
			}
		}
		_, rows = setup.readBytes(t, "f.xlsx", zipped(t, bookParts("", map[string]string{"xl/worksheets/sheet1.xml": string(data)})), book)
		for _, row := range rows {
			if row.Rule == null && !json.Valid([]byte(row.Raw)) {
				t.Fatalf("row %d is %q", row.Number, row.Raw)
			}
		}
	})
}

// FuzzParquet reads damaged Parquet files.
func FuzzParquet(f *testing.F) {
	f.Add(parquetBytes(f, 1))
	f.Add(parquetBytes(f, 0))
	f.Add([]byte("PAR1\x00\x00\x00\x00\x04\x00\x00\x00PAR1"))
	setup := newSetup(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, rows := setup.readBytes(t, "f.parquet", data, parquetLayout)
		for _, row := range rows {
			if row.Rule == null && !json.Valid([]byte(row.Raw)) {
				t.Fatalf("row %d is %q", row.Number, row.Raw)
			}
		}
	})
}
