package record

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// midway does something when reading looks for the first time whether it is to go on: after the file was opened, before its first byte.
type midway struct {
	context.Context
	do *func()
}

func (m midway) Err() error {
	if do := *m.do; do != nil {
		*m.do = nil
		do()
	}
	return m.Context.Err()
}

// A file is read as one version of it, or not at all.
func TestFileThatChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	const before, after = "a,b,c\n1,2,3\n", "a,b,c\n7,8,9\n"
	for name, c := range map[string]struct {
		change func(path string) error
		want   string // the first cell; empty where the file cannot be relied on
	}{
		"nothing": {func(string) error { return nil }, "1"},
		"grows": {func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("4,5,6\n")
			return errors.Join(err, f.Close())
		}, ""},
		"is written anew, as long as it was": {func(path string) error { return os.WriteFile(path, []byte(after), 0o644) }, ""},
		"is cut off":                         {func(path string) error { return os.Truncate(path, 3) }, ""},
		"is replaced": {func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte(after), 0o644), os.Rename(path+".new", path))
		}, "1"},
		"is removed": {os.Remove, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a.csv")
			if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
			rested := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, rested, rested); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			w, err := NewWriter(t.TempDir(), columns("a", "b", "c"))
			if err != nil {
				t.Fatal(err)
			}
			change := func() {
				if err := c.change(path); err != nil {
					t.Error(err)
				}
			}
			info, err := Read(midway{t.Context(), &change}, root, "a.csv", Layout{Format: CSV, Columns: columns("a", "b", "c")}, w, 0)
			if change != nil {
				t.Fatal("reading never looked up")
			}
			segments, closing := w.Close()
			if closing != nil {
				t.Fatal(closing)
			}
			rows := readScratch(t, segments)
			if c.want == "" {
				if !errors.Is(err, ErrChanged) || len(rows) > 0 {
					t.Errorf("reading ended with %v and the rows %v", err, rows)
				}
				return
			}
			if err != nil || info.Unreadable != nil || len(rows) != 1 || strings.Join(rows[0].Cells, "") != "123" || !info.ModTime.Equal(rested) {
				t.Errorf("reading ended with %v, %+v and the rows %v", err, info, rows)
			}
		})
	}
}
