package scratch

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// dies lets go of the lock and leaves its folder, as SIGKILL does.
func (f *Folder) dies() { f.unlock() }

func claim(t *testing.T, root, id string) *Folder {
	t.Helper()
	s, err := Claim(t.Context(), root, id, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Path, "cells"), []byte("x"), 0o600); err != nil {
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

func TestFoldersOfTheDeadAreCleared(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "scratch")
	foreign := filepath.Join(root, "foreign")
	if err := os.MkdirAll(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	dead, alive := claim(t, root, "dead"), claim(t, root, "alive")
	dead.dies()
	again := claim(t, root, "third")
	for path, want := range map[string]bool{dead.Path: false, filepath.Join(alive.Path, "cells"): true, foreign: true, again.Path: true} {
		if exists(t, path) != want {
			t.Errorf("%s is there: %v, want %v", path, !want, want)
		}
	}
	if err := alive.Release(); err != nil || exists(t, alive.Path) {
		t.Errorf("an owner that leaves removes its folder: %v", err)
	}
}

func TestFoldersOfTheSameID(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first := claim(t, root, "w1")
	if _, err := Claim(t.Context(), root, "w1", slog.Default()); !errors.Is(err, ErrLocked) {
		t.Errorf("a second owner of the same id: %v", err)
	}
	first.dies()
	second := claim(t, root, "w1")
	if second.Path != first.Path {
		t.Errorf("the folder is %s, was %s", second.Path, first.Path)
	}
	for _, id := range []string{"..", ".", "", "a/b", ".new-1"} {
		if _, err := Claim(t.Context(), root, id, slog.Default()); err == nil {
			t.Errorf("the id %q was taken", id)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}
