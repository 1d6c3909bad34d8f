package lake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/lake"
)

func TestEnsureTable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	const name = "ops.quarantine"
	first := lake.Schema{
		Columns: []lake.Column{
			{Name: "rules", Type: "varchar[]"},
			{Name: "source", Type: "text", Required: true},
			{Name: "rows", Type: "INTEGER"},
			{Name: "price", Type: "decimal(10, 2)"},
			{Name: "seen", Type: "timestamptz"},
			{Name: "raw", Type: "BLOB"},
		},
		Partition: lake.Partition{Transform: lake.Identity, Column: "source"},
	}
	table := ensure(t, l, name, first)
	want := lake.Schema{
		Columns: []lake.Column{
			{ID: 6, Name: "rules", Type: "VARCHAR[]"},
			{ID: 1, Name: "source", Type: "VARCHAR", Required: true},
			{ID: 2, Name: "rows", Type: "INTEGER"},
			{ID: 3, Name: "price", Type: "DECIMAL(10,2)"},
			{ID: 4, Name: "seen", Type: "TIMESTAMP WITH TIME ZONE"},
			{ID: 5, Name: "raw", Type: "BLOB"},
		},
		Partition: first.Partition,
	}
	if diff := cmp.Diff(want, table.Schema); diff != "" {
		t.Errorf("a new table (-want +got):\n%s", diff)
	}
	if table.SnapshotID != 0 || table.Location != l.Warehouse()+"/ops/quarantine" {
		t.Errorf("a new table is %+v", table)
	}
	before := commit(t, l, lake.Commit{Table: name})

	// The same again changes nothing; wider, narrower, more and fewer columns do.
	if diff := cmp.Diff(want, ensure(t, l, name, first).Schema); diff != "" {
		t.Errorf("the same table again (-want +got):\n%s", diff)
	}
	evolved := ensure(t, l, name, lake.Schema{
		Columns: []lake.Column{
			{Name: "notes", Type: "VARCHAR[]", Required: true},
			{Name: "rows", Type: "BIGINT", Required: true},
			{Name: "price", Type: "DECIMAL(18,2)"},
			{Name: "source", Type: "VARCHAR"},
			{Name: "extra", Type: "JSON"},
		},
		Partition: first.Partition,
	})
	if diff := cmp.Diff([]lake.Column{
		{ID: 8, Name: "notes", Type: "VARCHAR[]"},
		{ID: 2, Name: "rows", Type: "BIGINT"},
		{ID: 3, Name: "price", Type: "DECIMAL(18,2)"},
		{ID: 1, Name: "source", Type: "VARCHAR"},
		{ID: 10, Name: "extra", Type: "VARCHAR"},
	}, evolved.Columns); diff != "" {
		t.Errorf("the evolved table (-want +got):\n%s", diff)
	}
	after := commit(t, l, lake.Commit{Table: name})
	for id, columns := range map[int64]int{before: 6, after: 8} {
		at, err := l.TableAt(ctx, name, id)
		if err != nil || len(at.Columns) != columns {
			t.Errorf("the table at %d has the columns %v (%v), want %d", id, at.Columns, err, columns)
		}
	}
	if names, err := l.Tables(ctx); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("tables are %v, %v", names, err)
	}

	column := func(name, typ string) lake.Schema {
		s := first
		s.Columns = append(slices.Clone(first.Columns), lake.Column{Name: name, Type: typ})
		return s
	}
	replaced := func(name, typ string) lake.Schema {
		s := first
		s.Columns = slices.Clone(first.Columns)
		i := slices.IndexFunc(s.Columns, func(c lake.Column) bool { return c.Name == name })
		s.Columns[i].Type = typ
		return s
	}
	partitioned := func(transform lake.Transform, column string) lake.Schema {
		s := first
		s.Partition = lake.Partition{Transform: transform, Column: column}
		return s
	}
	for what, s := range map[string]lake.Schema{
		"no columns":              {},
		"only lists":              {Columns: []lake.Column{{Name: "a", Type: "VARCHAR[]"}}},
		"a column twice":          column("rows", "BIGINT"),
		"an upper-case name":      column("Rows2", "BIGINT"),
		"an unknown type":         column("x", "INTERVAL"),
		"a list of lists":         column("x", "VARCHAR[][]"),
		"a text for a number":     replaced("rows", "VARCHAR"),
		"another scale":           replaced("price", "DECIMAL(18,3)"),
		"a list for a text":       replaced("source", "VARCHAR[]"),
		"other elements":          replaced("rules", "BIGINT[]"),
		"an unknown partition":    partitioned(lake.Identity, "nothing"),
		"a partition of decimals": partitioned(lake.Identity, "price"),
		"a month of texts":        partitioned(lake.Month, "source"),
	} {
		if _, err := l.EnsureTable(ctx, name, s); !errors.Is(err, lake.ErrIncompatible) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if _, err := l.Table(ctx, "ops.other"); !errors.Is(err, lake.ErrNotFound) {
		t.Errorf("an unknown table: %v", err)
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	l := openLake(t, t.TempDir())
	for name, tc := range map[string]struct {
		partition lake.Partition
		text      string
		rows      []sale
	}{
		"silver.by_month": {lake.Partition{Transform: lake.Month, Column: "day"}, "2026-01", []sale{{id: "a", day: "2026-01-01"}, {id: "b", day: "2026-01-31"}}},
		"silver.old":      {lake.Partition{Transform: lake.Month, Column: "day"}, "1969-11", []sale{{id: "a", day: "1969-11-30"}}},
		"silver.by_day":   {lake.Partition{Transform: lake.Identity, Column: "day"}, "2024-02-29", []sale{{id: "a", day: "2024-02-29"}}},
		"silver.before":   {lake.Partition{Transform: lake.Identity, Column: "day"}, "1969-12-31", []sale{{id: "a", day: "1969-12-31"}}},
		"silver.by_null":  {lake.Partition{Transform: lake.Month, Column: "day"}, lake.NullPartition, []sale{{id: "a"}}},
		"silver.by_text": {lake.Partition{Transform: lake.Identity, Column: "id"}, "a source whose name is longer than a bound",
			[]sale{{id: "a source whose name is longer than a bound"}}},
		"silver.by_number": {lake.Partition{Transform: lake.Identity, Column: "number"}, "-7", []sale{{number: -7}}},
		"silver.whole":     {lake.Partition{}, "", []sale{{id: "a"}}},
	} {
		s := sales()
		s.Partition = tc.partition
		table := ensure(t, l, name, s)
		staged := stage(t, l, table, "run", "a", tc.text, tc.rows...)
		id := commit(t, l, lake.Commit{Table: name, Add: []lake.Staged{staged}})
		files, err := l.Files(context.Background(), name, id)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 1 || files[0] != staged.File || files[0].Partition != tc.text {
			t.Errorf("%s: files are %+v, want %+v", name, files, staged.File)
		}
	}
}

// A table that is partitioned anew keeps its files as they are until they are replaced, and may go back.
func TestRepartition(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	const name = "silver.sales"
	byMonth, byDay := lake.Partition{Transform: lake.Month, Column: "day"}, lake.Partition{Transform: lake.Identity, Column: "day"}
	s := sales()
	var before lake.Staged
	var beforeID int64
	for i, by := range []lake.Partition{byMonth, byDay, {}, byMonth} {
		s.Partition = by
		table := ensure(t, l, name, s)
		if table.Partition != by {
			t.Fatalf("asked for a partition by %s the table has one by %s", by, table.Partition)
		}
		text := map[lake.Partition]string{byMonth: "2026-01", byDay: "2026-01-31"}[by]
		staged := stage(t, l, table, "run", fmt.Sprint("f", i), text, sale{id: "a", day: "2026-01-31"})
		c := lake.Commit{Table: name, Add: []lake.Staged{staged}}
		if i > 0 {
			if files, err := l.Files(ctx, name, table.SnapshotID); err != nil || len(files) != 1 || files[0] != before.File {
				t.Errorf("before it is built anew the table has %+v (%v), want %+v", files, err, before.File)
			}
			c.Remove = []string{before.Path}
		}
		id := commit(t, l, c)
		if i > 0 {
			added, removed, err := l.Changes(ctx, name, beforeID, id)
			if err != nil || len(added) != 1 || len(removed) != 1 || added[0] != staged.File || removed[0] != before.File {
				t.Errorf("%s after %s: added are %+v, removed %+v (%v)", by, before.PartitionedBy, added, removed, err)
			}
		}
		before, beforeID = staged, id
	}
	s.Columns = append(slices.Clone(s.Columns), lake.Column{Name: "later", Type: "DATE"})
	s.Partition = lake.Partition{Transform: lake.Month, Column: "later"}
	ensure(t, l, name, s)
	if at, err := l.TableAt(ctx, name, beforeID); err != nil || len(at.Columns) != 4 {
		t.Errorf("before the column came the table was %+v, %v", at, err)
	}
}
