package ingest

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/pipelines"
)

// landing is a source's landing folder, and where its rows go.
type landing struct {
	t       *testing.T
	source  *pipeline.Source
	folder  string
	request Request
}

func shipped(t *testing.T) *pipeline.Pipeline {
	t.Helper()
	binder, err := engine.NewBinder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Load(t.Context(), pipelines.Ecommerce, binder)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newLanding(t *testing.T, source *pipeline.Source, zone string) *landing {
	t.Helper()
	folder := t.TempDir()
	l := &landing{t: t, source: source, folder: filepath.Join(folder, "landing")}
	scratch := filepath.Join(folder, "scratch")
	for _, dir := range []string{l.folder, scratch} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	target := func(table string, columns []pipeline.Column) Target {
		to := Target{Table: table, Staging: filepath.Join(folder, "lake", table)}
		for i, c := range columns {
			to.Columns = append(to.Columns, engine.Column{ID: i + 1, Name: c.Name, Type: c.Type, Required: c.Required})
		}
		return to
	}
	ops := pipeline.OpsTables()
	l.request = Request{
		Source: source, TimeZone: zone, Landing: l.folder, RunID: "01RUN", IngestTime: noon, AttemptID: "01ATTEMPT",
		Bronze:     target("bronze."+source.Name, pipeline.BronzeColumns(source.Contract)),
		Quarantine: target(ops[0].Name, ops[0].Columns), Ingested: target(ops[1].Name, ops[1].Columns),
		Engine: engine.Options{Threads: 1, MemoryLimit: 256 << 20}, ScratchDir: scratch,
	}
	return l
}

// drop writes a landing file and asks for it.
func (l *landing) drop(name, content string) {
	l.t.Helper()
	path := filepath.Join(l.folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
	l.request.Files = append(l.request.Files, &dispatchv1.LandingFile{Path: name, SizeBytes: int64(len(content))})
}

func (l *landing) run() *Result {
	l.t.Helper()
	result, err := Run(l.t.Context(), l.request)
	if err != nil {
		l.t.Fatal(err)
	}
	l.scratchEmpty()
	if result.RowsRead != result.RowsBronze+result.RowsQuarantined {
		l.t.Errorf("%d rows read, %d bronze, %d quarantined", result.RowsRead, result.RowsBronze, result.RowsQuarantined)
	}
	return result
}

func (l *landing) scratchEmpty() {
	l.t.Helper()
	left, err := os.ReadDir(l.request.ScratchDir)
	if err != nil {
		l.t.Fatal(err)
	}
	if len(left) > 0 {
		l.t.Errorf("%s was left in the scratch folder", left[0].Name())
	}
}

// rows runs a query over what was written to a table, as t, and gives its
// rows as text.
func rows(t *testing.T, files []Output, to Target, query string) []string {
	t.Helper()
	session, err := engine.Open(t.Context(), engine.Options{Threads: 1, ReadPaths: []string{to.Staging}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var paths []string
	for _, file := range files {
		if file.Table == to.Table {
			paths = append(paths, file.Path)
		}
	}
	if err := session.Table(t.Context(), "test.t", to.Columns, paths, ""); err != nil {
		t.Fatal(err)
	}
	found, err := session.Query(t.Context(), strings.ReplaceAll(query, "FROM t", "FROM test.t"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var list []string
	for found.Next() {
		values, err := found.Values()
		if err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, value := range values {
			switch value := value.(type) {
			case nil:
				texts[i] = "~"
			case time.Time:
				texts[i] = value.UTC().Format("2006-01-02T15:04:05.999999Z")
				if found.Columns()[i].Type == pipeline.TypeDate {
					texts[i] = value.Format(time.DateOnly)
				}
			case []byte:
				texts[i] = string(value)
			default:
				texts[i] = fmt.Sprint(value)
			}
		}
		list = append(list, strings.Join(texts, "|"))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

const brokenRules = "SELECT row_number, array_to_string(rules, ' ') FROM t ORDER BY source_file, row_number"

func expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const ordersHeader = "order_id,line_number,order_time,updated_at,customer_id,customer_email,country,payment_method,city,product_id,quantity,unit_price,discount,currency,status\n"

func TestOrders(t *testing.T) {
	t.Parallel()
	l := newLanding(t, shipped(t).Source("orders"), "Europe/Berlin")
	good := "O1,1,2026-01-15 23:30:00,2026-01-16 08:00:00,C1,a@b.c,de,card,Köln,P1,2,\"1,234.50\",€10,eur,PAID\n"
	l.drop("2026/01/a.csv", strings.ToUpper(ordersHeader)+good+strings.Join([]string{
		"O2,1.0,15.01.2026 00:30,,,,Germany,,,P1,3,10,,EUR,returned", // discount and updated_at absent
		",1,2026-01-15,,,,,,,P1,1,1,,EUR,paid",
		"O4,x,2026-01-15,,,,,,,P1,1,1,,EUR,paid",
		"O5,0,2026-01-15,,,,,,,P1,1,1,,EUR,paid",
		"O6,1,2026-02-30,2026-01-15,,,,,,P1,1,1,,EUR,paid",
		"O7,1,,,,,,,,P1,1,1,,EUR,paid",
		"O8,1,2026-01-15,yesterday,,,,,,P1,1,1,,EUR,paid",
		"O9,1,2026-01-15,,,,,,,-,1,1,,EUR,paid",
		"O10,1,2026-01-15,,,,,,,P1,0,1,1,EUR,paid",   // discount above 0 x 1, but quantity is not valid
		"O11,1,2026-01-15,,,,,,,P1,1.5,1,1,EUR,paid", // the same
		"O12,1,2026-01-15,,,,,,,P1,2,1e3,99,EUR,paid",
		"O13,1,2026-01-15,,,,,,,P1,2,-1,,EUR,paid",
		"O14,1,2026-01-15,,,,,,,P1,2,10,20.0001,EUR,paid",
		"O15,1,2026-01-15,,,,,,,P1,2,10,20,EUR,paid", // good
		"O16,1,2026-01-15,,,,,,,P1,2,10,-0.01,EUR,paid",
		"O17,1,2026-01-15,,,,,,,P1,2,10,free,EUR,paid",
		"O18,1,2026-01-15,,,,,,,P1,2,10,,EURO,paid",
		"O19,1,2026-01-15,,,,,,,P1,2,10,,,paid",
		"O20,1,2026-01-15,,,,,,,P1,2,10,,EUR,lost",
		"O21,1,2026-01-15,,,,,,,P1,2,10,,EUR,N/A",
		"null,one,never,later,,,,,, ,many,cheap,some,E1,gone",
		"O23,1,2026-01-15,,,,,,,P1,2,10,,EUR",
		"O24,1,2026-01-15,,,,,,,P1,2,10,,EUR,paid,more",
		`O25,"1"x,2026-01-15,,,,,,,P1,2,10,,EUR,paid`,
		"O26,1,2026-01-15,,,,,,K\xf6ln,P1,2,10,,EUR,paid",
		"O27,1,2026-01-15,,,,,,,P1,9223372036854775807,99999999999999.9999,5,EUR,paid", // good: the bound is wide
	}, "\n")+"\n")
	l.drop("2026/01/b.csv", "status,Order_ID ,line_number,order_time,product_id,quantity,unit_price,currency,gift note,colour\nshipped,O30,2,2026-07-01 00:30+00:00,P2,1,5,usd,for you,\n")
	l.drop("empty.csv", "")
	l.drop("header.csv", ordersHeader)
	l.drop("twice.csv", "order_id,ORDER_ID\nO1,O1\n")
	l.drop("cut.csv.gz", pack(t, ordersHeader+strings.Repeat(good, 1000))[:200])
	l.drop("c.csv.gz", pack(t, ordersHeader+good))
	result := l.run()
	if result.RowsRead != 31 || result.RowsBronze != 6 || result.RowsQuarantined != 25 {
		t.Errorf("%d rows read, %d bronze, %d quarantined", result.RowsRead, result.RowsBronze, result.RowsQuarantined)
	}
	expect(t, "rules", rows(t, result.Files, l.request.Quarantine, "SELECT row_number, array_to_string(rules, ' ') FROM t WHERE source_file = '2026/01/a.csv' ORDER BY row_number"), []string{
		"3|required:order_id", "4|type:line_number", "5|range:line_number", "6|type:order_time", "7|required:order_time", "8|type:updated_at",
		"9|required:product_id", "10|range:quantity", "11|type:quantity", "12|type:unit_price", "13|range:unit_price", "14|range:discount",
		"16|range:discount", "17|type:discount", "18|pattern:currency", "19|required:currency", "20|enum:status", "21|required:status",
		"22|required:order_id type:line_number type:order_time type:updated_at required:product_id type:quantity type:unit_price type:discount pattern:currency enum:status",
		"23|column_count", "24|column_count", "25|malformed", "26|encoding",
	})
	expect(t, "bronze", rows(t, result.Files, l.request.Bronze, "SELECT * EXCLUDE (customer_email) FROM t ORDER BY _source_file, _row_number"), []string{
		"O1|1|2026-01-15T22:30:00Z|2026-01-16T07:00:00Z|C1|DE|card|Köln|P1|2|1234.5000|10.0000|EUR|paid|2026-01-15|2026/01/a.csv|1|2026-03-01T12:00:00Z|01RUN|1.0.0|~",
		"O2|1|2026-01-14T23:30:00Z|2026-01-14T23:30:00Z|~|Germany|~|~|P1|3|10.0000|0.0000|EUR|returned|2026-01-15|2026/01/a.csv|2|2026-03-01T12:00:00Z|01RUN|1.0.0|~",
		"O15|1|2026-01-14T23:00:00Z|2026-01-14T23:00:00Z|~|~|~|~|P1|2|10.0000|20.0000|EUR|paid|2026-01-15|2026/01/a.csv|15|2026-03-01T12:00:00Z|01RUN|1.0.0|~",
		"O27|1|2026-01-14T23:00:00Z|2026-01-14T23:00:00Z|~|~|~|~|P1|9223372036854775807|99999999999999.9999|5.0000|EUR|paid|2026-01-15|2026/01/a.csv|27|2026-03-01T12:00:00Z|01RUN|1.0.0|~",
		"O30|2|2026-07-01T00:30:00Z|2026-07-01T00:30:00Z|~|~|~|~|P2|1|5.0000|0.0000|USD|shipped|2026-07-01|2026/01/b.csv|1|2026-03-01T12:00:00Z|01RUN|1.0.0|" + `{"gift note":"for you"}`,
		"O1|1|2026-01-15T22:30:00Z|2026-01-16T07:00:00Z|C1|DE|card|Köln|P1|2|1234.5000|10.0000|EUR|paid|2026-01-15|c.csv.gz|1|2026-03-01T12:00:00Z|01RUN|1.0.0|~",
	})
	raw := "O14,1,2026-01-15,,,,,,,P1,2,10,20.0001,EUR,paid"
	sha := rows(t, result.Files, l.request.Ingested, "SELECT sha256 FROM t WHERE path = '2026/01/a.csv'")[0]
	content, err := os.ReadFile(filepath.Join(l.folder, "2026/01/a.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(content); sha != hex.EncodeToString(want[:]) {
		t.Errorf("the hash of a.csv is %s", sha)
	}
	id := md5.Sum([]byte("orders|2026/01/a.csv|" + sha + "|14"))
	expect(t, "quarantined row", rows(t, result.Files, l.request.Quarantine, "SELECT quarantine_id, source, raw, raw_size, ingested_at, run_id, contract_version, extra FROM t WHERE row_number = 14"), []string{
		hex.EncodeToString(id[:]) + "|orders|" + raw + fmt.Sprintf("|%d", len(raw)) + "|2026-03-01T12:00:00Z|01RUN|1.0.0|~",
	})
	expect(t, "unreadable", rows(t, result.Files, l.request.Quarantine, "SELECT source_file, row_number, rules[1], raw_size FROM t WHERE row_number = 0 ORDER BY 1"), []string{
		"cut.csv.gz|0|unreadable_file|200", "twice.csv|0|unreadable_file|24",
	})
	hash := l.source.Contract.Hash
	expect(t, "ingested", rows(t, result.Files, l.request.Ingested, "SELECT path, size_bytes, state, error IS NOT NULL, rows_read, rows_bronze, rows_quarantined, contract_hash, ingested_at, run_id FROM t ORDER BY path"), []string{
		fmt.Sprintf("2026/01/a.csv|%d|ingested|false|27|4|23|%s|2026-03-01T12:00:00Z|01RUN", len(content), hash),
		"2026/01/b.csv|154|ingested|false|1|1|0|" + hash + "|2026-03-01T12:00:00Z|01RUN",
		fmt.Sprintf("c.csv.gz|%d|ingested|false|1|1|0|%s|2026-03-01T12:00:00Z|01RUN", len(pack(t, ordersHeader+good)), hash),
		"cut.csv.gz|200|unreadable|true|1|0|1|" + hash + "|2026-03-01T12:00:00Z|01RUN",
		"empty.csv|0|ingested|false|0|0|0|" + hash + "|2026-03-01T12:00:00Z|01RUN",
		fmt.Sprintf("header.csv|%d|ingested|false|0|0|0|%s|2026-03-01T12:00:00Z|01RUN", len(ordersHeader), hash),
		"twice.csv|24|unreadable|true|1|0|1|" + hash + "|2026-03-01T12:00:00Z|01RUN",
	})
	if extra := result.Landing[1].ExtraColumns; !slices.Equal(extra, []string{"colour", "gift note"}) {
		t.Errorf("the unknown columns of b.csv are %v", extra)
	}
	if len(result.Files) != 3 {
		t.Errorf("%d files were written: %v", len(result.Files), result.Files)
	}
	t.Run("again", func(t *testing.T) {
		ids := "SELECT quarantine_id FROM t ORDER BY 1"
		first := rows(t, result.Files, l.request.Quarantine, ids)
		l.request.AttemptID = "02ATTEMPT"
		slices.Reverse(l.request.Files)
		expect(t, "quarantine ids", rows(t, l.run().Files, l.request.Quarantine, ids), first)
	})
	t.Run("carry", func(t *testing.T) { testCarry(t, l, result) })
}

func TestActivity(t *testing.T) {
	t.Parallel()
	l := newLanding(t, shipped(t).Source("user_activity"), "UTC")
	l.drop("a.ndjson", strings.Join([]string{
		`{"event_id":"E1","event_time":"2026-01-15T10:00:00.5+01:00","user_id":7,"session_id":"S1","event_type":"PURCHASE","order_id":12,"country":"de","properties":{"a":[1,{"b":"x"}]},"Page_URL":" /x "}`,
		`{"event_id":"E2","event_time":1768471200,"session_id":"S1","event_type":"page_view","product_id":null}`,
		`{"event_id":"E3","event_time":1768471200123,"session_id":"S1","event_type":"search","search_query":"-","new":true}`,
		`{"event_time":"2026-01-15T10:00:00Z","session_id":"S1","event_type":"search"}`,
		`{"event_id":"E5","event_time":"2026-01-15 10:00","session_id":"S1","event_type":"search"}`,
		`{"event_id":"E6","session_id":"S1","event_type":"search"}`,
		`{"event_id":"E7","event_time":"2026-03-02T12:00:01Z","session_id":"S1","event_type":"search"}`,
		`{"event_id":"E8","event_time":0,"session_id":"","event_type":"search"}`,
		`{"event_id":"E9","event_time":0,"session_id":"S1","event_type":"hover"}`,
		`{"event_id":"E10","event_time":0,"session_id":"S1"}`,
		`{"event_id":"E11","event_time":0,"session_id":"S1","event_type":"Add_To_Cart"}`,
		`{"event_id":"E12","event_time":0,"session_id":"S1","event_type":"product_view","product_id":"-"}`,
		`{"event_id":"E13","event_time":0,"session_id":"S1","event_type":"remove_from_cart"}`,
		`{"event_id":"E14","event_time":0,"session_id":"S1","event_type":"purchase"}`,
		`{"event_id":"E15","event_time":0,"session_id":"S1","event_type":"search","country":"DEU"}`,
		`{"event_id":"E16","event_time":0,"session_id":"S1","event_type":"search","properties":[1]}`,
		`{"event_id":"E17","event_time":0,"session_id":"S1","event_type":"search","user_id":["x"]}`,
		`{"event_id":"E18","event_time":true,"session_id":{},"event_type":"hover","product_id":[],"order_id":null,"country":1,"properties":"{}"}`,
		`[1,2]`,
		`{"event_id":"E20","event_time":-1,"session_id":"S1","event_type":"purchase","product_id":"P"}`,
	}, "\n"))
	result := l.run()
	expect(t, "rules", rows(t, result.Files, l.request.Quarantine, brokenRules), []string{
		"4|required:event_id", "5|type:event_time", "6|required:event_time", "7|future:event_time", "8|required:session_id", "9|enum:event_type", "10|required:event_type",
		"11|required:product_id", "12|required:product_id", "13|required:product_id", "14|required:order_id", "15|pattern:country", "16|type:properties", "17|type:user_id",
		"18|type:event_time type:session_id enum:event_type type:product_id pattern:country type:properties", "19|malformed", "20|type:event_time required:order_id",
	})
	expect(t, "bronze", rows(t, result.Files, l.request.Bronze, "SELECT * FROM t ORDER BY _row_number"), []string{
		`E1|2026-01-15T09:00:00.5Z|7|S1|purchase|~|12|DE|/x|~|~|~|{"a":[1,{"b":"x"}]}|2026-01-15|a.ndjson|1|2026-03-01T12:00:00Z|01RUN|1.0.0|~`,
		`E2|2026-01-15T10:00:00Z|~|S1|page_view|~|~|~|~|~|~|~|~|2026-01-15|a.ndjson|2|2026-03-01T12:00:00Z|01RUN|1.0.0|~`,
		`E3|2026-01-15T10:00:00.123Z|~|S1|search|~|~|~|~|~|~|~|~|2026-01-15|a.ndjson|3|2026-03-01T12:00:00Z|01RUN|1.0.0|{"new":true}`,
	})
}

func TestInventory(t *testing.T) {
	t.Parallel()
	l := newLanding(t, shipped(t).Source("inventory"), "UTC")
	book := excelize.NewFile()
	defer book.Close()
	header := []any{"Snapshot_Date", "product_id", "sku", "product_name", "category", "subcategory", "brand", "unit_cost", "list_price", "stock_on_hand", "reorder_level", "warehouse", "last_restocked"}
	style, err := book.NewStyle(&excelize.Style{NumFmt: 22})
	if err != nil {
		t.Fatal(err)
	}
	line := func(n int, change map[int]any) {
		row := []any{"2026-01-12", 1001, "SKU1", "Löffel", "Kitchen", nil, nil, 1.1, "$1,200.5", 12, 0, "North", "2026-01-10"}
		for column, value := range change {
			row[column] = value
		}
		if err := book.SetSheetRow("Sheet1", fmt.Sprintf("A%d", n+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	if err := book.SetSheetRow("Sheet1", "A1", &header); err != nil {
		t.Fatal(err)
	}
	line(1, map[int]any{0: time.Date(2026, 1, 12, 13, 0, 0, 0, time.UTC), 12: 46032})
	if err := book.SetCellStyle("Sheet1", "A2", "A2", style); err != nil {
		t.Fatal(err)
	}
	line(2, nil)
	for i, change := range []map[int]any{
		{0: "12.01.2026"}, {0: ""}, {1: "-"}, {2: " "}, {3: "n/a"}, {4: nil}, {7: "cheap"}, {7: -1}, {8: ""}, {8: "-0.01"}, {9: 1.5}, {9: -1}, {10: "few"}, {11: nil},
		{12: "2026-01-13"}, {12: "soon"}, {0: "bad", 12: "2030-01-01"}, {12: 0}, {12: "2026-01-12"},
	} {
		line(3+i, change)
	}
	var content bytes.Buffer
	if err := book.Write(&content); err != nil {
		t.Fatal(err)
	}
	l.drop("week.xlsx", content.String())
	l.drop("week2.xlsx", "no workbook")
	result := l.run()
	expect(t, "rules", rows(t, result.Files, l.request.Quarantine, brokenRules), []string{
		"3|type:snapshot_date", "4|required:snapshot_date", "5|required:product_id", "6|required:sku", "7|required:product_name", "8|required:category", "9|type:unit_cost", "10|range:unit_cost", "11|required:list_price", "12|range:list_price",
		"13|type:stock_on_hand", "14|range:stock_on_hand", "15|type:reorder_level", "16|required:warehouse", "17|range:last_restocked", "18|type:last_restocked", "19|type:snapshot_date", "20|type:last_restocked",
		"0|unreadable_file",
	})
	expect(t, "bronze", rows(t, result.Files, l.request.Bronze, "SELECT * EXCLUDE (_ingested_at, _run_id, _contract_version) FROM t ORDER BY _row_number"), []string{
		"2026-01-12|1001|SKU1|Löffel|Kitchen|~|~|1.1000|1200.5000|12|0|North|2026-01-10|week.xlsx|1|~",
		"2026-01-12|1001|SKU1|Löffel|Kitchen|~|~|1.1000|1200.5000|12|0|North|2026-01-10|week.xlsx|2|~",
		"2026-01-12|1001|SKU1|Löffel|Kitchen|~|~|1.1000|1200.5000|12|0|North|2026-01-12|week.xlsx|21|~",
	})
}

func pack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
