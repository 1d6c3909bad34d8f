package lake

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/table"
	"go.opentelemetry.io/otel/attribute"
)

// Expire forgets snapshots of a table, and returns how many there were: those named that are still there. The current one is
// refused. It deletes no file: what only they named is then named by nothing, see RemoveOrphans. It may be repeated.
//
// The library's own ExpireSnapshots decides by age and count alone, and could expire what `published` still names.
func (l *Lake) Expire(ctx context.Context, name string, ids []int64, epoch uint64) (expired int, err error) {
	doing := "expire snapshots of " + name
	if err := l.needCatalog(doing); err != nil {
		return 0, err
	}
	ctx, end := traced(ctx, "lake.expire", attribute.String("shoplake.table", name), attribute.Int("shoplake.snapshots", len(ids)))
	defer func() { end(err) }()
	unlock, err := l.lock(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	defer unlock()
	err = retry(ctx, func() error {
		t, err := l.load(ctx, name)
		if err != nil {
			return err
		}
		if err := (notFenced{epoch}).Validate(t.Metadata()); err != nil {
			return err
		}
		current := currentID(t)
		if slices.Contains(ids, current) {
			return permanent(fmt.Errorf("snapshot %d is the current one, which never expires", current))
		}
		gone := slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return t.SnapshotByID(id) == nil })
		if expired = len(gone); expired == 0 {
			return nil
		}
		_, _, err = fencedCatalog{l.commits, epoch, nil}.CommitTable(ctx, t.Identifier(),
			[]table.Requirement{table.AssertTableUUID(t.Metadata().TableUUID()), table.AssertRefSnapshotID(table.MainBranch, &current)},
			[]table.Update{table.NewRemoveSnapshotsUpdate(gone, false)})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	return expired, nil
}
