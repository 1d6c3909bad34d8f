package record

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
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
