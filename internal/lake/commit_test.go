package lake_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/shoplake/shoplake/internal/lake"
)

const orders = "silver.orders"

func TestCommitMakesOneSnapshot(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	table := ensure(t, l, orders, sales())
	a := stage(t, l, table, "run1", "a", "2026-01", january(1), january(2))
	b := stage(t, l, table, "run1", "b", "2026-02", sale{id: "x", day: "2026-02-28"})

	// Properties alone, on a table that never had a snapshot.
	nothing := commit(t, l, lake.Commit{Table: orders, Properties: map[string]string{"built": "0"}, Token: "t0", CheckBase: true})
	added := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{a, b}, Properties: map[string]string{"built": "1"}, Token: "t1", Base: nothing, CheckBase: true})
	props := commit(t, l, lake.Commit{Table: orders, Properties: map[string]string{"built": "2"}, Token: "t2"})
	c := stage(t, l, table, "run2", "c", "2026-01", january(3))
	replaced := commit(t, l, lake.Commit{Table: orders, Remove: []string{a.Path}, Add: []lake.Staged{c}, Token: "t3"})
	emptied := commit(t, l, lake.Commit{Table: orders, Remove: []string{b.Path, c.Path}, Properties: map[string]string{"built": "4"}, Token: "t4"})
	d := stage(t, l, table, "run3", "d", "2026-01", january(4))
	again := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{d}, Token: "t5"})

	snapshots, err := l.Snapshots(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	want := []int64{again, emptied, replaced, props, added, nothing}
	for i, s := range snapshots {
		if i >= len(want) || s.ID != want[i] {
			t.Fatalf("snapshot %d is %d, want those of %v", i, s.ID, want)
		}
		if i+1 < len(want) && s.ParentID != want[i+1] {
			t.Errorf("snapshot %d has the parent %d, want %d", i, s.ParentID, want[i+1])
		}
	}
	if len(snapshots) != len(want) {
		t.Fatalf("got %d snapshots, want %d", len(snapshots), len(want))
	}
	for id, files := range map[int64][]string{
		0: nil, nothing: nil, added: {a.Path, b.Path}, props: {a.Path, b.Path}, replaced: {b.Path, c.Path}, emptied: nil, again: {d.Path},
	} {
		slices.Sort(files)
		if got := paths(t, l, orders, id); !slices.Equal(got, files) {
			t.Errorf("files at %d are %v, want %v", id, got, files)
		}
	}
	at, err := l.TableAt(ctx, orders, props)
	if err != nil {
		t.Fatal(err)
	}
	if at.Summary["built"] != "2" || at.Summary[lake.TokenProperty] != "t2" || at.SnapshotID != props || at.Time.IsZero() {
		t.Errorf("table at %d is %+v", props, at)
	}
	files, err := l.Files(ctx, orders, added)
	if err != nil {
		t.Fatal(err)
	}
	if files[0] != a.File || files[1] != b.File || files[0].Rows != 2 || files[0].Partition != "2026-01" {
		t.Errorf("files are %+v, want %+v and %+v", files, a.File, b.File)
	}
	for _, tc := range []struct {
		from, to       int64
		added, removed []string
	}{
		{0, added, []string{a.Path, b.Path}, nil},
		{added, props, nil, nil},
		{added, replaced, []string{c.Path}, []string{a.Path}},
		{replaced, emptied, nil, []string{b.Path, c.Path}},
		{0, again, []string{d.Path}, nil},
		// What was added and removed again on the way did not change.
		{nothing, again, []string{d.Path}, nil},
		{added, again, []string{d.Path}, []string{a.Path, b.Path}},
	} {
		added, removed, err := l.Changes(ctx, orders, tc.from, tc.to)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(pathsOf(added), tc.added) || !slices.Equal(pathsOf(removed), tc.removed) {
			t.Errorf("changes %d..%d are %v and %v", tc.from, tc.to, pathsOf(added), pathsOf(removed))
		}
	}
	if _, _, err := l.Changes(ctx, orders, again, added); !errors.Is(err, lake.ErrExpired) {
		t.Errorf("changes back in time: %v", err)
	}
	if _, err := os.Stat(a.Path); err != nil {
		t.Errorf("a commit deleted a replaced file: %v", err)
	}
	if _, err := l.Files(ctx, orders, 4711); !errors.Is(err, lake.ErrNotFound) {
		t.Errorf("files of an unknown snapshot: %v", err)
	}
}

func TestCommitRepeatedHappensOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	l := openLake(t, dir)
	table := ensure(t, l, orders, sales())
	c := lake.Commit{Table: orders, Add: []lake.Staged{stage(t, l, table, "run1", "a", "2026-01", january(1))}, Token: "once", CheckBase: true, Epoch: 3}
	first := commit(t, l, c)
	later := commit(t, l, lake.Commit{Table: orders, Token: "later", Epoch: 7})

	// A process that died after the catalog took the commit repeats it, here after others have gone on.
	other := openLake(t, dir)
	if again := commit(t, other, c); again != first {
		t.Errorf("the repeated commit made snapshot %d, the first %d", again, first)
	}
	table, err := other.Table(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	if table.SnapshotID != later {
		t.Errorf("the table is at %d, want %d", table.SnapshotID, later)
	}
	// A cancelled commit that is repeated.
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	next := lake.Commit{Table: orders, Token: "next", Epoch: 7}
	if _, err := l.Commit(cancelled, next); !errors.Is(err, context.Canceled) {
		t.Errorf("commit with a cancelled context: %v", err)
	}
	commit(t, l, next)
}

func TestCommitRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	table := ensure(t, l, orders, sales())
	a := stage(t, l, table, "run1", "a", "2026-01", january(1))
	b := stage(t, l, table, "run1", "b", "2026-01", january(2))
	base := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{a}, Epoch: 5})

	gone := stage(t, l, table, "run1", "gone", "2026-01", january(2))
	if err := os.Remove(gone.Path); err != nil {
		t.Fatal(err)
	}
	short := stage(t, l, table, "run1", "short", "2026-01", january(2))
	if err := os.Truncate(short.Path, 10); err != nil {
		t.Fatal(err)
	}
	renamed := b
	renamed.Path = a.Path + "x"
	for name, tc := range map[string]struct {
		commit lake.Commit
		want   error
	}{
		"remove a file that is not live": {lake.Commit{Table: orders, Remove: []string{b.Path}, Epoch: 5}, lake.ErrMoved},
		"another base":                   {lake.Commit{Table: orders, Add: []lake.Staged{b}, Base: base + 1, CheckBase: true, Epoch: 5}, lake.ErrMoved},
		"a base on an empty table":       {lake.Commit{Table: orders, Add: []lake.Staged{b}, CheckBase: true, Epoch: 5}, lake.ErrMoved},
		"a file that is live":            {lake.Commit{Table: orders, Add: []lake.Staged{a}, Epoch: 5}, lake.ErrMoved},
		"a lower epoch":                  {lake.Commit{Table: orders, Add: []lake.Staged{b}, Epoch: 4}, lake.ErrFenced},
		"no table":                       {lake.Commit{Table: "silver.nothing"}, lake.ErrNotFound},
		"no name":                        {lake.Commit{Table: "../x"}, lake.ErrNotFound},
		"a missing file":                 {lake.Commit{Table: orders, Add: []lake.Staged{gone}, Epoch: 5}, os.ErrNotExist},
		"a truncated file":               {lake.Commit{Table: orders, Add: []lake.Staged{short}, Epoch: 5}, nil},
		"another file's entry":           {lake.Commit{Table: orders, Add: []lake.Staged{renamed}, Epoch: 5}, nil},
		"no entry":                       {lake.Commit{Table: orders, Add: []lake.Staged{{File: b.File}}, Epoch: 5}, nil},
	} {
		_, err := l.Commit(ctx, tc.commit)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
	}
	if got := paths(t, l, orders, base); !slices.Equal(got, []string{a.Path}) {
		t.Errorf("files are %v", got)
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	table := ensure(t, l, orders, sales())
	a := stage(t, l, table, "run1", "a", "2026-01", january(1))
	base := commit(t, l, lake.Commit{Table: orders, Epoch: 1})
	if err := l.Fence(ctx, orders, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(ctx, lake.Commit{Table: orders, Add: []lake.Staged{a}, Epoch: 1}); !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a commit of the epoch before the fence: %v", err)
	}
	if err := l.Fence(ctx, orders, 1); !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a lower fence: %v", err)
	}
	// A fence is no change: what was computed on the snapshot before it still fits.
	commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{a}, Epoch: 2, Base: base, CheckBase: true})
}
