package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestExportPartsWritesAFileForEachValue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session := open1(t, Options{WritePaths: []string{dir}, Threads: 3})
	const rows, parts = 400_000, 40
	query := fmt.Sprintf("select i as id, case when i %% %d > 0 then 'a/b=' || (i %% %d) || ' %%ü' end as name from range(%d) as r(i)", parts, parts, rows)
	files, err := session.ExportParts(t.Context(), query, "name", filepath.Join(dir, "new", "parts"),
		[]Column{{ID: 7, Name: "name", Type: "VARCHAR"}, {ID: 3, Name: "id", Type: "BIGINT", Required: true}})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != parts {
		t.Errorf("%d files for %d values", len(files), parts)
	}
	var seen []string
	for _, f := range files {
		seen = append(seen, f.Value)
		if f.Rows != rows/parts {
			t.Errorf("%q has %d rows, want %d", f.Value, f.Rows, rows/parts)
		}
		want := fmt.Sprintf("%d|%d|%s", f.Rows, f.Rows, f.Value)
		if f.Null {
			want = fmt.Sprintf("%d|0|<nil>", f.Rows)
		}
		wantRows(t, session, "select count(*), count(name), min(name) from read_parquet("+quote(literalPath(f.Path))+")", nil, want)
		wantRows(t, session, "select name, field_id from parquet_schema("+quote(literalPath(f.Path))+") where field_id is not null order by all", nil, "id|3", "name|7")
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != parts {
		t.Errorf("values come more than once: %q", seen)
	}
}

func TestExportPartsLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session := open1(t, Options{WritePaths: []string{dir}})
	for name, query := range map[string]string{
		"no rows":     "select 1 as id where false",
		"a null":      "select unnest([1, null]) as id",
		"wrong query": "select 'x' as id",
	} {
		folder := filepath.Join(dir, name)
		files, err := session.ExportParts(t.Context(), query, "id", folder, []Column{{Name: "id", Type: "BIGINT", Required: true}})
		if (err != nil) != (name != "no rows") || len(files) > 0 {
			t.Errorf("%s: %v, %v", name, files, err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the folder is there: %v", name, err)
		}
	}
}
