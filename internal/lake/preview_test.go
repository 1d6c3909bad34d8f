package lake_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/lake"
)

func TestPreviewTableChangesNothing(t *testing.T) {
	t.Parallel()
	l := openLake(t, t.TempDir())
	const name = "bronze.orders"
	asked := lake.Schema{
		Columns:   []lake.Column{{Name: "tags", Type: "varchar[]"}, {Name: "day", Type: "DATE", Required: true}, {Name: "rows", Type: "INTEGER"}},
		Partition: lake.Partition{Transform: lake.Month, Column: "day"},
	}
	preview := func(asked lake.Schema, snapshot int64) (*lake.Table, error) {
		return l.PreviewTable(t.Context(), name, asked, snapshot)
	}
	table, err := preview(asked, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []lake.Column{{ID: 1, Name: "tags", Type: "VARCHAR[]"}, {ID: 3, Name: "day", Type: "DATE", Required: true}, {ID: 4, Name: "rows", Type: "INTEGER"}}
	if diff := cmp.Diff(want, table.Columns); diff != "" || table.SnapshotID != 0 || table.Partition != asked.Partition {
		t.Errorf("a table that is not there is %+v (-want +got):\n%s", table, diff)
	}
	if names, err := l.Tables(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("the preview made %v, %v", names, err)
	}

	made := ensure(t, l, name, asked)
	first := commit(t, l, lake.Commit{Table: name, Properties: map[string]string{"shoplake.run": "first"}})
	commit(t, l, lake.Commit{Table: name, Properties: map[string]string{"shoplake.run": "second"}})
	asked.Columns = []lake.Column{{Name: "rows", Type: "BIGINT"}, {Name: "extra", Type: "JSON"}, {Name: "day", Type: "DATE", Required: true}}
	table, err = preview(asked, first)
	if err != nil {
		t.Fatal(err)
	}
	if table.SnapshotID != first || table.Summary["shoplake.run"] != "first" {
		t.Errorf("the preview is of snapshot %d, %v", table.SnapshotID, table.Summary)
	}
	now, err := l.Table(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made.Columns, now.Columns, cmp.Transformer("byName", func(columns []lake.Column) map[string]lake.Column {
		byName := map[string]lake.Column{}
		for _, c := range columns {
			byName[c.Name] = c
		}
		return byName
	})); diff != "" {
		t.Errorf("the preview changed the table (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(ensure(t, l, name, asked).Columns, table.Columns); diff != "" {
		t.Errorf("the table is not as its preview said (-table +preview):\n%s", diff)
	}

	asked.Partition = lake.Partition{}
	if table, err := preview(asked, first); err != nil || table.Partition != asked.Partition {
		t.Errorf("the preview of another partition is %+v, %v", table, err)
	}
	if now, err := l.Table(t.Context(), name); err != nil || now.Partition == asked.Partition {
		t.Errorf("the preview changed the table's partition: %+v, %v", now, err)
	}
	if _, err := preview(asked, 99); err == nil {
		t.Error("a snapshot that is not there is previewed")
	}
}
