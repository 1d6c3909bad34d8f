package lake

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

const (
	// CompactsProperty marks, in a snapshot's summary, a compaction. It holds the ids of the snapshots that have the same rows:
	// its parent and, where that is a compaction too, those that the parent names, so that they may expire.
	CompactsProperty = "shoplake.compacts"
	// ReasonsProperty names, in a snapshot's summary, a file in the warehouse that says why the snapshot was made. The file stays as
	// long as the snapshot; a compaction does not inherit it.
	ReasonsProperty = "shoplake.reasons"
	// ownProperties is what the names of our properties begin with.
	ownProperties = "shoplake."
)

// Compacts are the snapshots before this one that have the same rows; none where this is no compaction.
func (s Snapshot) Compacts() []int64 { return compacted(s.Summary) }

// Compacts are the snapshots before the table's that have the same rows; none where it is no compaction.
func (t *Table) Compacts() []int64 { return compacted(t.Summary) }

func compacted(summary map[string]string) []int64 {
	var ids []int64
	for _, text := range strings.Split(summary[CompactsProperty], ",") {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// inherited is what the summary of a compaction says first: what the snapshot before it said (up to where the table is built,
// and by what), and which snapshots have the same rows.
func inherited(before *table.Snapshot) iceberg.Properties {
	summary := iceberg.Properties{}
	if before == nil {
		return summary
	}
	same := []string{strconv.FormatInt(before.SnapshotID, 10)}
	if before.Summary != nil {
		for name, value := range before.Summary.Properties {
			if strings.HasPrefix(name, ownProperties) && name != ReasonsProperty {
				summary[name] = value
			}
		}
		if older := before.Summary.Properties[CompactsProperty]; older != "" {
			same = append(same, older)
		}
	}
	summary[CompactsProperty] = strings.Join(same, ",")
	return summary
}

// rewrite replaces files by others with the same rows.
func rewrite(ctx context.Context, t *table.Table, tx *table.Transaction, remove, add []iceberg.DataFile, summary iceberg.Properties) error {
	rows := func(files []iceberg.DataFile) (n int64) {
		for _, f := range files {
			n += f.Count()
		}
		return n
	}
	if before, after := rows(remove), rows(add); len(remove) == 0 || before != after {
		return permanent(fmt.Errorf("a compaction must keep all rows, but %d files of %d rows would become %d files of %d rows", len(remove), before, len(add), after))
	}
	replacement := tx.NewRewrite(summary)
	for _, f := range remove {
		replacement.DeleteFile(f)
	}
	for _, f := range add {
		replacement.AddDataFile(f)
	}
	if err := replacement.Commit(ctx); err != nil {
		return err
	}
	if _, ok := t.Properties()[table.DefaultNameMappingKey]; ok {
		return nil
	}
	// The library adds a mapping of names to field ids, which our files carry themselves and which columns of later would lack.
	return tx.RemoveProperties([]string{table.DefaultNameMappingKey})
}

// Changes tells what changed between two snapshots of a table: the files that were added and those that were removed by each
// commit on the way, compactions left out, by path. What one commit added and a later one removed is not told. Rows of other
// files did not change; rows of these may not have changed either, since a commit may remove a compacted file for the sake of
// some of its rows. Snapshot 0 is the empty table. Where the way has expired the error wraps ErrExpired.
func (l *Lake) Changes(ctx context.Context, name string, from, to int64) (added, removed []File, err error) {
	t, err := l.load(ctx, name)
	if err == nil {
		added, removed, err = l.changes(ctx, t, from, to)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find what changed in %s from snapshot %d to %d: %w", name, from, to, err)
	}
	return added, removed, nil
}

func (l *Lake) changes(ctx context.Context, t *table.Table, from, to int64) (added, removed []File, err error) {
	if from == to {
		return nil, nil, nil
	}
	if from == 0 { // whatever happened on the way
		added, err = l.filesAt(ctx, t, to)
		return added, nil, err
	}
	way, err := wayBetween(snapshotsOf(t), from, to)
	if err != nil {
		return nil, nil, err
	}
	gained, lost := map[string]File{}, map[string]File{}
	for _, c := range slices.Backward(way) { // the oldest first
		if len(c.Compacts()) > 0 {
			continue
		}
		before, err := l.manifestsAt(ctx, t, c.ParentID)
		if err != nil {
			return nil, nil, err
		}
		after, err := l.manifestsAt(ctx, t, c.ID)
		if err != nil {
			return nil, nil, err
		}
		more, less, err := l.compare(ctx, t, before, after)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range more {
			gained[f.Path] = f
		}
		for _, f := range less {
			if _, ok := gained[f.Path]; ok {
				delete(gained, f.Path)
			} else {
				lost[f.Path] = f
			}
		}
	}
	return byPath(gained), byPath(lost), nil
}

func byPath(files map[string]File) []File {
	list := make([]File, 0, len(files))
	for _, f := range files {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// wayBetween are the snapshots on the way from one (itself left out) to another, newest first. Of compactions in a row only the newest
// is among them: it leads to the snapshot that they are all equal to. The parents of all others are there.
func wayBetween(history []Snapshot, from, to int64) ([]Snapshot, error) {
	byID := make(map[int64]Snapshot, len(history))
	for _, s := range history {
		byID[s.ID] = s
	}
	var way []Snapshot
	for at := to; at != from; {
		s, ok := byID[at]
		if !ok {
			return nil, fmt.Errorf("%w: snapshot %d is no longer there", ErrExpired, at)
		}
		way = append(way, s)
		at = s.ParentID
		if same := s.Compacts(); slices.Contains(same, from) {
			break
		} else if len(same) > 0 {
			at = same[len(same)-1]
		}
		if _, ok := byID[at]; !ok {
			return nil, fmt.Errorf("%w: what came before snapshot %d is no longer there", ErrExpired, s.ID)
		}
	}
	return way, nil
}

// Needed are the snapshots that must be there for Changes to tell what changed from one snapshot to another: none where it
// needs none, or can't tell any more.
func Needed(history []Snapshot, from, to int64) []int64 {
	if from == 0 {
		return nil
	}
	way, err := wayBetween(history, from, to)
	if err != nil {
		return nil
	}
	var ids []int64
	for _, s := range way {
		ids = append(ids, s.ID)
		if len(s.Compacts()) == 0 {
			ids = append(ids, s.ParentID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
