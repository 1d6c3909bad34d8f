package lake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/apache/iceberg-go/table"
	"pgregory.net/rapid"

	"github.com/shoplake/shoplake/internal/lake"
)

// sleeper is the catalog of a process that sleeps in the middle of a commit.
type sleeper struct {
	table.CatalogIO
	// before is called when a commit has looked at the table, and goes to the catalog. Where it gives an error the catalog answers
	// with that, as it does when the table moves between its own look and its write. after may lose the catalog's answer.
	before, after func() error
}

func (s sleeper) CommitTable(ctx context.Context, ident table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if err := s.before(); err != nil {
		return nil, "", err
	}
	meta, location, err := s.CatalogIO.CommitTable(ctx, ident, reqs, updates)
	if err == nil {
		err = s.after()
	}
	return meta, location, err
}

var errAnswerLost = errors.New("the catalog's answer was lost")

// errLate is what the SQL catalog says to a commit that loses its compare-and-set.
var errLate = fmt.Errorf("%w: table moved underneath us", table.ErrCommitFailed)

// TestFrozenInCommit freezes a coordinator of epoch 1 between its look at a table and the catalog's compare-and-set, and lets a
// successor, or another writer, do something meanwhile.
func TestFrozenInCommit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, tc := range []struct {
		name string
		// check asserts the base; meanwhile happens before the catalog sees the commit, afterwards before its answer is lost.
		check bool
		// grows says that the commit only adds files.
		grows                 bool
		meanwhile, afterwards func(t *testing.T, other *lake.Lake, c lake.Commit, spare lake.Staged)
		want                  error
		// by says who made the commit's snapshot, where there is one: the sleeper, or its successor.
		by string
	}{
		{name: "nothing happens", check: true, by: "sleeper"},
		{name: "a successor fences", check: true, want: lake.ErrFenced, meanwhile: func(t *testing.T, other *lake.Lake, _ lake.Commit, _ lake.Staged) {
			fence(t, other, 2)
		}},
		{name: "a successor fences, and makes the commit", check: true, by: "successor", meanwhile: func(t *testing.T, other *lake.Lake, c lake.Commit, _ lake.Staged) {
			fence(t, other, 2)
			c.Epoch = 2
			commit(t, other, c)
		}},
		{name: "a successor makes the commit and goes on", check: true, by: "successor", meanwhile: func(t *testing.T, other *lake.Lake, c lake.Commit, spare lake.Staged) {
			c.Epoch = 2
			commit(t, other, c)
			commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{spare}, Epoch: 2})
		}},
		{name: "another of the same epoch makes the commit", by: "successor", meanwhile: func(t *testing.T, other *lake.Lake, c lake.Commit, _ lake.Staged) {
			commit(t, other, c)
		}},
		{name: "the table moves", check: true, want: lake.ErrMoved, meanwhile: func(t *testing.T, other *lake.Lake, _ lake.Commit, spare lake.Staged) {
			commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{spare}, Epoch: 1})
		}},
		{name: "a table that grows moves", check: true, grows: true, want: lake.ErrMoved, meanwhile: func(t *testing.T, other *lake.Lake, _ lake.Commit, spare lake.Staged) {
			commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{spare}, Epoch: 1})
		}},
		{name: "a successor makes the commit of a table that grows", check: true, grows: true, by: "successor", meanwhile: func(t *testing.T, other *lake.Lake, c lake.Commit, _ lake.Staged) {
			c.Epoch = 2
			commit(t, other, c)
		}},
		{name: "the table moves, and nobody minds", by: "sleeper", meanwhile: func(t *testing.T, other *lake.Lake, _ lake.Commit, spare lake.Staged) {
			commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{spare}, Epoch: 1})
		}},
		{name: "the table moves, and is fenced", want: lake.ErrFenced, meanwhile: func(t *testing.T, other *lake.Lake, _ lake.Commit, spare lake.Staged) {
			commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{spare}, Epoch: 2})
		}},
		{name: "the replaced file goes", want: lake.ErrMoved, meanwhile: func(t *testing.T, other *lake.Lake, c lake.Commit, spare lake.Staged) {
			commit(t, other, lake.Commit{Table: orders, Remove: c.Remove, Add: []lake.Staged{spare}, Epoch: 1})
		}},
		{name: "the answer is lost", check: true, by: "sleeper", afterwards: func(*testing.T, *lake.Lake, lake.Commit, lake.Staged) {}},
		{name: "the answer is lost, and a successor fences", check: true, by: "sleeper", afterwards: func(t *testing.T, other *lake.Lake, _ lake.Commit, _ lake.Staged) {
			fence(t, other, 2)
		}},
		{name: "the answer is lost, and the table moves on", check: true, by: "sleeper", afterwards: func(t *testing.T, other *lake.Lake, _ lake.Commit, spare lake.Staged) {
			commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{spare}, Epoch: 2})
		}},
	} {
		// A table that another program made, or changed, lets the library try again by itself, on what it then finds.
		for _, way := range []struct {
			retries string
			late    bool
		}{{"0", false}, {"0", true}, {"3", false}, {"3", true}} {
			t.Run(fmt.Sprintf("%s, library retries %s, late %t", tc.name, way.retries, way.late), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				l, other := openLake(t, dir), openLake(t, dir)
				schema := ensure(t, other, orders, sales())
				if err := other.SetProperty(ctx, orders, table.CommitNumRetriesKey, way.retries); err != nil {
					t.Fatal(err)
				}
				old := stage(t, other, schema, "run0", "old", "2026-01", january(1))
				spare := stage(t, other, schema, "run0", "spare", "2026-01", january(3))
				base := commit(t, other, lake.Commit{Table: orders, Add: []lake.Staged{old}, Epoch: 1})
				c := lake.Commit{Table: orders, Remove: []string{old.Path}, Add: []lake.Staged{stage(t, l, schema, "run1", "new", "2026-01", january(2))},
					Base: base, CheckBase: tc.check, Epoch: 1, Token: "run1/1"}
				if tc.grows {
					c.Remove = nil
				}
				asleep, lost := false, tc.afterwards != nil
				l.Interpose(func(cat table.CatalogIO) table.CatalogIO {
					return sleeper{cat, func() error {
						if asleep || tc.meanwhile == nil {
							return nil
						}
						asleep = true
						tc.meanwhile(t, other, c, spare)
						if way.late {
							return errLate
						}
						return nil
					}, func() error {
						if !lost {
							return nil
						}
						lost = false
						tc.afterwards(t, other, c, spare)
						return errAnswerLost
					}}
				})
				id, err := l.Commit(ctx, c)
				if !errors.Is(err, tc.want) {
					t.Fatalf("the commit gave %d, %v; want %v", id, err, tc.want)
				}
				made := tokens(t, other)["run1/1"]
				if tc.by == "" {
					if len(made) > 0 {
						t.Errorf("it was refused, and made %v", made)
					}
					return
				}
				epoch := map[string]string{"sleeper": "1", "successor": "2"}[tc.by]
				if tc.name == "another of the same epoch makes the commit" {
					epoch = "1"
				}
				if len(made) != 1 || made[0].ID != id || made[0].Summary[lake.EpochProperty] != epoch {
					t.Errorf("it gave %d; its snapshots are %+v, want one of epoch %s", id, made, epoch)
				}
				if tc.check && made[0].ParentID != base {
					t.Errorf("it was computed on snapshot %d, and committed on %d", base, made[0].ParentID)
				}
				if live := paths(t, other, orders, id); slices.Contains(live, old.Path) != tc.grows || !slices.Contains(live, c.Add[0].Path) {
					t.Errorf("its snapshot holds %v", live)
				}
			})
		}
	}
}

func fence(t *testing.T, l *lake.Lake, epoch uint64) {
	t.Helper()
	if err := l.Fence(context.Background(), orders, epoch); err != nil {
		t.Fatal(err)
	}
}

// tokens are a table's snapshots by the commit that made them.
func tokens(t testing.TB, l *lake.Lake) map[string][]lake.Snapshot {
	t.Helper()
	snapshots, err := l.Snapshots(context.Background(), orders)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string][]lake.Snapshot{}
	for _, s := range snapshots {
		made[s.Summary[lake.TokenProperty]] = append(made[s.Summary[lake.TokenProperty]], s)
	}
	return made
}

// TestSleepersAndSuccessors has a writer that sleeps in each of its commits, while another process takes over, makes the same
// commits, and others; answers get lost. Whatever happens, a commit is made once, on what it was computed on, and by nobody
// whom a higher epoch has fenced.
func TestSleepersAndSuccessors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		l, other := open(r, dir), open(r, dir)
		defer func() {
			if err := errors.Join(l.Close(), other.Close()); err != nil {
				r.Fatal(err)
			}
		}()
		if _, err := other.EnsureTable(ctx, orders, sales()); err != nil {
			r.Fatal(err)
		}
		if err := other.SetProperty(ctx, orders, table.CommitNumRetriesKey, rapid.SampledFrom([]string{"0", "2"}).Draw(r, "retries")); err != nil {
			r.Fatal(err)
		}
		var epoch, fenced uint64 = 1, 0
		var pending lake.Commit
		bases := map[string]int64{}
		others := 0
		var before uint64          // the highest epoch that had fenced the table when the sleeper's commit came to the catalog
		theirs := map[int64]bool{} // snapshots that the other process made
		send := func(l *lake.Lake, c lake.Commit) (int64, error) {
			id, err := l.Commit(ctx, c)
			if err != nil && !errors.Is(err, lake.ErrMoved) && !errors.Is(err, lake.ErrFenced) {
				r.Fatalf("commit %s: %v", c.Token, err)
			}
			if err == nil {
				fenced = max(fenced, c.Epoch)
				theirs[id] = theirs[id] || l == other
			}
			return id, err
		}
		asleep := 0
		l.Interpose(func(cat table.CatalogIO) table.CatalogIO {
			return sleeper{cat, func() error {
				if asleep++; asleep > 6 {
					return nil // nobody disturbs it for ever
				}
				for range rapid.IntRange(0, 2).Draw(r, "meanwhile") {
					switch rapid.SampledFrom([]string{"fence", "same", "other"}).Draw(r, "what") {
					case "fence":
						epoch++
						if err := other.Fence(ctx, orders, epoch); err != nil {
							r.Fatal(err)
						}
						fenced = epoch
					case "same":
						c := pending
						c.Epoch = epoch
						_, _ = send(other, c)
					case "other":
						others++
						_, _ = send(other, lake.Commit{Table: orders, Token: fmt.Sprint("other", others), Epoch: epoch})
					}
				}
				before = fenced
				if rapid.IntRange(0, 2).Draw(r, "late") == 0 {
					return errLate
				}
				return nil
			}, func() error {
				if asleep <= 6 && rapid.IntRange(0, 3).Draw(r, "lost") == 0 {
					return errAnswerLost
				}
				return nil
			}}
		})
		for n := range rapid.IntRange(1, 4).Draw(r, "commits") {
			now, err := l.Table(ctx, orders)
			if err != nil {
				r.Fatal(err)
			}
			asleep = 0
			pending = lake.Commit{Table: orders, Token: fmt.Sprint("c", n), Epoch: epoch, Base: now.SnapshotID, CheckBase: rapid.Bool().Draw(r, "check")}
			if pending.CheckBase {
				bases[pending.Token] = pending.Base
			}
			mine := pending.Epoch
			id, err := send(l, pending)
			made := tokens(t, other)[pending.Token]
			switch {
			case len(made) > 1:
				r.Fatalf("commit %s was made as %+v", pending.Token, made)
			case err == nil && (len(made) != 1 || made[0].ID != id):
				r.Fatalf("commit %s gave %d, the table has %+v", pending.Token, id, made)
			case err != nil && len(made) > 0 && !theirs[made[0].ID]:
				r.Fatalf("commit %s was refused (%v), and made %+v", pending.Token, err, made)
			case len(made) == 1 && made[0].Summary[lake.EpochProperty] == fmt.Sprint(mine) && !theirs[made[0].ID] && before > mine:
				r.Fatalf("commit %s of epoch %d was made after epoch %d had fenced the table", pending.Token, mine, before)
			}
		}
		snapshots, err := other.Snapshots(ctx, orders)
		if err != nil {
			r.Fatal(err)
		}
		var last uint64
		for _, s := range slices.Backward(snapshots) {
			var of uint64
			if _, err := fmt.Sscan(s.Summary[lake.EpochProperty], &of); err != nil || of < last {
				r.Fatalf("snapshot %d is of epoch %d (%v), the one before of %d", s.ID, of, err, last)
			}
			last = of
			if base, ok := bases[s.Summary[lake.TokenProperty]]; ok && s.ParentID != base {
				r.Fatalf("commit %s was computed on %d, and committed on %d", s.Summary[lake.TokenProperty], base, s.ParentID)
			}
		}
	})
}
