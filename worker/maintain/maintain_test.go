package maintain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/worker/maintain"
)

var columns = []engine.Column{{ID: 1, Name: "id", Type: "BIGINT", Required: true}, {ID: 2, Name: "tags", Type: "VARCHAR[]", ElementID: 3}, {ID: 4, Name: "later", Type: "VARCHAR"}}

// TestCompact rewrites files of which one was written before a column was added and another was widened.
func TestCompact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	options := engine.Options{ReadPaths: []string{dir}, WritePaths: []string{dir}}
	session, err := engine.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	old, added, out := filepath.Join(dir, "old[1].parquet"), filepath.Join(dir, "new.parquet"), filepath.Join(dir, "out", "one.parquet")
	if _, err := session.Export(t.Context(), "SELECT 1::INTEGER AS id, ['a', NULL] AS tags UNION ALL SELECT 2, NULL", old, []engine.Column{{Name: "id", Type: "INTEGER"}, {Name: "tags", Type: "VARCHAR[]"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Export(t.Context(), "SELECT 5000000000 AS id, []::VARCHAR[] AS tags, 'ü' AS later", added, columns); err != nil {
		t.Fatal(err)
	}
	request := maintain.Request{Table: "bronze.sales", Columns: columns, Files: []string{old, added}, Rows: 3, Path: out, Engine: options}
	if err := maintain.Compact(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := session.Table(t.Context(), "read.one", columns, []string{out}, ""); err != nil {
		t.Fatal(err)
	}
	rows, err := session.Query(t.Context(), "SELECT CAST(t AS VARCHAR) FROM read.one AS t ORDER BY id", nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := rows.All()
	if err != nil {
		t.Fatal(err)
	}
	want := "[[{'id': 1, 'tags': [a, NULL], 'later': NULL}] [{'id': 2, 'tags': NULL, 'later': NULL}] [{'id': 5000000000, 'tags': [], 'later': ü}]]"
	if diff := cmp.Diff(want, fmt.Sprint(all)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}

	// A file that has other rows than the plan says is never taken for it.
	for _, n := range []int64{2, 4} {
		request.Rows, request.Path = n, filepath.Join(dir, "refused.parquet")
		if err := maintain.Compact(t.Context(), request); !errors.Is(err, maintain.ErrNotConserved) {
			t.Errorf("3 rows for %d: %v", n, err)
		}
		if _, err := os.Stat(request.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the refused file is left: %v", err)
		}
	}
}
