package runs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// landed is a file that lies in a source's landing folder.
type landed struct {
	// path is below the source's folder, with slashes.
	path     string
	bytes    int64
	modified time.Time
}

// listing is what lies in a source's landing folder.
type listing struct {
	// files are complete, in the order of their names, bytewise.
	files []landed
	// unsettled are those whose size and time have not rested yet.
	unsettled []landed
	// unnamed are files and folders whose names are not UTF-8, as far as they can be told.
	unnamed []string
}

// Landed is a file in a landing folder.
type Landed struct {
	Bytes    int64
	Modified time.Time
}

// LandingFiles are the files that lie in the landing folder of a source, by path below it; those still being written included.
func LandingFiles(landing string, source *pipeline.Source) (map[string]Landed, error) {
	root, err := openLanding(landing, source.Name, true)
	if err != nil || root == nil {
		return nil, err
	}
	defer root.Close()
	found, err := listLanding(root, source.Contract, time.Now(), 0)
	if err != nil {
		return nil, fmt.Errorf("list the landing folder of %s: %w", source.Name, err)
	}
	byPath := map[string]Landed{}
	for _, f := range found.files {
		byPath[f.path] = Landed{Bytes: f.bytes, Modified: f.modified}
	}
	return byPath, nil
}

// listLanding lists the files of a source.
// Parts of a name that begin with ".", "_" or "~$", and names that end in .tmp or .part, are ignored; links are not followed.
func listLanding(root *os.Root, contract *pipeline.Contract, now time.Time, settle time.Duration) (*listing, error) {
	l := &listing{}
	return l, fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != "." && (ignored(entry.Name()) || !utf8.ValidString(entry.Name())) {
			if !ignored(entry.Name()) && (entry.IsDir() || entry.Type().IsRegular()) {
				l.unnamed = append(l.unnamed, strings.ToValidUTF8(path, "\uFFFD"))
			}
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !contract.Selects(path) {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went away while the folder was read
		}
		if err != nil {
			return err
		}
		file := landed{path: path, bytes: info.Size(), modified: info.ModTime().UTC().Truncate(time.Microsecond)}
		if now.Sub(info.ModTime()) < settle {
			l.unsettled = append(l.unsettled, file)
			return nil
		}
		l.files = append(l.files, file)
		return nil
	})
}

// rested takes files whose time lies ahead, by a clock that does, for complete where they are as they were at an earlier look.
func (l *listing) rested(before *listing, now time.Time) {
	l.unsettled = slices.DeleteFunc(l.unsettled, func(file landed) bool {
		rested := file.modified.After(now) && slices.Contains(before.unsettled, file)
		if rested {
			l.files = append(l.files, file)
		}
		return rested
	})
	slices.SortFunc(l.files, func(a, b landed) int { return strings.Compare(a.path, b.path) })
}

func (l *listing) unsettledPaths() []string {
	var paths []string
	for _, file := range l.unsettled {
		paths = append(paths, file.path)
	}
	return paths
}

func ignored(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || strings.HasPrefix(name, "~$") ||
		strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part")
}

// hashOf is the SHA-256 of a landing file, in hex.
func hashOf(ctx context.Context, root *os.Root, path string) (string, error) {
	file, err := root.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := file.Read(buffer)
		hash.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
	}
}
