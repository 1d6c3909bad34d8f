package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var wide = []Column{
	{Name: "id", Type: "BIGINT"}, {Name: "name", Type: "VARCHAR"}, {Name: "price", Type: "DECIMAL(20,4)"}, {Name: "tags", Type: "VARCHAR[]"},
	{Name: "at", Type: "TIMESTAMP WITH TIME ZONE"}, {Name: "later", Type: "DATE"},
}

// writeVersions writes files as a table's history leaves them: columns added, types widened, in another order.
func writeVersions(t *testing.T, session *Session, dir string) []string {
	t.Helper()
	var files []string
	for i, sql := range []string{
		"select 1::integer as id, 'a' as name, 1.5::decimal(18,4) as price, 'unknown' as other",
		"select ['x', 'y'] as tags, 2::bigint as id, timestamptz '2026-01-01 00:00:00+00' as at, 2.25::decimal(20,4) as price",
		"select date '2026-02-01' as later, 'c' as name, 3::bigint as id",
	} {
		path := filepath.Join(dir, string(rune('a'+i))+".parquet")
		if err := session.Exec(t.Context(), "copy ("+sql+") to '"+path+"' (format parquet)"); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	return files
}

func TestTableReadsFilesOfSeveralVersions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session := open1(t, Options{WritePaths: []string{dir}})
	files := writeVersions(t, session, dir)
	all := []string{
		"1|a|1.5000|<nil>|<nil>|<nil>",
		"2|<nil>|2.2500|[x y]|2026-01-01T00:00:00Z|<nil>",
		"3|c|<nil>|<nil>|<nil>|2026-02-01T00:00:00Z",
	}
	for name, define := range map[string]func(string, []string) error{
		"silver.viewed": func(name string, files []string) error { return session.Table(t.Context(), name, wide, files, "") },
		"silver.loaded": func(name string, files []string) error { return session.Load(t.Context(), name, wide, files) },
	} {
		if err := define(name, files); err != nil {
			t.Fatal(err)
		}
		wantRows(t, session, "select * from "+name+" order by id", nil, all...)
		wantRows(t, session, "select id from "+name+" where later = date '2026-02-01'", nil, "3")
		wantRows(t, session, "select id from "+name+" where later is null and id > 1", nil, "2")
		wantRows(t, session, "select id from "+name+" where id = 1 and price = 1.5", nil, "1")
		wantRows(t, session, "select id from "+name+" where tags is not null", nil, "2")
		wantRows(t, session, "select typeof(id), typeof(price), typeof(tags), typeof(later) from "+name+" limit 1", nil, "BIGINT|DECIMAL(20,4)|VARCHAR[]|DATE")
		if err := define(name, files[:1]); err != nil {
			t.Fatal(err)
		}
		wantRows(t, session, "select * from "+name, nil, all[0])
		if err := define(name, nil); err != nil {
			t.Fatal(err)
		}
		wantRows(t, session, "select count(*), count(later), any_value(typeof(later)) from "+name, nil, "0|0|<nil>")
	}
	if err := session.Table(t.Context(), "silver.some", wide, files, "price > 2 or later is not null"); err != nil {
		t.Fatal(err)
	}
	wantRows(t, session, "select id from silver.some order by id", nil, "2", "3")
}

func TestTableIsReplacedByAnyOther(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	a := []Column{{Name: "a", Type: "BIGINT"}}
	for range 2 {
		if err := session.Table(t.Context(), "gold.t", a, nil, ""); err != nil {
			t.Fatal(err)
		}
		if err := session.Materialize(t.Context(), "gold.t", "select 1 as b"); err != nil {
			t.Fatal(err)
		}
		wantRows(t, session, "select b from gold.t", nil, "1")
	}
	if err := session.Drop(t.Context(), "gold.t"); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Query(t.Context(), "select * from gold.t", nil); err == nil {
		t.Error("the dropped table is still there")
	}
	for name, cols := range map[string][]Column{"t": a, "a.b.c": a, "gold.x": {{Name: "a", Type: "BIGINT); drop table x; --"}}, "gold.y": nil} {
		if err := session.Table(t.Context(), name, cols, nil, ""); err == nil {
			t.Errorf("%s %v was taken", name, cols)
		}
	}
}

func TestPathsAreNoPatterns(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, name := range []string{"a*b", "a[1]b", "it's?", "ü x"} {
		dir := filepath.Join(parent, name)
		session := open1(t, Options{WritePaths: []string{dir}})
		path := filepath.Join(dir, "part*[1].parquet")
		cols := []Column{{Name: "a", Type: "VARCHAR"}}
		if _, err := session.Export(t.Context(), "select 'right' as a", path, cols); err != nil {
			t.Fatal(err)
		}
		if _, err := session.Export(t.Context(), "select 'wrong' as a", filepath.Join(dir, "partX1.parquet"), cols); err != nil {
			t.Fatal(err)
		}
		if err := session.Load(t.Context(), "silver.t", cols, []string{path}); err != nil {
			t.Fatal(err)
		}
		wantRows(t, session, "select * from silver.t", nil, "right")
	}
}

func TestExportWritesTheDeclaredColumns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session := open1(t, Options{WritePaths: []string{dir}})
	path := filepath.Join(dir, "data", "run", "0.parquet")
	cols := []Column{
		{Name: "id", Type: "BIGINT", ID: 1, Required: true}, {Name: "price", Type: "DECIMAL(18,4)", ID: 3}, {Name: "tags", Type: "VARCHAR[]", ID: 7, ElementID: 8},
		{Name: "at", Type: "TIMESTAMP WITH TIME ZONE", ID: 9}, {Name: "day", Type: "DATE", ID: 10}, {Name: "raw", Type: "BLOB", ID: 11}, {Name: "n", Type: "INTEGER", ID: 12},
	}
	rows, err := session.Export(t.Context(), `-- the columns in another order, with one too many
		select 'x' as other, i % 7 as n, date '2026-01-01' + i::integer as day, null as raw, timestamptz '2026-01-01 00:00:00+00' as at, [i::varchar] as tags,
		i * 1.5 as price, i as id from range(1000) r(i) order by i desc;`, path, cols)
	if err != nil || rows != 1000 {
		t.Fatal(rows, err)
	}
	wantRows(t, session, "select name, field_id from parquet_schema('"+path+"') where field_id is not null", nil,
		"id|1", "price|3", "tags|7", "element|8", "at|9", "day|10", "raw|11", "n|12")
	wantRows(t, session, "select distinct compression from parquet_metadata('"+path+"')", nil, "ZSTD")
	if err := session.Load(t.Context(), "silver.t", cols, []string{path}); err != nil {
		t.Fatal(err)
	}
	wantRows(t, session, "select * from silver.t limit 1", nil, "999|1498.5000|[999]|2026-01-01T00:00:00Z|2028-09-26T00:00:00Z|<nil>|5")
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file: %v %v", left, err)
	}
}

func TestExportLeavesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session := open1(t, Options{WritePaths: []string{dir}})
	id := []Column{{Name: "id", Type: "INTEGER", Required: true}}
	path := filepath.Join(dir, "0.parquet")
	rows, err := session.Export(t.Context(), "select 1 as id where false", path, id)
	if err != nil || rows != 0 {
		t.Errorf("no rows: %d %v", rows, err)
	}
	for query, message := range map[string]string{
		"select null::integer as id": "required column id is null",
		"select case when i < 900000 then i end as id from range(1000000) r(i)": "required column id is null",
		"select 3000000000 as id":                     "out of range",
		"select 'x' as id":                            "x",
		"select 1 as other":                           "id",
		"select error('stop') as id from range(1000)": "stop",
	} {
		if _, err := session.Export(t.Context(), query, path, id); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: want an error with %q, got %v", query, message, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := session.Export(ctx, "select 1 as id", path, id); err == nil {
		t.Error("a cancelled export wrote")
	}
	if _, err := session.Export(t.Context(), "select 1 as id", filepath.Join(t.TempDir(), "0.parquet"), id); err == nil || !strings.Contains(err.Error(), "permission") {
		t.Errorf("outside of the write paths: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
