// Package interop_test holds the lake's tables against the programs that must read them: DuckDB, which also writes their
// files, iceberg-go's own scan, and pyiceberg.
package interop_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	icebergsql "github.com/apache/iceberg-go/catalog/sql"
	"github.com/apache/iceberg-go/table"
	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"github.com/shoplake/shoplake/internal/lake"
)

const name = "silver.everything"

// everything has a column of each type.
var everything = lake.Schema{
	Columns: []lake.Column{
		{Name: "id", Type: "BIGINT", Required: true},
		{Name: "day", Type: "DATE", Required: true},
		{Name: "seen_at", Type: "TIMESTAMP WITH TIME ZONE"},
		{Name: "local", Type: "TIMESTAMP"},
		{Name: "small", Type: "INTEGER"},
		{Name: "cents", Type: "DECIMAL(9,2)"},
		{Name: "price", Type: "DECIMAL(18,4)"},
		{Name: "total", Type: "DECIMAL(38,4)"},
		{Name: "ratio", Type: "DOUBLE"},
		{Name: "paid", Type: "BOOLEAN"},
		{Name: "title", Type: "VARCHAR"},
		{Name: "raw", Type: "BLOB"},
		{Name: "rules", Type: "VARCHAR[]"},
	},
	Partition: lake.Partition{Transform: lake.Month, Column: "day"},
}

// rows of a month; the value of each column follows from i.
const rows = `select i as id, %s + (i %% 28)::integer as day,
	timestamptz '2026-01-01 00:00:00+00' - to_days(400) + to_microseconds(i) as seen_at,
	timestamp '1969-12-31 23:59:59' + to_seconds(i) as local,
	(i - 5)::integer as small, ((i - 5) * 1.25)::decimal(9,2) as cents, ((i - 5) * 1000000000.0001)::decimal(18,4) as price,
	((i - 5)::varchar || repeat('0', 20))::decimal(38,4) as total, i / 3.0 as ratio, i %% 2 = 0 as paid,
	case when i %% 10 = 3 then null else 'äöü €𝄞 title that is long ' || i end as title, encode('raw' || i) as raw,
	case when i %% 3 = 0 then null when i %% 3 = 1 then []::varchar[] else ['a' || i, null, 'c'] end as rules
	from range(%d) r(i)`

func duck(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	run(t, db, "set timezone='UTC'; set threads=1")
	return db
}

func run(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// write has DuckDB write a query's rows as the table's writers do.
func write(t *testing.T, db *sql.DB, query, path string, columns []lake.Column, options string) {
	t.Helper()
	var casts, ids []string
	for _, c := range columns {
		casts = append(casts, fmt.Sprintf("\"%s\"::%s as \"%s\"", c.Name, c.Type, c.Name))
		id := fmt.Sprintf("%s: %d", c.Name, c.ID)
		if strings.HasSuffix(c.Type, "[]") {
			id = fmt.Sprintf("%s: {__duckdb_field_id: %d, element: %d}", c.Name, c.ID, c.ElementID())
		}
		ids = append(ids, id)
	}
	run(t, db, fmt.Sprintf("copy (select %s from (%s)) to '%s' (format parquet, compression zstd, field_ids {%s} %s)",
		strings.Join(casts, ", "), query, strings.ReplaceAll(path, "'", "''"), strings.Join(ids, ", "), options))
}

// fill makes a lake with a table of two months in three files, one of them written before columns were added and widened.
func fill(t *testing.T, warehouse string) (*lake.Lake, *sql.DB, *lake.Table) {
	t.Helper()
	ctx := context.Background()
	l, err := lake.Open(ctx, lake.Config{Warehouse: warehouse})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	worker, err := lake.Attach(ctx, lake.Config{Warehouse: warehouse})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := worker.Close(); err != nil {
			t.Error(err)
		}
	})
	db := duck(t)
	ensured, err := l.EnsureTable(ctx, name, everything)
	if err != nil {
		t.Fatal(err)
	}
	describe := func(file, partition, query, options string) lake.Staged {
		path := filepath.Join(worker.Staging(name, "run"), file)
		write(t, db, query, path, ensured.Columns, options)
		s, err := worker.Describe(ctx, path, ensured.Schema, partition)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	add := []lake.Staged{
		describe("a.parquet", "2026-01", fmt.Sprintf(rows, "date '2026-01-01'", 20), ""),
		describe("b.parquet", "2026-02", fmt.Sprintf(rows, "date '2026-02-01'", 30), ""),
	}
	if _, err := l.Commit(ctx, lake.Commit{Table: name, Add: add, Token: "1"}); err != nil {
		t.Fatal(err)
	}
	wider := everything
	wider.Columns = slices.Clone(everything.Columns)
	wider.Columns[4].Type, wider.Columns[5].Type = "BIGINT", "DECIMAL(20,2)"
	wider.Columns = append(wider.Columns, lake.Column{Name: "extra", Type: "VARCHAR"})
	if ensured, err = l.EnsureTable(ctx, name, wider); err != nil {
		t.Fatal(err)
	}
	// More rows than a row group holds, and the first file replaced.
	replaced := describe("c.parquet", "2026-01", "select *, 'x' || id as extra from ("+fmt.Sprintf(rows, "date '2026-01-01'", 5000)+")", ", row_group_size 2048")
	if _, err := l.Commit(ctx, lake.Commit{Table: name, Add: []lake.Staged{replaced}, Remove: []string{add[0].Path}, Token: "2"}); err != nil {
		t.Fatal(err)
	}
	current, err := l.Table(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return l, db, current
}

// digest is what each reader must find: the rows and some sums.
type digest struct {
	Rows, Small  int64
	Cents, Price string
	Titles       int64
	Elements     int64
	Extra        int64
	First, Last  string
}

func want(t *testing.T, l *lake.Lake, db *sql.DB, table *lake.Table) digest {
	t.Helper()
	files, err := l.Files(context.Background(), table.Name, table.SnapshotID)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range files {
		list = append(list, "'"+strings.ReplaceAll(f.Path, "'", "''")+"'")
	}
	var d digest
	err = db.QueryRow("select count(*), sum(small)::bigint, sum(cents)::varchar, sum(price)::varchar, count(title), "+
		"coalesce(sum(len(rules)), 0)::bigint, count(extra), min(seen_at)::varchar, max(seen_at)::varchar from read_parquet(["+strings.Join(list, ",")+"], union_by_name=true)").
		Scan(&d.Rows, &d.Small, &d.Cents, &d.Price, &d.Titles, &d.Elements, &d.Extra, &d.First, &d.Last)
	if err != nil {
		t.Fatal(err)
	}
	if d.Rows != 5030 || d.Extra != 5000 {
		t.Fatalf("DuckDB reads %+v", d)
	}
	return d
}

func TestIcebergScan(t *testing.T) {
	t.Parallel()
	// A path that a URL spells in another way.
	l, db, current := fill(t, filepath.Join(t.TempDir(), "my data %41 + ü"))
	expected := want(t, l, db, current)
	cat := openCatalog(t, l)
	it, err := cat.LoadTable(context.Background(), table.Identifier{"silver", "everything"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		filter iceberg.BooleanExpression
		rows   int64
		files  int
	}{
		{iceberg.AlwaysTrue{}, expected.Rows, 2},
		{iceberg.EqualTo(iceberg.Reference("day"), iceberg.Date(20454+31)), 2, 1}, // 2026-02-01
		{iceberg.GreaterThan(iceberg.Reference("id"), int64(4000)), 999, 1},
		// No filter on the widened column "small": iceberg-go 0.7 cannot read the bounds that were written before.
		{iceberg.GreaterThanEqual(iceberg.Reference("title"), "äöü €𝄞 title that is long 99"), 10, 2}, // its bounds are the first 16 characters
		{iceberg.GreaterThan(iceberg.Reference("title"), "äöü €𝄞 titlf"), 0, 0},
		{iceberg.EqualTo(iceberg.Reference("extra"), "x17"), 1, 2},
	} {
		scan := it.Scan(table.WithRowFilter(tc.filter))
		tasks, err := scan.PlanFiles(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		result, err := scan.ToArrowTable(context.Background())
		if err != nil {
			t.Fatalf("scan of %s: %v", tc.filter, err)
		}
		if result.NumRows() != tc.rows || len(tasks) != tc.files {
			t.Errorf("scan of %s reads %d rows of %d files, want %d of %d", tc.filter, result.NumRows(), len(tasks), tc.rows, tc.files)
		}
		result.Release()
	}
}

func openCatalog(t *testing.T, l *lake.Lake) *icebergsql.Catalog {
	t.Helper()
	dsn := url.URL{Scheme: "file", Path: filepath.Join(l.Warehouse(), "catalog.db")}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	cat, err := icebergsql.NewCatalog("shoplake", db, icebergsql.SQLite, iceberg.Properties{})
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// pyiceberg reads the table whole, by a filter that prunes, and as it was before.
const script = `
import json, sys
from decimal import Decimal
from pyiceberg.catalog.sql import SqlCatalog
import pyarrow.compute as pc
cat = SqlCatalog("shoplake", uri="sqlite:///" + sys.argv[1] + "/catalog.db", warehouse=sys.argv[1])
t = cat.load_table("silver.everything")
a = t.scan().to_arrow()
first = min(t.history(), key=lambda s: s.timestamp_ms).snapshot_id
b = t.scan(snapshot_id=first).to_arrow()
text = lambda v: v.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".") + "+00"
print(json.dumps({
  "digest": {"Rows": a.num_rows, "Small": pc.sum(a["small"]).as_py(), "Cents": str(pc.sum(a["cents"]).as_py()), "Price": str(pc.sum(a["price"]).as_py()),
    "Titles": a.num_rows - a["title"].null_count, "Elements": pc.sum(pc.list_value_length(a["rules"])).as_py(), "Extra": a.num_rows - a["extra"].null_count,
    "First": text(pc.min(a["seen_at"]).as_py()), "Last": text(pc.max(a["seen_at"]).as_py())},
  "before": b.num_rows,
  "february": t.scan(row_filter="day >= '2026-02-01'").to_arrow().num_rows,
  "small": t.scan(row_filter="small < -4").to_arrow().num_rows,
  "price": t.scan(row_filter="price > 4000000000000").to_arrow().num_rows,
  "total": t.scan(row_filter="total < -400000000000000000000").to_arrow().num_rows,
  "title": t.scan(row_filter="title >= 'äöü €𝄞 title that is long 99'").to_arrow().num_rows,
  "files": [len(list(t.scan(row_filter=f).plan_files())) for f in ("small > 25", "price > 26000000000", "total > 2600000000000000000000", "cents > 40", "seen_at > '2025-01-01T00:00:00+00:00'")],
  "partitions": sorted(str(r["partition"]) for r in t.inspect.files().to_pylist()),
  "bounds": [t.inspect.files().to_pylist()[0]["readable_metrics"][c]["lower_bound"] is not None for c in ("id", "day", "seen_at", "local", "small", "cents", "price", "total", "title")],
}))
`

func TestPyiceberg(t *testing.T) {
	t.Parallel()
	l, db, current := fill(t, t.TempDir())
	expected := want(t, l, db, current)
	type result struct {
		Digest                                       digest
		Before, February, Small, Price, Total, Title int64
		Files                                        []int
		Partitions                                   []string
		Bounds                                       []bool
	}
	var got result
	pyiceberg(t, l, script, &got)
	if diff := cmp.Diff(result{
		Digest: expected, Before: 50, February: 30, Small: 2, Price: 995, Total: 2, Title: 10,
		Files:      []int{1, 1, 1, 1, 0},
		Partitions: []string{"{'day_month': 672}", "{'day_month': 673}"},
		Bounds:     []bool{true, true, true, true, true, true, true, true, true},
	}, got); diff != "" {
		t.Errorf("pyiceberg reads (-want +got):\n%s", diff)
	}
}

// pyiceberg runs a script over the lake and reads what it prints; the test is skipped where there is no pyiceberg.
func pyiceberg(t *testing.T, l *lake.Lake, script string, into any, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "python3", "-c", "import pyiceberg.catalog.sql, pyarrow, sqlalchemy").CombinedOutput(); err != nil {
		t.Skipf("python3 with pyiceberg[sql-sqlite,pyarrow] is not there: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "python3", append([]string{"-W", "ignore", "-c", script, l.Warehouse()}, args...)...)
	cmd.Env = append(os.Environ(), "PYICEBERG_HOME="+t.TempDir())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pyiceberg: %v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
