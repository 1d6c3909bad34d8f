package interop_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/lake"
)

// maintained reads the table as it is, and as it was at a snapshot that did not expire.
const maintained = `
import json, sys
from pyiceberg.catalog.sql import SqlCatalog
import pyarrow.compute as pc
cat = SqlCatalog("shoplake", uri="sqlite:///" + sys.argv[1] + "/catalog.db", warehouse=sys.argv[1])
t = cat.load_table("silver.everything")
a = t.scan().to_arrow()
b = t.scan(snapshot_id=int(sys.argv[2])).to_arrow()
print(json.dumps({
  "Rows": a.num_rows, "Cents": str(pc.sum(a["cents"]).as_py()), "Kept": b.num_rows, "KeptCents": str(pc.sum(b["cents"]).as_py()),
  "Operations": [s.summary.operation.value for s in sorted(t.metadata.snapshots, key=lambda s: s.sequence_number)],
  "Files": len(t.inspect.files().to_pylist()), "February": len(list(t.scan(row_filter="day >= '2026-02-01'").plan_files())),
  "Names": "schema.name-mapping.default" in t.properties,
}))
`

// TestMaintainedTable compacts a table, expires what came before, all but one snapshot, and removes what nothing names then:
// iceberg-go and pyiceberg read it as before.
func TestMaintainedTable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, db, current := fill(t, t.TempDir())
	expected := want(t, l, db, current)
	kept := current.SnapshotID
	write(t, db, fmt.Sprintf("select *, null::varchar as extra from ("+rows+")", "date '2026-02-01'", 10), filepath.Join(l.Staging(name, "run2"), "d.parquet"), current.Columns, "")
	d, err := l.Describe(ctx, filepath.Join(l.Staging(name, "run2"), "d.parquet"), current.Schema, "2026-02")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(ctx, lake.Commit{Table: name, Add: []lake.Staged{d}, Token: "3"}); err != nil {
		t.Fatal(err)
	}
	files, err := l.Files(ctx, name, mustTable(t, l).SnapshotID)
	if err != nil {
		t.Fatal(err)
	}
	var february, list []string
	for _, f := range files {
		if f.Partition == "2026-02" {
			february, list = append(february, f.Path), append(list, "'"+f.Path+"'")
		}
	}
	// As a worker does it: one of the files lacks a column and has narrower types.
	path := filepath.Join(l.Staging(name, "run3"), "compacted.parquet")
	write(t, db, "select * from read_parquet(["+strings.Join(list, ", ")+"], union_by_name=true)", path, current.Columns, "")
	one, err := l.Describe(ctx, path, current.Schema, "2026-02")
	if err != nil {
		t.Fatal(err)
	}
	compaction, err := l.Commit(ctx, lake.Commit{Table: name, Remove: february, Add: []lake.Staged{one}, Token: "4", Compaction: true})
	if err != nil {
		t.Fatal(err)
	}
	history, err := l.Snapshots(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	var old []int64
	for _, s := range history {
		if s.ID != kept && s.ID != compaction {
			old = append(old, s.ID)
		}
	}
	if n, err := l.Expire(ctx, name, old, 0); err != nil || n != 2 {
		t.Fatalf("expired %d: %v", n, err)
	}
	if removed, err := l.RemoveOrphans(ctx, name, 0, func(lake.Stored) bool { return true }); err != nil || removed.Files == 0 || removed.Failed > 0 {
		t.Fatalf("removed %+v: %v", removed, err)
	}

	it, err := openCatalog(t, l).LoadTable(ctx, table.Identifier{"silver", "everything"})
	if err != nil {
		t.Fatal(err)
	}
	for _, scan := range []struct {
		options []table.ScanOption
		rows    int64
	}{{nil, expected.Rows + 10}, {[]table.ScanOption{table.WithSnapshotID(kept)}, expected.Rows}} {
		result, err := it.Scan(scan.options...).ToArrowTable(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if result.NumRows() != scan.rows {
			t.Errorf("iceberg-go reads %d rows, want %d", result.NumRows(), scan.rows)
		}
		result.Release()
	}

	type result struct {
		Rows, Kept       int64
		Cents, KeptCents string
		Operations       []string
		Files, February  int
		Names            bool
	}
	wanted := result{Rows: expected.Rows + 10, Kept: expected.Rows, KeptCents: expected.Cents, Operations: []string{"overwrite", "replace"}, Files: 2, February: 1}
	if err := db.QueryRow("select sum(cents)::varchar from read_parquet(['" + strings.Join(pathsOf(t, l, compaction), "', '") + "'], union_by_name=true)").Scan(&wanted.Cents); err != nil {
		t.Fatal(err)
	}
	var got result
	pyiceberg(t, l, maintained, &got, fmt.Sprint(kept))
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("pyiceberg reads (-want +got):\n%s", diff)
	}
}

func mustTable(t *testing.T, l *lake.Lake) *lake.Table {
	t.Helper()
	current, err := l.Table(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return current
}

func pathsOf(t *testing.T, l *lake.Lake, snapshot int64) []string {
	t.Helper()
	files, err := l.Files(context.Background(), name, snapshot)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	return paths
}
