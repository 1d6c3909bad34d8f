package record

import (
	"bytes"
	"encoding/csv"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var abc = Layout{Format: CSV, Columns: columns("a", "b", "c")}

// shown is a row as a test states it: its rule, or its cells.
func shown(rows []scratchRow) [][]string {
	var out [][]string
	for _, row := range rows {
		if row.Rule != null {
			out = append(out, []string{"!" + row.Rule, row.Raw})
			continue
		}
		cells := append([]string(nil), row.Cells...)
		if row.Extra != null {
			cells = append(cells, row.Extra)
		}
		out = append(out, cells)
	}
	return out
}

func TestCSV(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layout Layout
		text   string
		want   [][]string
	}{
		"plain":                 {abc, "a,b,c\n1,2,3\n4,5,6\n", [][]string{{"1", "2", "3"}, {"4", "5", "6"}}},
		"CRLF, no line end":     {abc, "a,b,c\r\n1,2,3\r\n4,5,6", [][]string{{"1", "2", "3"}, {"4", "5", "6"}}},
		"CR at the end":         {abc, "a,b,c\r\n1,2,\"3\"\r", [][]string{{"1", "2", "3"}}},
		"byte order mark":       {abc, "\xef\xbb\xbfa,b,c\n1,2,3\n", [][]string{{"1", "2", "3"}}},
		"header folded":         {abc, " A ,\u00a0B,c\t\n1,2,3\n", [][]string{{"1", "2", "3"}}},
		"any order":             {abc, "c,a,b\n3,1,2\n", [][]string{{"1", "2", "3"}}},
		"missing column":        {abc, "a,c\n1,3\n", [][]string{{"1", null, "3"}}},
		"unknown columns":       {abc, "a,x,b,\"y\"\"\",c\n1,u,2,,3\n1,u,2,\"v\"\"w\",3\n", [][]string{{"1", "2", "3", `{"x":"u"}`}, {"1", "2", "3", `{"x":"u","y\"":"v\"w"}`}}},
		"columns without names": {abc, "a,,b,,c\n1,u,2,v,3\n", [][]string{{"1", "2", "3", `{"column 2":"u","column 4":"v"}`}}},
		"blank above header":    {abc, "\n \r\n,,\na,b,c\n1,2,3\n", [][]string{{"1", "2", "3"}}},
		"blank records":         {abc, "a,b,c\n\n1,2,3\n,,\n  \n\"\",,\" \"\n,\n4,5,6\n\n", [][]string{{"1", "2", "3"}, {"4", "5", "6"}}},
		"empty cells are null":  {abc, "a,b,c\n1,,\"\"\n", [][]string{{"1", null, null}}},
		"white space is kept":   {abc, "a,b,c\n 1 , ,3\n", [][]string{{" 1 ", " ", "3"}}},
		"quoted":                {abc, "a,b,c\n\"1,\r\n2\",\"x\"\"y\",3\n", [][]string{{"1,\r\n2", `x"y`, "3"}}},
		"quote inside text":     {abc, "a,b,c\n1\"2, \"x\",3\n", [][]string{{`1"2`, ` "x"`, "3"}}},
		"too few":               {abc, "a,b,c\n1,2\n4,5,6\n", [][]string{{"!column_count", "1,2"}, {"4", "5", "6"}}},
		"too many":              {abc, "a,b,c\n1,2,3,4\n1,2,3,\n,,,\n4,5,6\n", [][]string{{"!column_count", "1,2,3,4"}, {"!column_count", "1,2,3,"}, {"4", "5", "6"}}},
		"text after quote":      {abc, "a,b,c\n1,\"2\"x,\"3\n4,5,6\n", [][]string{{"!malformed", "1,\"2\"x,\"3"}, {"4", "5", "6"}}},
		"text after many lines": {abc, "a,b,c\n1,\"2\n2\" ,3\n4,5,6\n", [][]string{{"!malformed", "1,\"2\n2\" ,3"}, {"4", "5", "6"}}},
		"CR after quote":        {abc, "a,b,c\n1,2,\"3\"\r4,5,6\n4,5,6\n", [][]string{{"!malformed", "1,2,\"3\"\r4,5,6"}, {"4", "5", "6"}}},
		"open quote":            {abc, "a,b,c\n1,2,3\n4,\"5,6\n7,8,9\n", [][]string{{"1", "2", "3"}, {"!malformed", "4,\"5,6\n7,8,9\n"}}},
		"bad UTF-8":             {abc, "a,b,c\n1,\xff,3\n4,5,6\n", [][]string{{"!encoding", "1,\xff,3"}, {"4", "5", "6"}}},
		"NUL":                   {abc, "a,b,c\n1,\x00,3\n", [][]string{{"1", "\x00", "3"}}},
		"prefixes":              {abc, "a,b,c\n\x01x,\x05,\" \x04y\"\n", [][]string{{"\x04\x01x", "\x04\x05", "\x04 \x04y"}}},
		"lone CR is text":       {abc, "a,b,c\n1,2\r2,3\n", [][]string{{"1", "2\r2", "3"}}},
		"wrong delimiter":       {abc, "a;b;c\n1;2;3\n1,5;2;3\n", [][]string{{null, null, null, `{"a;b;c":"1;2;3"}`}, {"!column_count", "1,5;2;3"}}},
		"header only":           {abc, "a,b,c\n", nil},
		"empty":                 {abc, "", nil},
		"only blanks":           {abc, "\n\r\n  \n", nil},
		"other delimiter, quote": {Layout{Format: CSV, Columns: abc.Columns, Delimiter: ';', Quote: '\''},
			"a;b;c\n1,5;'2;2';3\"\n", [][]string{{"1,5", "2;2", "3\""}}},
		"skipped rows": {Layout{Format: CSV, Columns: abc.Columns, SkipRows: 2}, "A \"banner\nof two lines\n\na,b,c\n1,2,3\n", [][]string{{"1", "2", "3"}}},
		"aliases": {Layout{Format: CSV, Columns: []Column{{Name: "a", Aliases: []string{"Länge", "lenght"}}, {Name: "b"}}},
			"LA\u0308NGE,b\n1,2\n", [][]string{{"1", "2"}}},
		"windows-1252": {Layout{Format: CSV, Columns: abc.Columns, Encoding: "windows-1252"}, "a,b,c\nK\xf6ln,\x80,\"\xdf\"\"\"\n1,\x81,3\n",
			[][]string{{"Köln", "€", "ß\""}, {"!encoding", "1,\x81,3"}}},
		"latin-1": {Layout{Format: CSV, Columns: abc.Columns, Encoding: "latin-1"}, "a,b,c\nK\xf6ln,\x80,3\n", [][]string{{"Köln", "\u0080", "3"}}},
		"UTF-16":  {Layout{Format: CSV, Columns: abc.Columns, Encoding: "utf-16"}, "\xff\xfea\x00,\x00b\x00,\x00c\x00\n\x001\x00,\x00\xf6\x00,\x003\x00\n\x00", [][]string{{"1", "ö", "3"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, rows := readBytes(t, "f.csv", []byte(c.text), c.layout)
			if info.Unreadable != nil {
				t.Fatal(info.Unreadable)
			}
			if diff := cmp.Diff(c.want, shown(rows)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCSVUnreadable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, text string
		want       string
	}{
		"repeated column":     {"f.csv", "a,b,A \n1,2,3\n", "repeated"},
		"repeated unknown":    {"f.csv", "a,x,X\n1,2,3\n", "repeated"},
		"header with quotes":  {"f.csv", "a,\"b\"x,c\n1,2,3\n", "quotes"},
		"header not UTF-8":    {"f.csv", "a,\xff,c\n1,2,3\n", "UTF-8"},
		"header with NUL":     {"f.csv", "a,\x00,c\n1,2,3\n", "NUL"},
		"CR line ends":        {"f.csv", "a,b,c\r1,2,3\r4,5,6\r", "CR alone"},
		"a workbook":          {"f.csv", "PK\x03\x04 ...", "zip archive"},
		"a Parquet file":      {"f.txt", "PAR1....PAR1", "Parquet"},
		"UTF-16":              {"f.csv", "\xff\xfea\x00", "UTF-16"},
		"named as workbook":   {"f.xlsx", "a,b,c\n1,2,3\n", "its name says xlsx"},
		"named as gzip":       {"f.csv.gz", "a,b,c\n1,2,3\n", "neither gzip nor zstd"},
		"endless header":      {"f.csv", "a,\"" + strings.Repeat("x", MaxRecordBytes+10), "longer than"},
		"too many columns":    {"f.csv", strings.Repeat(",x", MaxColumns+1) + "\n", "more than 10000 columns"},
		"alias and name both": {"f.csv", "a,z\n1,2\n", "repeated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layout := Layout{Format: CSV, Columns: []Column{{Name: "a", Aliases: []string{"z"}}, {Name: "b"}}}
			info, rows := readBytes(t, c.file, []byte(c.text), layout)
			if info.Unreadable == nil || !strings.Contains(info.Unreadable.Error(), c.want) {
				t.Fatalf("unreadable: %v, want %q; rows %v", info.Unreadable, c.want, len(rows))
			}
			if !strings.HasPrefix(c.text, rows[0].Raw) {
				t.Errorf("raw is not the file's beginning")
			}
		})
	}
}

// TestCSVLongRecords has records around every bound: the window's size, the
// greatest record and what is beyond.
func TestCSVLongRecords(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1<<20 - 10, 1 << 20, 10 << 20, MaxRecordBytes - 4, MaxRecordBytes - 3, 20 << 20} {
		for _, quote := range []string{"", `"`} {
			long := strings.Repeat("x", n)
			record := "1," + quote + long + quote + ",3"
			for _, end := range []string{"\n", "\r\n"} {
				_, rows := readBytes(t, "f.csv", []byte("a,b,c"+end+"0,0,0"+end+record+end+"4,5,6"+end), abc)
				if len(rows) != 3 || rows[2].Cells[2] != "6" || rows[1].Size != int64(len(record)) {
					t.Fatalf("%d bytes: %d rows, size %d", len(record), len(rows), rows[1].Size)
				}
				if whole := len(record) <= MaxRecordBytes; whole != (rows[1].Rule == null) || whole && rows[1].Cells[1] != long {
					t.Fatalf("%d bytes: rule %s", len(record), rows[1].Rule)
				}
				if rows[1].Raw != record[:min(len(record), MaxRawBytes)] {
					t.Fatalf("%d bytes: wrong raw", len(record))
				}
			}
		}
	}
}

func TestCSVOpenQuoteInLargeFile(t *testing.T) {
	t.Parallel()
	rest := strings.Repeat("4,5,6\n", 6<<20)
	_, rows := readBytes(t, "f.csv", []byte("a,b,c\n1,2,3\n4,\"5,6\n"+rest), abc)
	if len(rows) != 2 || rows[1].Rule != RuleMalformed || rows[1].Size != int64(len("4,\"5,6\n")+len(rest)) {
		t.Fatalf("%d rows, the last %s of %d bytes", len(rows), rows[len(rows)-1].Rule, rows[len(rows)-1].Size)
	}
}

// TestCSVManyCells has a record of very many cells, which must not be held.
func TestCSVManyCells(t *testing.T) {
	t.Parallel()
	_, rows := readBytes(t, "f.csv", []byte("a,b,c\n"+strings.Repeat(",", 12<<20)+"\n"+strings.Repeat(",", 12<<20)+"x\n1,2,3\n"), abc)
	if len(rows) != 2 || rows[0].Rule != RuleColumnCount || rows[1].Rule != null {
		t.Fatalf("%d rows: %s", len(rows), rows[0].Rule)
	}
}

// TestCSVLikeEncodingCSV compares well-formed records with another reader's.
func TestCSVLikeEncodingCSV(t *testing.T) {
	t.Parallel()
	setup := newSetup(t)
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(1, 5).Draw(rt, "width")
		cell := rapid.StringOfN(rapid.SampledFrom([]rune("ab ,;\"\n\r\t0é€\u00a0")), 0, 8, -1)
		records := rapid.SliceOfN(rapid.SliceOfN(cell, width, width), 0, 20).Draw(rt, "records")
		crlf := rapid.Bool().Draw(rt, "crlf")
		end := "\n"
		if crlf {
			end = "\r\n"
		}
		var b bytes.Buffer
		for i := range width {
			b.WriteString(strings.Repeat(",", min(i, 1)) + string(rune('p'+i)))
		}
		b.WriteString(end)
		for r, record := range records {
			for i, cell := range record {
				if i > 0 {
					b.WriteByte(',')
				}
				bare := !strings.ContainsAny(cell, ",\"\n\r") && rapid.Bool().Draw(rt, "bare")
				if bare {
					b.WriteString(cell)
				} else {
					b.WriteString(`"` + strings.ReplaceAll(cell, `"`, `""`) + `"`)
				}
			}
			if r < len(records)-1 || rapid.Bool().Draw(rt, "last line end") {
				b.WriteString(end)
			}
		}
		reader := csv.NewReader(bytes.NewReader(b.Bytes()))
		reader.FieldsPerRecord = -1
		all, err := reader.ReadAll()
		if err != nil {
			rt.Skip("encoding/csv refuses it")
		}
		layout := Layout{Format: CSV}
		for i := range width {
			layout.Columns = append(layout.Columns, Column{Name: string(rune('p' + i))})
		}
		var want [][]string
		for _, record := range all[1:] {
			full := false
			cells := make([]string, len(record))
			for i, cell := range record {
				full = full || !blank([]byte(cell))
				if cells[i] = cell; cell == "" {
					cells[i] = null
				}
			}
			if full {
				want = append(want, cells)
			}
		}
		info, rows := setup.readBytes(t, "f.csv", b.Bytes(), layout)
		got := shown(rows)
		for _, row := range got {
			for i := range row {
				row[i] = strings.ReplaceAll(row[i], "\r\n", "\n") // encoding/csv does that
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || info.Unreadable != nil {
			rt.Fatalf("%q: %v differs (-encoding/csv +ours):\n%s", b.String(), info.Unreadable, diff)
		}
	})
}

// TestCSVWindow cuts the same text through windows that end anywhere.
func TestCSVWindow(t *testing.T) {
	t.Parallel()
	text := "1,\"2\n\"\"2\",3\r\n4,5,6\n\"7\"x,8\n9,,\n\n\"10"
	var want []string
	s := splitter{delimiter: ',', quote: '"', most: 10}
	for from := 0; from < len(text); {
		size, next, _ := s.cut([]byte(text[from:]), true)
		want = append(want, text[from:from+size])
		from += next
	}
	for end := range len(text) {
		var got []string
		from := 0
		for from < end {
			size, next, result := s.cut([]byte(text[from:end]), false)
			if result == cutShort {
				break
			}
			got = append(got, text[from:from+size])
			from += next
		}
		if len(got) > len(want) || strings.Join(got, "|") != strings.Join(want[:len(got)], "|") {
			t.Fatalf("cut at %d: %q, want the beginning of %q", end, got, want)
		}
	}
}

// otherCSV reads a file with encoding/csv, empty cells as nulls.
func otherCSV(t *testing.T, path string) (header []string, records [][]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range all[1:] {
		for i, cell := range record {
			if cell == "" {
				record[i] = null
			}
		}
	}
	return all[0], all[1:]
}

func TestMixedEncodingReadsBoth(t *testing.T) {
	t.Parallel()
	e, err := findEncoding("utf-8, iso-8859-1")
	if err != nil {
		t.Fatal(err)
	}
	for cell, want := range map[string]string{"Köln £": "Köln £", "K\xf6ln \xa3": "Köln £", "plain": "plain", "": ""} {
		if got, _ := e.decode([]byte(cell), nil); !e.valid([]byte(cell)) || string(got) != want {
			t.Errorf("%q is read as %q, want %q", cell, got, want)
		}
	}
	if _, err := findEncoding("utf-8, utf-16"); err == nil {
		t.Error("a wide encoding was taken beside UTF-8")
	}
}
