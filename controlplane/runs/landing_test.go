package runs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// Names that no message can carry are told of, and stop nobody else's files.
func TestLandingNames(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{"good.csv", "März.csv", "M\xe4rz.csv", "M\xe4rz/1.csv", ".M\xe4rz/1.csv", "sub/2.csv", "_old.csv", "part.csv.part"} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("a\n1\n"), 0o600); err != nil {
			t.Skipf("this file system has no such names: %v", err)
		}
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	found, err := listLanding(root, &pipeline.Contract{Glob: "*.csv"}, time.Now().Add(time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range found.files {
		files = append(files, f.path)
	}
	if want := []string{"März.csv", "good.csv", "sub/2.csv"}; !slices.Equal(files, want) {
		t.Errorf("the files are %q, want %q", files, want)
	}
	if want := []string{"M\uFFFDrz", "M\uFFFDrz.csv"}; !slices.Equal(found.unnamed, want) {
		t.Errorf("not UTF-8 are %q, want %q", found.unnamed, want)
	}
}

// A file whose time lies ahead rests as others do: between two looks.
func TestFileFromAClockThatIsAhead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	now := time.Now()
	write := func(name, content string, at time.Time) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	look := func() *listing {
		t.Helper()
		found, err := listLanding(root, &pipeline.Contract{}, now, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	write("ahead.csv", "a", now.Add(time.Hour))
	write("grows.csv", "a", now.Add(time.Hour))
	write("new.csv", "a", now)
	write("old.csv", "a", now.Add(-time.Hour))
	before := look()
	write("grows.csv", "ab", now.Add(time.Hour))
	found := look()
	found.rested(before, now)
	var files []string
	for _, f := range found.files {
		files = append(files, f.path)
	}
	if want := []string{"ahead.csv", "old.csv"}; !slices.Equal(files, want) {
		t.Errorf("complete are %q, want %q", files, want)
	}
	if want := []string{"grows.csv", "new.csv"}; !slices.Equal(found.unsettledPaths(), want) {
		t.Errorf("still written are %q, want %q", found.unsettledPaths(), want)
	}
}
