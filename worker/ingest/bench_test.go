package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// benchLines is the number of order lines of a benchmark.
const benchLines = 1_000_000

// writeLines writes order lines of which one in fifty is bad.
func writeLines(b *testing.B, folder string) string {
	b.Helper()
	session, err := engine.Open(b.Context(), engine.Options{WritePaths: []string{folder}})
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	path := filepath.Join(folder, "orders.csv")
	err = session.Exec(b.Context(), `COPY (SELECT 'ORD-' || lpad(CAST(i // 3 AS VARCHAR), 8, '0') AS order_id, 1 + i % 3 AS line_number,
	  strftime(TIMESTAMP '2026-01-01' + INTERVAL (i * 7) SECOND, '%Y-%m-%d %H:%M:%S') AS order_time,
	  strftime(TIMESTAMP '2026-01-02' + INTERVAL (i * 7) SECOND, '%Y-%m-%d %H:%M:%S') AS updated_at,
	  'CUS-' || i // 20 AS customer_id, 'user' || i // 20 || '@example.com' AS customer_email, 'DE' AS country, 'card' AS payment_method, 'Berlin' AS city,
	  'PRD-' || i % 500 AS product_id, 1 + i % 9 AS quantity, CAST((100 + i % 100000) / 100 AS DECIMAL(18,2)) AS unit_price,
	  CASE WHEN i % 3 = 0 THEN '0.50' END AS discount, 'EUR' AS currency,
	  CASE WHEN i % 50 = 7 THEN 'bogus' ELSE 'delivered' END AS status FROM range(1000000) AS lines(i)) TO '`+path+`' (FORMAT csv, HEADER)`)
	if err != nil {
		b.Fatal(err)
	}
	return path
}

func benchTarget(folder, table string, columns []pipeline.Column) Target {
	to := Target{Table: table, Staging: filepath.Join(folder, table)}
	for i, c := range columns {
		to.Columns = append(to.Columns, engine.Column{ID: i + 1, Name: c.Name, Type: c.Type, Required: c.Required})
	}
	return to
}

// BenchmarkOrders reads a CSV file of a million order lines into bronze and quarantine.
func BenchmarkOrders(b *testing.B) {
	folder := b.TempDir()
	writeLines(b, folder)
	binder, err := engine.NewBinder(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	p, err := pipeline.Load(b.Context(), os.DirFS("../../pipelines/ecommerce"), binder)
	if err != nil {
		b.Fatal(err)
	}
	source, ops := p.Source("orders"), pipeline.OpsTables()
	for b.Loop() {
		_, err := Run(b.Context(), Request{
			Source: source, TimeZone: p.TimeZone, Landing: folder, Files: []*dispatchv1.LandingFile{{Path: "orders.csv"}},
			RunID: "01RUN", IngestTime: noon, AttemptID: "01ATTEMPT", ScratchDir: b.TempDir(),
			Bronze:     benchTarget(folder, "bronze.orders", pipeline.BronzeColumns(source.Contract)),
			Quarantine: benchTarget(folder, ops[0].Name, ops[0].Columns), Ingested: benchTarget(folder, ops[1].Name, ops[1].Columns),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchLines)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkOrdersBare is what one would write by hand in DuckDB for the same file: typed by TRY_CAST, split into two files.
func BenchmarkOrdersBare(b *testing.B) {
	folder := b.TempDir()
	path := writeLines(b, folder)
	session, err := engine.Open(b.Context(), engine.Options{WritePaths: []string{folder}})
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	text := func(name string) string { return "nullif(trim(" + name + "), '')" }
	var names []string
	for _, name := range strings.Split(strings.TrimSpace(ordersHeader), ",") {
		names = append(names, text(name)+" AS "+name)
	}
	query := `SELECT *, order_id IS NULL OR line_number IS NULL OR line_number < 1 OR order_time IS NULL OR product_id IS NULL OR quantity IS NULL OR quantity < 1
	    OR unit_price IS NULL OR unit_price < 0 OR discount IS NULL OR discount < 0 OR discount > quantity * unit_price
	    OR currency IS NULL OR NOT regexp_matches(currency, '^[A-Za-z]{3}$')
	    OR status NOT IN ('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'returned') AS bad
	  FROM (SELECT order_id, TRY_CAST(line_number AS BIGINT) AS line_number, TRY_CAST(order_time AS TIMESTAMP) AS order_time,
	    TRY_CAST(coalesce(updated_at, order_time) AS TIMESTAMP) AS updated_at, customer_id, customer_email, upper(country) AS country, payment_method, city, product_id,
	    TRY_CAST(quantity AS BIGINT) AS quantity, TRY_CAST(unit_price AS DECIMAL(18,4)) AS unit_price,
	    TRY_CAST(coalesce(discount, '0') AS DECIMAL(18,4)) AS discount, upper(currency) AS currency, lower(status) AS status,
	    CAST(TRY_CAST(order_time AS TIMESTAMP) AS DATE) AS order_date
	    FROM (SELECT ` + strings.Join(names, ", ") + ` FROM read_csv('` + path + `', all_varchar = true, header = true)))`
	for b.Loop() {
		err := session.Exec(b.Context(), "CREATE OR REPLACE TABLE checked AS "+query+";"+
			"COPY (SELECT * EXCLUDE (bad) FROM checked WHERE NOT bad) TO '"+folder+"/good.parquet' (FORMAT parquet, COMPRESSION zstd);"+
			"COPY (SELECT * FROM checked WHERE bad) TO '"+folder+"/bad.parquet' (FORMAT parquet, COMPRESSION zstd);")
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchLines)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
