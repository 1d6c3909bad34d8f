package lake_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shoplake/shoplake/internal/lake"
)

func all(lake.Stored) bool { return true }

func remove(t testing.TB, l *lake.Lake, epoch uint64, removable func(lake.Stored) bool) lake.Removed {
	t.Helper()
	removed, err := l.RemoveOrphans(context.Background(), orders, epoch, removable)
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

// wantNamed holds a table's folder against its metadata: the files on the disk are those named.
func wantNamed(t testing.TB, l *lake.Lake) {
	t.Helper()
	named, err := l.NamedFiles(context.Background(), orders)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := l.StoredFiles(context.Background(), orders)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(named, stored) {
		t.Errorf("named are\n%q\nstored are\n%q", named, stored)
	}
}

func writeFile(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRemoveOrphans(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "my data %41 + ü") // a path that a URL spells in another way
	l := openLake(t, dir)
	table := ensure(t, l, orders, sales())
	a := stage(t, l, table, "run1", "a", "2026-01", january(1))
	b := stage(t, l, table, "run2", "b", "2026-01", january(2))
	commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{a}})
	commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{b}})
	id := compact(t, l, table, "run3", []string{a.Path, b.Path}, january(1), january(2))
	wantNamed(t, l)

	below := func(parts ...string) string {
		return filepath.Join(append([]string{l.Warehouse(), "silver", "orders"}, parts...)...)
	}
	outside := filepath.Join(dir, "gold", "other", "data", "run1", "x.parquet")
	writeFile(t, outside)
	for name, run := range map[string]string{
		"data/run1/lost.parquet": "run1", "data/run%2F9/deep/er/lost.parquet": "run/9", "plans/run1/1/plan.pb": "run1", "data/loose.parquet": "", "metadata/lost.avro": "", "stray": "",
	} {
		writeFile(t, below(name))
		found, err := l.Orphans(ctx, orders, func(f lake.Stored) bool {
			return f.Path == name && f.Run == run && f.Bytes == 5 && !f.Modified.IsZero()
		})
		if err != nil || len(found) != 1 {
			t.Errorf("orphan %s of run %q: found %v, %v", name, run, found, err)
		}
	}
	writeFile(t, below("data/open/busy.parquet"))
	for link, target := range map[string]string{"data/run1/link": filepath.Dir(outside), "data/linked": "../../../gold/other", "link.parquet": outside} {
		if err := os.Symlink(target, below(link)); err != nil {
			t.Fatal(err)
		}
	}

	kept := func(f lake.Stored) bool { return f.Run != "open" }
	if removed := remove(t, l, 1, kept); removed.Files != 6 || removed.Bytes != 30 || removed.Failed != 0 {
		t.Errorf("removed %+v", removed)
	}
	if removed := remove(t, l, 1, kept); removed != (lake.Removed{}) {
		t.Errorf("a second time removed %+v", removed)
	}
	for _, path := range []string{outside, below("data/open/busy.parquet"), a.Path, b.Path} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a file that is not an orphan is gone: %v", err)
		}
	}
	for _, path := range []string{"data/run%2F9", "plans/run1"} {
		if _, err := os.Stat(below(path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the empty folder %s is left: %v", path, err)
		}
	}

	// What expires is named by nothing then.
	history, err := l.Snapshots(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.Expire(ctx, orders, []int64{history[1].ID, history[2].ID}, 1); err != nil || n != 2 {
		t.Fatalf("expired %d: %v", n, err)
	}
	// Two data files, two manifest lists and two manifests at least, and the file that lay there.
	if removed := remove(t, l, 1, all); removed.Files < 7 {
		t.Errorf("removed %+v", removed)
	}
	wantNamed(t, l)
	if _, err := os.Stat(a.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the compacted file is left: %v", err)
	}
	files, err := l.Files(ctx, orders, id)
	if err != nil || len(files) != 1 || files[0].Rows != 2 {
		t.Errorf("the table holds %+v, %v", files, err)
	}
	commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{stage(t, l, table, "run4", "c", "2026-01", january(3))}, Base: id, CheckBase: true, Epoch: 1})
}

// TestRemoveOrphansIsFenced has a coordinator sleep in a removal while another takes over and commits.
func TestRemoveOrphansIsFenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	old, successor := openLake(t, dir), openLake(t, dir)
	table := ensure(t, old, orders, sales())
	a := stage(t, old, table, "run1", "a", "2026-01", january(1))
	b := stage(t, old, table, "run2", "b", "2026-01", january(2))
	lost := old.Staging(orders, "ended") + "/lost.parquet"
	writeFile(t, lost)

	// A run that commits and ends after the files were listed, and before it is asked whether it has ended: its file was listed,
	// and is named when the metadata is loaded.
	committed := false
	removed := remove(t, old, 1, func(f lake.Stored) bool {
		if !committed {
			committed = true
			commit(t, successor, lake.Commit{Table: orders, Add: []lake.Staged{a}, Token: "first", Epoch: 1})
		}
		return f.Run != "run2"
	})
	if removed.Files != 1 {
		t.Errorf("removed %+v, want the one that was lost", removed)
	}
	// Another coordinator takes over and commits at the same moment: nothing is removed.
	writeFile(t, lost)
	fenced := false
	_, err := old.RemoveOrphans(ctx, orders, 1, func(lake.Stored) bool {
		if !fenced {
			fenced = true
			if err := successor.Fence(ctx, orders, 2); err != nil {
				t.Error(err)
			}
			commit(t, successor, lake.Commit{Table: orders, Add: []lake.Staged{b}, Token: "second", Epoch: 2})
		}
		return true
	})
	if !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a coordinator that slept while another took over: %v", err)
	}
	// Asleep before it began.
	if _, err := old.RemoveOrphans(ctx, orders, 1, all); !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a coordinator that was replaced removed files: %v", err)
	}
	named, err := successor.NamedFiles(ctx, orders)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(named, lost, a.Path, b.Path) {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a file is gone: %v", err)
		}
	}
}

// TestRemoveOrphansFileByFile removes one orphan at a time, as removals do that are killed: after each the table reads, and the
// next removal goes on.
func TestRemoveOrphansFileByFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	table := ensure(t, l, orders, sales())
	a := stage(t, l, table, "run1", "a", "2026-01", january(1))
	b := stage(t, l, table, "run2", "b", "2026-01", january(2))
	first := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{a}})
	second := commit(t, l, lake.Commit{Table: orders, Add: []lake.Staged{b}})
	id := compact(t, l, table, "run3", []string{a.Path, b.Path}, january(1), january(2))
	if _, err := l.Expire(ctx, orders, []int64{first, second}, 0); err != nil {
		t.Fatal(err)
	}
	stops := 0
	for {
		left, err := l.Orphans(ctx, orders, all)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if removed := remove(t, l, 0, func(f lake.Stored) bool { return f.Path == left[0].Path }); removed.Files != 1 {
			t.Fatalf("removed %+v, want %s", removed, left[0].Path)
		}
		if files, err := l.Files(ctx, orders, id); err != nil || len(files) != 1 {
			t.Fatalf("after %d stops the table holds %v, %v", stops, files, err)
		}
		if _, err := os.Stat(paths(t, l, orders, id)[0]); err != nil {
			t.Fatal(err)
		}
		stops++
	}
	if stops < 6 {
		t.Errorf("%d files were orphans", stops)
	}
	wantNamed(t, l)
}
