package worker

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// dies lets go of a worker's lock and leaves its folder, as SIGKILL does.
func (s *scratch) dies() { s.unlock() }

func claim(t *testing.T, root, id string) *scratch {
	t.Helper()
	s, err := claimScratch(t.Context(), root, id, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.folder, "cells"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestScratchOfDeadWorkersIsCleared(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "scratch")
	foreign := filepath.Join(root, "controlplane")
	if err := os.MkdirAll(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	dead, alive := claim(t, root, "dead"), claim(t, root, "alive")
	dead.dies()
	again := claim(t, root, "third")
	for path, want := range map[string]bool{dead.folder: false, filepath.Join(alive.folder, "cells"): true, foreign: true, again.folder: true} {
		if exists(t, path) != want {
			t.Errorf("%s is there: %v, want %v", path, !want, want)
		}
	}
	if err := alive.release(); err != nil || exists(t, alive.folder) {
		t.Errorf("a worker that leaves removes its folder: %v", err)
	}
}

func TestScratchOfTheSameID(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first := claim(t, root, "w1")
	if _, err := claimScratch(t.Context(), root, "w1", slog.Default()); !errors.Is(err, errLocked) {
		t.Errorf("a second worker of the same id: %v", err)
	}
	first.dies()
	second := claim(t, root, "w1")
	if second.folder != first.folder {
		t.Errorf("the folder is %s, was %s", second.folder, first.folder)
	}
	for _, id := range []string{"..", ".", "", "a/b", ".new-1"} {
		if _, err := claimScratch(t.Context(), root, id, slog.Default()); err == nil {
			t.Errorf("the id %q was taken", id)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}
