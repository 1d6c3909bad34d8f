package lake

import (
	"context"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// OnFlush lets a test hear of each file that is flushed to the disk, of whatever lake.
func OnFlush(told func(path string)) { onFlush.Store(&told) }

// Interpose lets a test come between a commit's look at the table and the catalog's compare-and-set: where a coordinator sleeps.
func (l *Lake) Interpose(between func(table.CatalogIO) table.CatalogIO) {
	l.commits = between(l.commits)
}

// SetProperty sets a table's property, as another program may.
func (l *Lake) SetProperty(ctx context.Context, name, key, value string) error {
	t, err := l.load(ctx, name)
	if err != nil {
		return err
	}
	tx := t.NewTransaction()
	if err := tx.SetProperties(iceberg.Properties{key: value}); err != nil {
		return err
	}
	_, err = tx.Commit(ctx)
	return err
}

// Refer gives a snapshot a tag or makes it the head of a branch, as another program may.
func (l *Lake) Refer(ctx context.Context, name, ref string, kind table.RefType, snapshot int64) error {
	t, err := l.load(ctx, name)
	if err != nil {
		return err
	}
	_, _, err = l.cat.CommitTable(ctx, t.Identifier(), nil, []table.Update{table.NewSetSnapshotRefUpdate(ref, snapshot, kind, -1, -1, -1)})
	return err
}
