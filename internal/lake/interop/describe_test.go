package interop_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/iceberg-go"
	icebergtable "github.com/apache/iceberg-go/table"

	"github.com/shoplake/shoplake/internal/lake"
)

func TestDescribeRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := lake.Open(ctx, lake.Config{Warehouse: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test's own lake
	db := duck(t)
	const name = "silver.orders"
	table, err := l.EnsureTable(ctx, name, lake.Schema{
		Columns:   []lake.Column{{Name: "id", Type: "BIGINT", Required: true}, {Name: "day", Type: "DATE"}, {Name: "note", Type: "VARCHAR"}, {Name: "tags", Type: "VARCHAR[]"}},
		Partition: lake.Partition{Transform: lake.Month, Column: "day"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const good = "select 1::bigint as id, date '2026-01-02' as day, 'x' as note, ['y'] as tags"
	const ids = "{id: 1, day: 2, note: 3, tags: {__duckdb_field_id: 4, element: 5}}"
	const month = "2026-01"
	for i, tc := range []struct {
		what, query, ids, partition, says string
	}{
		{"all is well", good, ids, month, ""},
		{"an optional column is missing", "select id, day from (" + good + ")", "{id: 1, day: 2}", month, ""},
		{"another order", "select tags, note, day, id from (" + good + ")", ids, month, ""},
		{"another month", good, ids, "2026-02", `rows of partition "2026-01"`},
		{"two months", good + " union all select 2, date '2026-02-01', 'x', ['y']", ids, month, `rows of partition "2026-02"`},
		{"some without a day", good + " union all select 2, null, 'x', ['y']", ids, month, "1 of its 2 rows have no day"},
		{"none has a day", "select id, null::date as day from (" + good + ")", "{id: 1, day: 2}", lake.NullPartition, ""},
		{"none has a day column", "select id from (" + good + ")", "{id: 1}", lake.NullPartition, ""},
		{"a day in no partition", good, ids, lake.NullPartition, "have no day"},
		{"no such month", good, ids, "2026-13", "no month"},
		{"no partition", good, ids, "", "no month"},
		{"a null in a required column", "select null::bigint as id, day from (" + good + ")", "{id: 1, day: 2}", month, "column id is required"},
		{"no required column", "select day from (" + good + ")", "{day: 2}", month, "lacks the required column id"},
		{"no field ids", "select id, day from (" + good + ")", "", month, "field id"},
		{"swapped field ids", "select id, day from (" + good + ")", "{id: 2, day: 1}", month, "field id"},
		{"no ids of elements", good, "{id: 1, day: 2, note: 3, tags: 4}", month, "field id"},
		{"an unknown column", good + ", 1 as more", "{id: 1, day: 2, note: 3, tags: {__duckdb_field_id: 4, element: 5}, more: 9}", month, "none of the table's"},
		{"another type", "select id::integer as id, day from (" + good + ")", "{id: 1, day: 2}", month, "cast it"},
		{"a time for a day", "select id, day::timestamp as day from (" + good + ")", "{id: 1, day: 2}", month, "cast it"},
		{"no list", "select id, day, 'y' as tags from (" + good + ")", "{id: 1, day: 2, tags: 4}", month, "field id"},
		{"no rows", good + " limit 0", ids, month, "no rows"},
	} {
		path := filepath.Join(l.Staging(name, "run"), fmt.Sprintf("%d.parquet", i))
		option := ""
		if tc.ids != "" {
			option = ", field_ids " + tc.ids
		}
		run(t, db, fmt.Sprintf("copy (%s) to '%s' (format parquet%s)", tc.query, path, option))
		_, err := l.Describe(ctx, path, table.Schema, tc.partition)
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error %v, want %q", tc.what, err, tc.says)
		}
	}

	for what, content := range map[string]string{"empty": "", "junk": strings.Repeat("PAR1", 100), "half": "PAR1"} {
		path := filepath.Join(l.Staging(name, "run"), what+".parquet")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Describe(ctx, path, table.Schema, month); err == nil {
			t.Errorf("%s: a file that is no Parquet was described", what)
		}
	}
	outside := filepath.Join(t.TempDir(), "a.parquet")
	run(t, db, fmt.Sprintf("copy (%s) to '%s' (format parquet, field_ids %s)", good, outside, ids))
	link := filepath.Join(l.Staging(name, "run"), "link.parquet")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{outside, link, filepath.Join(l.Warehouse(), "..", "x.parquet"), filepath.Join(l.Warehouse(), "missing.parquet")} {
		if _, err := l.Describe(ctx, path, table.Schema, month); err == nil {
			t.Errorf("%s was described", path)
		}
	}
}

// TestBoundsHold has values that are hard to bound: whatever an entry says, no reader may skip a row by it.
func TestBoundsHold(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := lake.Open(ctx, lake.Config{Warehouse: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test's own lake
	db := duck(t)
	const name = "silver.texts"
	table, err := l.EnsureTable(ctx, name, lake.Schema{Columns: []lake.Column{{Name: "text", Type: "VARCHAR"}, {Name: "total", Type: "DECIMAL(38,4)"}}})
	if err != nil {
		t.Fatal(err)
	}
	const huge = "9999999999999999999999999999999999.9999"
	path := filepath.Join(l.Staging(name, "run"), "a.parquet")
	// One row group of ordinary texts, one of very long ones, one of the highest characters there are.
	write(t, db, "select 'm' || i as text, i as total from range(2048) r(i) "+
		"union all select repeat('z', 20000), "+huge+" from range(2048) "+
		"union all select repeat(chr(1114111), 300), -"+huge+" from range(2048)", path, table.Columns, ", row_group_size 2048")
	staged, err := l.Describe(ctx, path, table.Schema, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(ctx, lake.Commit{Table: name, Add: []lake.Staged{staged}}); err != nil {
		t.Fatal(err)
	}
	it, err := openCatalog(t, l).LoadTable(ctx, []string{"silver", "texts"})
	if err != nil {
		t.Fatal(err)
	}
	thousand, err := iceberg.DecimalLiteral{Scale: 4, Val: decimal128.FromI64(10_000_000)}.To(iceberg.DecimalTypeOf(38, 4))
	if err != nil {
		t.Fatal(err)
	}
	text, total := iceberg.Reference("text"), iceberg.Reference("total")
	for _, tc := range []struct {
		filter iceberg.BooleanExpression
		rows   int64
	}{
		{iceberg.GreaterThanEqual(text, "zz"), 4096},
		{iceberg.LessThan(text, "n"), 2048},
		{iceberg.GreaterThan(text, strings.Repeat("z", 17)), 4096},
		{iceberg.GreaterThan(text, strings.Repeat("\U0010ffff", 299)), 2048},
		{iceberg.LiteralPredicate(iceberg.OpGT, total, thousand), 2048 + 1047},
		{iceberg.LiteralPredicate(iceberg.OpLT, total, thousand), 2048 + 1000},
	} {
		result, err := it.Scan(icebergtable.WithRowFilter(tc.filter)).ToArrowTable(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if result.NumRows() != tc.rows {
			t.Errorf("%s reads %d rows, want %d", tc.filter, result.NumRows(), tc.rows)
		}
		result.Release()
	}
}

// TestRequiredColumns has each type required, with values that are hard on statistics: DuckDB must still count the nulls.
func TestRequiredColumns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := lake.Open(ctx, lake.Config{Warehouse: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test's own lake
	db := duck(t)
	const name = "silver.required"
	schema := lake.Schema{Columns: []lake.Column{
		{Name: "tiny", Type: "SMALLINT"}, {Name: "flag", Type: "BOOLEAN"}, {Name: "ratio", Type: "DOUBLE"}, {Name: "real", Type: "FLOAT"},
		{Name: "raw", Type: "BLOB"}, {Name: "text", Type: "VARCHAR"}, {Name: "huge", Type: "HUGEINT"}, {Name: "clock", Type: "TIME"},
		{Name: "local", Type: "TIMESTAMP"}, {Name: "seen", Type: "TIMESTAMPTZ"}, {Name: "day", Type: "DATE"}, {Name: "price", Type: "DECIMAL(5,2)"},
		{Name: "extra", Type: "JSON"}, {Name: "big", Type: "UBIGINT"},
	}}
	for i := range schema.Columns {
		schema.Columns[i].Required = true
	}
	schema.Columns = append(schema.Columns, lake.Column{Name: "list", Type: "DECIMAL(18,4)[]"}, lake.Column{Name: "days", Type: "DATE[]"})
	table, err := l.EnsureTable(ctx, name, schema)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.Staging(name, "run"), "a.parquet")
	write(t, db, `select i::smallint as tiny, i % 2 = 0 as flag, if(i = 3, 'nan'::double, i) as ratio, if(i = 3, 'inf'::float, i) as real,
		encode(repeat('x', 30000)) as raw, repeat('x', 30000) as text, 170141183460469231731687303715884105727 // 10 as huge, time '12:00:00.000001' as clock,
		timestamp '0001-01-01' as local, timestamptz '9999-12-31 23:59:59+00' as seen, date '2026-01-01' as day, 1.5 as price, '{}' as extra,
		18446744073709551615 as big, [1.5, null] as list, [date '2026-01-01'] as days from range(10) r(i)`, path, table.Columns, "")
	staged, err := l.Describe(ctx, path, table.Schema, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(ctx, lake.Commit{Table: name, Add: []lake.Staged{staged}}); err != nil {
		t.Fatal(err)
	}
	it, err := openCatalog(t, l).LoadTable(ctx, []string{"silver", "required"})
	if err != nil {
		t.Fatal(err)
	}
	result, err := it.Scan().ToArrowTable(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Release()
	if result.NumRows() != 10 || result.NumCols() != int64(len(schema.Columns)) {
		t.Errorf("the scan has %d rows of %d columns", result.NumRows(), result.NumCols())
	}
}
