package lake_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/shoplake/shoplake/internal/lake"
)

// flushed are the files that were flushed since they were written last, of all tests.
var flushed sync.Map

func TestMain(m *testing.M) {
	lake.OnFlush(func(path string) { flushed.Store(path, true) })
	os.Exit(m.Run())
}

// Whatever the catalog names is on the disk: data files, manifests, their lists, and the metadata itself.
func TestNamedFilesAreFlushed(t *testing.T) {
	t.Parallel()
	l := openLake(t, t.TempDir())
	const name = "silver.sales"
	table := ensure(t, l, name, sales())
	staged := stage(t, l, table, "run", "a", "2026-01", sale{id: "a", day: "2026-01-31"})
	commit(t, l, lake.Commit{Table: name, Add: []lake.Staged{staged}})
	commit(t, l, lake.Commit{Table: name, Remove: []string{staged.Path}, Add: []lake.Staged{stage(t, l, table, "run", "b", "2026-01", sale{id: "b", day: "2026-01-31"})}})
	named, err := l.NamedFiles(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(named) < 8 {
		t.Errorf("only %d files are named: %q", len(named), named)
	}
	for _, path := range named {
		if _, ok := flushed.Load(filepath.Clean(path)); !ok {
			t.Errorf("%s is named and was never flushed", path)
		}
	}
}
