package lake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"
	"pgregory.net/rapid"

	"github.com/shoplake/shoplake/internal/lake"
)

// compact replaces files of a table by one with the same rows.
func compact(t testing.TB, l *lake.Lake, table *lake.Table, run string, files []string, rows ...sale) int64 {
	t.Helper()
	return commit(t, l, lake.Commit{Table: table.Name, Remove: files, Add: []lake.Staged{stage(t, l, table, run, "compacted", "2026-01", rows...)},
		Properties: map[string]string{"shoplake.run": run}, Token: run, Compaction: true})
}

func TestCompactionIsNoChange(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	table := ensure(t, l, orders, sales())
	a := stage(t, l, table, "run1", "a", "2026-01", january(1))
	b := stage(t, l, table, "run2", "b", "2026-01", january(2))
	c := stage(t, l, table, "run3", "c", "2026-01", january(3))
	first := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{a}, Properties: map[string]string{"shoplake.inputs": "{}", "shoplake.run": "run1"}})
	second := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{b}, Properties: map[string]string{"shoplake.inputs": "{1}"}})
	once := compact(t, l, table, "run4", []string{a.Path, b.Path}, january(1), january(2))
	files := paths(t, l, orders, once)
	twice := compact(t, l, table, "run5", files, january(2), january(1))
	third := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{c}})

	at, err := l.TableAt(ctx, orders, twice)
	if err != nil {
		t.Fatal(err)
	}
	if at.Summary["shoplake.inputs"] != "{1}" || at.Summary["shoplake.run"] != "run5" || at.Summary[lake.TokenProperty] != "run5" || !slices.Equal(at.Compacts(), []int64{once, second}) {
		t.Errorf("the compaction says of itself %v", at.Summary)
	}
	history, err := l.Snapshots(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	if op := history[1].Operation; op != "replace" {
		t.Errorf("a compaction is the operation %q", op)
	}
	for _, tc := range []struct {
		from, to       int64
		added, removed []string
		needed         []int64
	}{
		{first, first, nil, nil, nil},
		{second, twice, nil, nil, []int64{twice}},
		{once, twice, nil, nil, []int64{twice}},
		{first, twice, []string{b.Path}, nil, []int64{first, second, twice}},
		{first, third, []string{b.Path, c.Path}, nil, []int64{first, second, twice, third}},
		{second, third, []string{c.Path}, nil, []int64{twice, third}},
	} {
		slices.Sort(tc.needed)
		added, removed, err := l.Changes(ctx, orders, tc.from, tc.to)
		if err != nil || !slices.Equal(pathsOf(added), tc.added) || !slices.Equal(pathsOf(removed), tc.removed) {
			t.Errorf("changes %d..%d are %v and %v, %v", tc.from, tc.to, pathsOf(added), pathsOf(removed), err)
		}
		if needed := lake.Needed(history, tc.from, tc.to); !slices.Equal(needed, tc.needed) {
			t.Errorf("%d..%d needs %v, want %v", tc.from, tc.to, needed, tc.needed)
		}
	}
	d := stage(t, l, table, "run6", "d", "2026-01", january(1), january(4))
	if _, err := l.Commit(ctx, lake.Commit{Table: orders, Remove: []string{c.Path}, Add: []lake.Staged{d}, Compaction: true}); err == nil || !strings.Contains(err.Error(), "keep all rows") {
		t.Errorf("a compaction of one row into two: %v", err)
	}
	if table, err = l.Table(ctx, orders); err != nil || table.SnapshotID != third {
		t.Errorf("the table is at %d, want %d (%v)", table.SnapshotID, third, err)
	}
}

// TestChangesOfHistories makes random histories of appends, replacements, compactions and expiries of what is not needed.
// Every version that a reader of an older snapshot lacks, or has too much, must lie in what is told as changed.
func TestChangesOfHistories(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rapid.Check(t, func(r *rapid.T) {
		l := open(r, t.TempDir())
		defer l.Close()
		table, err := l.EnsureTable(ctx, orders, sales())
		if err != nil {
			r.Fatal(err)
		}
		holds := map[string][]string{} // the rows of each file that ever was
		live := map[string]bool{}
		rowsAt := map[int64][]string{0: nil}
		var read int64 // up to which snapshot a model is built
		next := 0
		for step := range rapid.IntRange(2, 10).Draw(r, "steps") {
			kind := rapid.SampledFrom([]string{"append", "append", "replace", "compact", "compact", "read", "nothing"}).Draw(r, "kind")
			c := lake.Commit{Table: orders, Token: fmt.Sprint(step)}
			current, err := l.Table(ctx, orders)
			if err != nil {
				r.Fatal(err)
			}
			var rows []sale
			add := func() { next++; rows = append(rows, sale{id: fmt.Sprint(next), day: "2026-01-01"}) }
			switch kind {
			case "read":
				read = current.SnapshotID
				continue
			case "append":
				add()
			case "replace", "compact":
				for _, path := range slices.Sorted(maps.Keys(live)) {
					if rapid.Bool().Draw(r, "take") {
						c.Remove = append(c.Remove, path)
						for i, id := range holds[path] {
							if kind == "compact" || i > 0 {
								rows = append(rows, sale{id: id, day: "2026-01-01"})
							}
						}
					}
				}
				if len(c.Remove) == 0 {
					continue
				}
				c.Compaction = kind == "compact"
			}
			if len(rows) > 0 {
				s := stage(t, l, table, fmt.Sprint("run", step), "f", "2026-01", rows...)
				c.Add = []lake.Staged{s}
				for _, row := range rows {
					holds[s.Path] = append(holds[s.Path], row.id)
				}
			}
			id, err := l.Commit(ctx, c)
			if err != nil {
				r.Fatal(err)
			}
			for _, path := range c.Remove {
				delete(live, path)
			}
			for _, s := range c.Add {
				live[s.Path] = true
			}
			for path := range live {
				rowsAt[id] = append(rowsAt[id], holds[path]...)
			}
			if rapid.Bool().Draw(r, "expire") {
				expireUnneeded(r, l, read, id)
			}
			added, removed, err := l.Changes(ctx, orders, read, id)
			if err != nil {
				r.Fatal(err)
			}
			told := map[string]bool{}
			for _, f := range append(added, removed...) {
				for _, row := range holds[f.Path] {
					told[row] = true
				}
			}
			for _, pair := range [][2]int64{{read, id}, {id, read}} {
				for _, row := range rowsAt[pair[0]] {
					if !slices.Contains(rowsAt[pair[1]], row) && !told[row] {
						r.Fatalf("row %s stands in one of %v only, but %v and %v are told as changed", row, pair, pathsOf(added), pathsOf(removed))
					}
				}
			}
		}
	})
}

func expireUnneeded(r *rapid.T, l *lake.Lake, read, current int64) {
	history, err := l.Snapshots(context.Background(), orders)
	if err != nil {
		r.Fatal(err)
	}
	needed := append(lake.Needed(history, read, current), current)
	var ids []int64
	for _, s := range history {
		if !slices.Contains(needed, s.ID) {
			ids = append(ids, s.ID)
		}
	}
	if n, err := l.Expire(context.Background(), orders, ids, 0); err != nil || n != len(ids) {
		r.Fatalf("expired %d of %d: %v", n, len(ids), err)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	ensure(t, l, orders, sales())
	var ids []int64
	for i := range 4 {
		ids = append(ids, commit(t, l, lake.Commit{Table: orders, Token: fmt.Sprint(i), Epoch: 2}))
	}
	if _, err := l.Expire(ctx, orders, ids[1:], 2); err == nil || !strings.Contains(err.Error(), "current") {
		t.Errorf("the current snapshot expired: %v", err)
	}
	if _, err := l.Expire(ctx, orders, ids[:1], 1); !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a lower epoch expired a snapshot: %v", err)
	}
	// One in the middle, as where an older one is published; then again, with one that is gone and one that never was.
	for _, want := range []int{1, 0} {
		if n, err := l.Expire(ctx, orders, []int64{ids[1], 4711}, 2); err != nil || n != want {
			t.Errorf("expired %d, want %d: %v", n, want, err)
		}
	}
	snapshots, err := l.Snapshots(ctx, orders)
	if err != nil || len(snapshots) != 3 {
		t.Fatalf("%d snapshots are left: %v", len(snapshots), err)
	}
	for _, id := range []int64{ids[0], ids[2], ids[3]} {
		if _, err := l.Files(ctx, orders, id); err != nil {
			t.Errorf("snapshot %d that stayed can't be read: %v", id, err)
		}
	}
	if _, _, err := l.Changes(ctx, orders, ids[0], ids[3]); !errors.Is(err, lake.ErrExpired) {
		t.Errorf("changes over a gap: %v", err)
	}
	commit(t, l, lake.Commit{Table: orders, Token: "after", Base: ids[3], CheckBase: true, Epoch: 2})
}

// Snapshots that another program's tags and branches refer to are marked, with those that a branch grew from.
func TestReferencedSnapshots(t *testing.T) {
	t.Parallel()
	l := openLake(t, t.TempDir())
	const name = "silver.sales"
	ensure(t, l, name, sales())
	var ids []int64
	for range 5 {
		ids = append(ids, commit(t, l, lake.Commit{Table: name}))
	}
	for _, err := range []error{l.Refer(t.Context(), name, "year-end", table.TagRef, ids[3]), l.Refer(t.Context(), name, "trial", table.BranchRef, ids[1])} {
		if err != nil {
			t.Fatal(err)
		}
	}
	snapshots, err := l.Snapshots(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range snapshots {
		if want := s.ID != ids[2] && s.ID != ids[4]; s.Referenced != want {
			t.Errorf("snapshot %d of %v: referenced is %v", s.ID, ids, s.Referenced)
		}
	}
}
