package lake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoplake/shoplake/internal/lake"
)

// TestCommitSequences runs random changes, each sometimes repeated or sent by a second process, against a model of the
// table as a set of files.
func TestCommitSequences(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		lakes := []*lake.Lake{open(r, dir), open(r, dir)}
		defer func() {
			for _, l := range lakes {
				if err := l.Close(); err != nil {
					r.Fatal(err)
				}
			}
		}()
		table, err := lakes[0].EnsureTable(ctx, orders, sales())
		if err != nil {
			r.Fatal(err)
		}
		live := map[string]bool{}
		history := map[int64][]string{0: nil}
		sent := map[string]int64{}
		var order []int64
		var epoch uint64
		for step := range rapid.IntRange(1, 12).Draw(r, "steps") {
			l := lakes[rapid.IntRange(0, 1).Draw(r, "lake")]
			c := lake.Commit{Table: orders, Token: fmt.Sprint(step), Properties: map[string]string{"step": fmt.Sprint(step)}}
			switch rapid.SampledFrom([]string{"change", "change", "change", "repeat", "stale", "fence", "fenced"}).Draw(r, "kind") {
			case "fence":
				epoch += uint64(rapid.IntRange(0, 2).Draw(r, "by"))
				if err := l.Fence(ctx, orders, epoch); err != nil {
					r.Fatal(err)
				}
				continue
			case "fenced":
				if c.Epoch = epoch - 1; epoch == 0 {
					continue
				}
				if _, err := l.Commit(ctx, c); !errors.Is(err, lake.ErrFenced) {
					r.Fatalf("epoch %d after %d: %v", c.Epoch, epoch, err)
				}
				continue
			case "stale":
				c.Epoch, c.Remove = epoch, []string{l.Staging(orders, "never") + "/x.parquet"}
				if _, err := l.Commit(ctx, c); !errors.Is(err, lake.ErrMoved) {
					r.Fatalf("a file that is not live: %v", err)
				}
				continue
			case "repeat":
				if len(sent) == 0 {
					continue
				}
				c.Token = rapid.SampledFrom(slices.Sorted(maps.Keys(sent))).Draw(r, "token")
				if id, err := l.Commit(ctx, c); err != nil || id != sent[c.Token] {
					r.Fatalf("token %s: %d, %v; it made %d", c.Token, id, err, sent[c.Token])
				}
				continue
			}
			c.Epoch = epoch
			for _, path := range slices.Sorted(maps.Keys(live)) {
				if rapid.Bool().Draw(r, "remove") {
					c.Remove = append(c.Remove, path)
				}
			}
			for i := range rapid.IntRange(0, 3).Draw(r, "add") {
				c.Add = append(c.Add, stage(t, l, table, fmt.Sprint("run", step), fmt.Sprint(i), "2026-01", january(i)))
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
			sent[c.Token], history[id], order = id, slices.Sorted(maps.Keys(live)), append(order, id)
		}
		for id, want := range history {
			files, err := lakes[0].Files(ctx, orders, id)
			if err != nil || !slices.Equal(pathsOf(files), want) {
				r.Fatalf("files at %d: %v, %v; want %v", id, pathsOf(files), err, want)
			}
		}
		snapshots, err := lakes[1].Snapshots(ctx, orders)
		if err != nil {
			r.Fatal(err)
		}
		slices.Reverse(order)
		var got []int64
		for _, s := range snapshots {
			got = append(got, s.ID)
		}
		if !slices.Equal(got, order) {
			r.Fatalf("snapshots %v, want %v", got, order)
		}
	})
}

func open(r *rapid.T, dir string) *lake.Lake {
	l, err := lake.Open(context.Background(), lake.Config{Warehouse: dir})
	if err != nil {
		r.Fatal(err)
	}
	return l
}

// TestConcurrentCommits has two processes (here two lakes) add to one table, each with several writers: every commit gets
// through, once.
func TestConcurrentCommits(t *testing.T) {
	t.Parallel()
	const writers, each = 3, 6
	dir := t.TempDir()
	lakes := []*lake.Lake{openLake(t, dir), openLake(t, dir)}
	var wg sync.WaitGroup
	for i, l := range lakes {
		for w := range writers {
			wg.Go(func() {
				// Each begins with the schema, as they would: making the table is a race too.
				table, err := l.EnsureTable(context.Background(), orders, sales())
				if err != nil {
					t.Error(err)
					return
				}
				for n := range each {
					s := stage(t, l, table, fmt.Sprintf("run-%d-%d", i, w), fmt.Sprint(n), "2026-01", january(n))
					token := fmt.Sprintf("%d-%d-%d", i, w, n)
					id, err := l.Commit(context.Background(), lake.Commit{Table: orders, Add: []lake.Staged{s}, Token: token})
					if err != nil {
						t.Error(err)
						return
					}
					if again, err := lakes[1-i].Commit(context.Background(), lake.Commit{Table: orders, Add: []lake.Staged{s}, Token: token}); err != nil || again != id {
						t.Errorf("repeated by the other: %d, %v; want %d", again, err, id)
					}
				}
			})
		}
	}
	wg.Wait()
	table, err := lakes[0].Table(context.Background(), orders)
	if err != nil {
		t.Fatal(err)
	}
	const all = 2 * writers * each
	if got := len(paths(t, lakes[1], orders, table.SnapshotID)); got != all {
		t.Errorf("the table has %d files, want %d", got, all)
	}
	if snapshots, err := lakes[0].Snapshots(context.Background(), orders); err != nil || len(snapshots) != all {
		t.Errorf("the table has %d snapshots, want %d (%v)", len(snapshots), all, err)
	}
}

// TestConcurrentReplacement has many writers replace the same file: one wins, the others are told that the table moved.
func TestConcurrentReplacement(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lakes := []*lake.Lake{openLake(t, dir), openLake(t, dir)}
	table := ensure(t, lakes[0], orders, sales())
	old := stage(t, lakes[0], table, "run", "old", "2026-01", january(1))
	commit(t, lakes[0], lake.Commit{Table: orders, Add: []lake.Staged{old}})
	const writers = 6
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		s := stage(t, lakes[0], table, "run", fmt.Sprint("new", i), "2026-01", january(i))
		wg.Go(func() {
			_, errs[i] = lakes[i%2].Commit(context.Background(), lake.Commit{Table: orders, Remove: []string{old.Path}, Add: []lake.Staged{s}})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, lake.ErrMoved):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d replacements of one file won", won, writers)
	}
}

// TestFenceHolds has writers of an old epoch race a fence by another process: once it is up, none of them gets through.
func TestFenceHolds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	old, successor := openLake(t, dir), openLake(t, dir)
	ensure(t, old, orders, sales())
	started := make(chan struct{}, 100)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				_, err := old.Commit(ctx, lake.Commit{Table: orders, Epoch: 1})
				if err != nil {
					if !errors.Is(err, lake.ErrFenced) {
						t.Error(err)
					}
					return
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 5 {
		<-started
	}
	if err := successor.Fence(ctx, orders, 2); err != nil {
		t.Fatal(err)
	}
	fenced, err := successor.Table(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	after, err := successor.Table(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	if after.SnapshotID != fenced.SnapshotID {
		t.Errorf("the table went from %d to %d after the fence", fenced.SnapshotID, after.SnapshotID)
	}
}
