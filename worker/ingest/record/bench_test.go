package record

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/xuri/excelize/v2"
)

func columns(names ...string) []Column {
	c := make([]Column, len(names))
	for i, name := range names {
		c[i] = Column{Name: name}
	}
	return c
}

var orderColumns = columns("order_id", "line_number", "order_time", "updated_at", "customer_id", "customer_email", "country",
	"payment_method", "city", "product_id", "quantity", "unit_price", "discount", "currency", "status")

var eventColumns = columns("event_id", "event_time", "user_id", "session_id", "event_type", "product_id", "order_id", "country",
	"page_url", "referrer", "device", "search_query", "properties")

// orderLines is a CSV file of n order lines.
func orderLines(n int, quoted bool) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString("order_id,line_number,order_time,updated_at,customer_id,customer_email,country,payment_method,city,product_id,quantity,unit_price,discount,currency,status\n")
	q := ""
	if quoted {
		q = `"`
	}
	for i := range n {
		fmt.Fprintf(&b, "%[1]sO-%08[2]d%[1]s,%[3]d,2026-03-%02[4]d 10:%02[5]d:00,,C-%05[6]d,c%[6]d@example.com,DE,card,%[1]sBerlin%[1]s,P-%04[7]d,%[8]d,%[9]d.%02[10]d,0.00,EUR,paid\n",
			q, i/3, i%3+1, random.IntN(28)+1, random.IntN(60), random.IntN(20000), random.IntN(500), random.IntN(5)+1, random.IntN(200), random.IntN(100))
	}
	return b.Bytes()
}

// eventLines is an NDJSON file of n events.
func eventLines(n int) []byte {
	random := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"event_id":"e-%012d","event_time":"2026-03-%02dT10:%02d:%02d.123Z","user_id":"u-%05d","session_id":"s-%08d","event_type":"product_view","product_id":"P-%04d","country":"DE","page_url":"https://shop.example.com/products/P-%04d?ref=home","referrer":"https://www.example.com/","device":"mobile","properties":{"position":%d,"list":"recommended","tags":["a","b"]}}`+"\n",
			i, random.IntN(28)+1, random.IntN(60), random.IntN(60), random.IntN(20000), i/8, random.IntN(500), random.IntN(500), random.IntN(20))
	}
	return b.Bytes()
}

func benchmarkRead(b *testing.B, name string, data []byte, layout Layout, rows int) {
	folder := b.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		scratch, err := os.MkdirTemp(folder, "scratch")
		if err != nil {
			b.Fatal(err)
		}
		w, err := NewWriter(scratch, layout.Columns)
		if err != nil {
			b.Fatal(err)
		}
		info, err := Read(context.Background(), root, name, layout, w, 0)
		if err != nil || info.Unreadable != nil || info.Rows != int64(rows) {
			b.Fatalf("%+v %v", info, err)
		}
		if _, err := w.Close(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.RemoveAll(scratch)
		b.StartTimer()
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkCSV(b *testing.B) {
	const n = 500_000
	benchmarkRead(b, "o.csv", orderLines(n, false), Layout{Format: CSV, Columns: orderColumns}, n)
}

func BenchmarkCSVQuoted(b *testing.B) {
	const n = 500_000
	benchmarkRead(b, "o.csv", orderLines(n, true), Layout{Format: CSV, Columns: orderColumns}, n)
}

func BenchmarkNDJSON(b *testing.B) {
	const n = 300_000
	benchmarkRead(b, "e.ndjson", eventLines(n), Layout{Format: NDJSON, Columns: eventColumns}, n)
}

func BenchmarkXLSX(b *testing.B) {
	const n = 50_000
	f := excelize.NewFile()
	defer f.Close()
	s, err := f.NewStreamWriter("Sheet1")
	if err != nil {
		b.Fatal(err)
	}
	names := []any{"snapshot_date", "product_id", "sku", "product_name", "category", "warehouse", "unit_cost", "list_price", "stock_on_hand", "reorder_level"}
	for i := range n + 1 {
		row := names
		if i > 0 {
			row = []any{"2026-03-01", fmt.Sprintf("P-%05d", i), fmt.Sprintf("SKU-%d", i), "A product with a name", "Garden", "Berlin", 12.34, 19.99, i % 1000, 10}
		}
		if err := s.SetRow(fmt.Sprintf("A%d", i+1), row); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	data, err := f.WriteToBuffer()
	if err != nil {
		b.Fatal(err)
	}
	layout := Layout{Format: XLSX}
	for _, name := range names {
		layout.Columns = append(layout.Columns, Column{Name: name.(string)})
	}
	benchmarkRead(b, "i.xlsx", data.Bytes(), layout, n)
}

func BenchmarkParquet(b *testing.B) {
	const n = 50_000
	benchmarkRead(b, "p.parquet", parquetBytes(b, n), parquetLayout, 2*n)
}

// BenchmarkJSONScan and BenchmarkJSONText compare the scanner with the strict
// library that could stand in its place, on the top-level members alone.
func BenchmarkJSONScan(b *testing.B) {
	const n = 100_000
	lines := bytes.Split(bytes.TrimSpace(eventLines(n)), []byte("\n"))
	compiled, err := compile(Layout{Format: NDJSON, Columns: eventColumns})
	if err != nil {
		b.Fatal(err)
	}
	r := &jsonReader{keys: newKeys(compiled), w: &Writer{batch: takeBatch(len(eventColumns))}}
	for b.Loop() {
		size := 0
		for _, line := range lines {
			if _, ok := r.object(line); !ok || !utf8.Valid(line) {
				b.Fatal("refused")
			}
			r.w.discard()
			size += len(line)
		}
		b.SetBytes(int64(size))
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkJSONText(b *testing.B) {
	const n = 100_000
	data := eventLines(n)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		decoder := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
		for range n {
			if _, err := decoder.ReadToken(); err != nil {
				b.Fatal(err)
			}
			for decoder.PeekKind() != '}' {
				if _, err := decoder.ReadValue(); err != nil {
					b.Fatal(err)
				}
				if _, err := decoder.ReadValue(); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := decoder.ReadToken(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkScratch is the writer alone: rows of cells that are in memory.
func BenchmarkScratch(b *testing.B) {
	const n = 500_000
	folder := b.TempDir()
	raw := bytes.Repeat([]byte("x"), 110)
	cell := []byte("12345678")
	for b.Loop() {
		w, err := NewWriter(folder, orderColumns)
		if err != nil {
			b.Fatal(err)
		}
		w.begin(0)
		for range n {
			for c := range orderColumns {
				w.text(c, cell)
			}
			if err := w.row(raw, int64(len(raw)), nil); err != nil {
				b.Fatal(err)
			}
		}
		paths, err := w.Close()
		if err != nil {
			b.Fatal(err)
		}
		for _, path := range paths {
			os.Remove(path)
		}
	}
	b.SetBytes(n * int64(len(raw)+len(orderColumns)*12+20))
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
