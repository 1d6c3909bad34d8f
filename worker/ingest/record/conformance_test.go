package record

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// sharedData is the folder of public data beside the repository.
func sharedData(t *testing.T, path ...string) string {
	t.Helper()
	folder := filepath.Join(append([]string{"..", "..", "..", "..", "shared", "data"}, path...)...)
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("public test data is not there: %v", err)
	}
	return folder
}

// filesBelow names the files below folder, slash-separated.
func filesBelow(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("no test data in %s: %v", folder, err)
	}
	return names
}

func TestJSONTestSuite(t *testing.T) {
	t.Parallel()
	folder := sharedData(t, "conformance", "JSONTestSuite", "test_parsing")
	setup := newSetup(t)
	for _, name := range filesBelow(t, folder) {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		member := `{"k":` + string(text) + `}`
		r := &jsonReader{keys: newKeys(&compiled{}), w: &Writer{batch: takeBatch(0)}}
		_, ok := r.object([]byte(member))
		ok = ok && utf8.ValidString(member)
		_, lines := setup.readBytes(t, name+".ndjson", text, jsonABC)
		info, _ := setup.readBytes(t, name, text, jsonABC)
		refused := 0
		for _, row := range lines {
			if row.Rule != null {
				refused++
			}
		}
		switch name[0] {
		case 'y':
			if !ok {
				t.Errorf("%s is refused as a value", name)
			}
			if info.Unreadable != nil {
				t.Errorf("%s as a file: %v", name, info.Unreadable)
			}
			line := strings.TrimSpace(string(text))
			repeats := strings.Contains(name, "duplicated_key") // valid JSON, but no record
			if strings.HasPrefix(line, "{") && !strings.Contains(line, "\n") && refused > 0 != repeats {
				t.Errorf("%s as a line: %d refused", name, refused)
			}
		case 'n':
			if ok {
				t.Errorf("%s is taken as a value", name)
			}
			if blank(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))) {
				continue // no value at all is no record
			}
			if info.Unreadable == nil && refused == 0 {
				t.Errorf("%s is taken as a file", name)
			}
		}
	}
}

func TestJSONTransformations(t *testing.T) {
	t.Parallel()
	folder := sharedData(t, "conformance", "JSONTestSuite", "test_transform")
	for _, name := range filesBelow(t, folder) {
		for _, as := range []string{name, name + ".ndjson"} {
			text, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			readBytes(t, filepath.Base(as), text, jsonABC)
		}
	}
}

func TestCSVSpectrum(t *testing.T) {
	t.Parallel()
	folder := sharedData(t, "conformance", "csv-spectrum")
	for _, name := range filesBelow(t, filepath.Join(folder, "csvs")) {
		text, err := os.ReadFile(filepath.Join(folder, "json", strings.TrimSuffix(name, ".csv")+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var objects []map[string]string
		if err := json.Unmarshal(text, &objects); err != nil {
			t.Fatal(err)
		}
		layout := Layout{Format: CSV}
		for key := range objects[0] {
			layout.Columns = append(layout.Columns, Column{Name: key})
		}
		var want [][]string
		for _, object := range objects {
			var cells []string
			for _, column := range layout.Columns {
				cell := object[column.Name]
				if cell == "" {
					cell = null
				}
				cells = append(cells, cell)
			}
			want = append(want, cells)
		}
		info, rows := readFile(t, filepath.Join(folder, "csvs"), name, layout)
		if diff := cmp.Diff(want, shown(rows)); diff != "" || info.Unreadable != nil {
			t.Errorf("%s: %v, differs (-want +got):\n%s", name, info.Unreadable, diff)
		}
	}
}

// TestWorkbooks reads workbooks that broke other readers, and files that only
// look like workbooks.
func TestWorkbooks(t *testing.T) {
	t.Parallel()
	// Whole workbooks whose first row is no header, corrupt ones, and one without sheets.
	unreadable := map[string]string{
		"column_row_ranges.xlsx": "repeated", "formula.issue.xlsx": "repeated", "issue446.xlsx": "repeated", "issue_565_multi_axis_shared.xlsx": "repeated",
		"issue_567_absolute_shared.xlsx": "repeated", "richtext-after-plain.xlsx": "repeated", "shared_formula_reversed.xlsx": "repeated",
		"table_with_insertrow_attribute.xlsx": "repeated", "issue252.xlsx": "not a valid zip file", "BadWorkbook.xlsx": "no worksheet",
		"pass_protected.xlsx": "encrypted", "encryptAES.xlsx": "encrypted", "encryptSHA1.xlsx": "encrypted", "encryptSHA512.xlsx": "encrypted",
	}
	for _, set := range []string{"calamine", "excelize"} {
		folder := sharedData(t, "conformance", set)
		for _, name := range filesBelow(t, folder) {
			info, rows := readFile(t, folder, name, Layout{Format: XLSX})
			base, extension := filepath.Base(name), filepath.Ext(name)
			if extension != ".xlsx" && extension != ".xlsm" {
				if info.Unreadable == nil {
					t.Errorf("%s is read as a workbook of %d rows", name, info.Rows)
				}
				continue
			}
			want, broken := unreadable[base]
			if broken != (info.Unreadable != nil) || broken && !strings.Contains(info.Unreadable.Error(), want) {
				t.Errorf("%s: unreadable: %v, want %q", name, info.Unreadable, want)
			}
			for _, row := range rows {
				if info.Unreadable == nil && !json.Valid([]byte(row.Raw)) {
					t.Errorf("%s: row %d is %q", name, row.Number, row.Raw)
				}
			}
		}
	}
}

// TestWorkbookCells looks into some of them.
func TestWorkbookCells(t *testing.T) {
	t.Parallel()
	folder := sharedData(t, "conformance", "calamine", "tests")
	for _, c := range []struct {
		name   string
		layout Layout
		want   []string
	}{
		{"date_1904.xlsx", Layout{Columns: columns("2021-01-01", "15")}, []string{"\x052021-01-02", "\x0616"}},
		{"date_iso.xlsx", Layout{Columns: columns("2021-01-01")}, []string{"\x052021-01-01T10:10:10"}},
		{"errors.xlsx", Layout{Columns: columns("#DIV/0!")}, []string{"\x02#NAME?"}},
		{"inventory-table.xlsx", Layout{Columns: columns("item", "type", "quantity")}, []string{"\x031", "Apple", "\x0350"}},
		{"rph.xlsx", Layout{Columns: columns("課きく　毛こ")}, nil},
		{"temperature-in-middle.xlsx", Layout{Columns: columns("LABEL", "value")}, []string{"celsius", "\x0322.2222"}},
		{"nonstandard-xml-ns-prefix.xlsx", Layout{Columns: columns("a", "b")}, []string{"\x031", "\x033"}},
		{"any_sheets.xlsx", Layout{Columns: columns("1", "2")}, []string{"\x033", "\x034"}},
	} {
		c.layout.Format = XLSX
		info, rows := readFile(t, folder, c.name, c.layout)
		if info.Unreadable != nil {
			t.Errorf("%s: %v", c.name, info.Unreadable)
			continue
		}
		var got []string
		if len(rows) > 0 {
			got = rows[0].Cells
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestRealFiles counts the rows of public data, with figures taken by other tools.
func TestRealFiles(t *testing.T) {
	t.Parallel()
	folder := sharedData(t)
	for _, c := range []struct {
		name   string
		layout Layout
		rows   int64
	}{
		{"orders/online-retail-50999.xlsx", Layout{Format: XLSX, Columns: columns("InvoiceNo", "InvoiceDate", "UnitPrice")}, 50_999},
		{"events/kibana-ecommerce.ndjson.gz", Layout{Format: NDJSON, Columns: columns("order_id", "products")}, 4675},
		{"xlsx/thelook_Orders.xlsx", Layout{Format: XLSX, SkipRows: 1, Columns: columns("order_id", "created_at")}, 500},
	} {
		info, rows := readFile(t, folder, c.name, c.layout)
		if info.Unreadable != nil || info.Rows != c.rows {
			t.Errorf("%s: %d rows, %v", c.name, info.Rows, info.Unreadable)
		}
		for _, row := range rows {
			if row.Rule != null || row.Cells[0] == null {
				t.Errorf("%s: row %d: %+v", c.name, row.Number, row)
				break
			}
		}
	}
	_, rows := readFile(t, folder, "orders/online-retail-50999.xlsx", Layout{Format: XLSX, Columns: columns("InvoiceNo", "InvoiceDate", "UnitPrice", "CustomerID")})
	if diff := cmp.Diff([]string{"\x03536365", "\x052010-12-01T08:26:00", "\x032.55", "\x0317850"}, rows[0].Cells); diff != "" {
		t.Error(diff)
	}
}

// TestRealCSV compares public CSV files with what encoding/csv reads in them.
func TestRealCSV(t *testing.T) {
	t.Parallel()
	folder := sharedData(t)
	for _, name := range filesBelow(t, folder) {
		if filepath.Ext(name) != ".csv" || strings.HasPrefix(name, "conformance") {
			continue
		}
		header, records := otherCSV(t, filepath.Join(folder, name))
		layout := Layout{Format: CSV}
		for _, column := range header {
			layout.Columns = append(layout.Columns, Column{Name: column})
		}
		info, rows := readFile(t, folder, name, layout)
		got := shown(rows)
		for _, row := range got {
			for i := range row {
				row[i] = strings.ReplaceAll(row[i], "\r\n", "\n")
			}
		}
		if diff := cmp.Diff(records, got); diff != "" || info.Unreadable != nil {
			t.Errorf("%s: %v, differs (-encoding/csv +ours):\n%.2000s", name, info.Unreadable, diff)
		}
	}
}
