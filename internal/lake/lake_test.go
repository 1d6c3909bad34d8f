package lake_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shoplake/shoplake/internal/lake"
)

func TestOpenAndAttach(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "a", "warehouse")
	if _, err := lake.Attach(ctx, lake.Config{Warehouse: dir}); err == nil {
		t.Error("attached to a folder that is not there")
	}
	// Several processes may make the same lake at once; they agree on its id.
	var wg sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids {
		wg.Go(func() {
			l, err := lake.Open(ctx, lake.Config{Warehouse: dir})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = l.ID()
			if err := errors.Join(l.Close(), l.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	worker, err := lake.Attach(ctx, lake.Config{Warehouse: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close() //nolint:errcheck // the test's own lake
	for _, id := range ids {
		if id == "" || id != worker.ID() {
			t.Errorf("ids are %v and %s", ids, worker.ID())
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	// What needs the catalog says so.
	_, errTable := worker.Table(ctx, orders)
	_, errEnsure := worker.EnsureTable(ctx, orders, sales())
	_, errCommit := worker.Commit(ctx, lake.Commit{Table: orders})
	_, errTables := worker.Tables(ctx)
	for _, err := range []error{errTable, errEnsure, errCommit, errTables, worker.Fence(ctx, orders, 1)} {
		if err == nil || !strings.Contains(err.Error(), "control plane") {
			t.Errorf("an attached lake: %v", err)
		}
	}

	// Another spelling of the same folder is the same lake; a moved one is not.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	linked, err := lake.Attach(ctx, lake.Config{Warehouse: link})
	if err != nil {
		t.Fatal(err)
	}
	if linked.Warehouse() != worker.Warehouse() {
		t.Errorf("warehouse %s by a link, %s without", linked.Warehouse(), worker.Warehouse())
	}
	if err := linked.WriteObject(ctx, filepath.Join(link, "plans", "p"), []byte("x")); err != nil {
		t.Error(err)
	}
	if err := linked.Close(); err != nil {
		t.Error(err)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if _, err := lake.Open(ctx, lake.Config{Warehouse: moved}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened a moved lake: %v", err)
	}
	if _, err := lake.Open(ctx, lake.Config{Warehouse: "relative"}); err == nil {
		t.Error("opened a lake at a relative path")
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := openLake(t, t.TempDir())
	path := filepath.Join(l.Warehouse(), "silver", "orders", "plans", "run1", "plan.pb")
	for _, content := range []string{"one", "two"} {
		if err := l.WriteObject(ctx, path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, "silver/orders/plans/run1/plan.pb"} {
			if got, err := l.ReadObject(ctx, p); err != nil || string(got) != content {
				t.Errorf("read %q, %v; want %q", got, err, content)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if _, err := l.ReadObject(ctx, "silver/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an object that is not there: %v", err)
	}
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(l.Warehouse(), "silver", "link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", ".", "/", "..", "../x/y", "/etc/passwd", "silver/../../x/y", l.Warehouse() + "x/y", "silver/link/secret"} {
		if err := l.WriteObject(ctx, p, nil); err == nil {
			t.Errorf("wrote %q", p)
		}
		if _, err := l.ReadObject(ctx, p); err == nil {
			t.Errorf("read %q", p)
		}
	}
	for _, p := range []string{"lake.json", "catalog.db", "catalog.db-wal", "silver/orders/metadata/00000.metadata.json"} {
		if err := l.WriteObject(ctx, p, nil); err == nil {
			t.Errorf("wrote %q, which is the lake's own", p)
		}
	}
	for _, parts := range [][]string{{orders, "run1"}, {orders, "../../../x", "..", ""}, {"../..", "/", "."}, {"", ""}} {
		folder := l.Staging(parts[0], parts[1], parts[2:]...)
		rel, err := filepath.Rel(l.Warehouse(), folder)
		if err != nil || !filepath.IsLocal(rel) || len(strings.Split(rel, "/")) != 2+len(parts) {
			t.Errorf("staging of %q is %s", parts, folder)
		}
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			t.Errorf("staging of %q was not made: %v", parts, err)
		}
	}
}
