package lake

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// PreviewTable gives a table as EnsureTable would leave it, as of a snapshot (0 is the empty table), and changes nothing.
// The ids of columns that the table does not have yet are good only for files that no commit will name.
func (l *Lake) PreviewTable(ctx context.Context, name string, schema Schema, snapshotID int64) (*Table, error) {
	result, err := l.previewTable(ctx, name, schema, snapshotID)
	if err != nil {
		return nil, fmt.Errorf("preview table %s: %w", name, err)
	}
	return result, nil
}

func (l *Lake) previewTable(ctx context.Context, name string, schema Schema, snapshotID int64) (*Table, error) {
	if err := schema.check(); err != nil {
		return nil, err
	}
	t, err := l.load(ctx, name)
	if errors.Is(err, ErrNotFound) && snapshotID == 0 {
		return newTable(name, schema)
	}
	if err != nil {
		return nil, err
	}
	tx, err := evolution(t, schema)
	if err != nil {
		return nil, err
	}
	sc := t.Schema()
	if tx != nil {
		staged, err := tx.StagedTable()
		if err != nil {
			return nil, err
		}
		sc = staged.Schema()
	}
	var snapshot *table.Snapshot
	if snapshotID != 0 {
		if snapshot = t.SnapshotByID(snapshotID); snapshot == nil {
			return nil, fmt.Errorf("snapshot %d: %w: it may have expired", snapshotID, ErrNotFound)
		}
	}
	result, err := tableAt(name, t, sc, snapshot)
	if err != nil {
		return nil, err
	}
	result.Columns, result.Partition = result.chosen(schema), schema.Partition
	return result, nil
}

// newTable is a table that nobody has made: its columns have the ids in their order.
func newTable(name string, schema Schema) (*Table, error) {
	if _, err := identifier(name); err != nil {
		return nil, err
	}
	next := 1
	fields := make([]iceberg.NestedField, 0, len(schema.Columns))
	for _, c := range schema.Columns {
		t, err := icebergType(c.Type)
		if err != nil {
			return nil, err
		}
		c.ID = next
		next++
		if list, ok := t.(*iceberg.ListType); ok {
			list.ElementID = c.ElementID()
			next++
		}
		fields = append(fields, iceberg.NestedField{ID: c.ID, Name: c.Name, Type: t, Required: c.Required})
	}
	s, err := schemaOf(iceberg.NewSchema(0, fields...), *iceberg.UnpartitionedSpec)
	s.Partition = schema.Partition
	return &Table{Name: name, Schema: s}, err
}

// RemoveStaging removes the folder that Staging names, with the files in it: for a run that never commits.
func (l *Lake) RemoveStaging(table, run string) error {
	layer, name, _ := strings.Cut(table, ".")
	rel := filepath.Join(pathPart(layer), pathPart(name), "data", pathPart(run))
	if err := l.root.RemoveAll(rel); err != nil {
		return fmt.Errorf("remove the staged files of run %s of %s: %w", run, table, err)
	}
	return nil
}
