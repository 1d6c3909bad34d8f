package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a pipeline folder. They keep a folder small enough for one request, and a stray data file out of it.
const (
	// MaxFileBytes is the size of the largest file.
	MaxFileBytes = 1 << 20
	// MaxFiles is the largest number of files.
	MaxFiles = 2000
	// MaxTotalBytes is the size of all files together.
	MaxTotalBytes = 16 << 20
	// maxPathBytes is the length of the longest path.
	maxPathBytes = 512
)

const configFile = "pipeline.yaml"

const (
	contractFolder = "contracts"
	contractSuffix = ".odcs.yaml"
	sqlSuffix      = ".sql"
)

// sqlFolders are the folders of SQL files; silver and gold are layers, their files are tables.
var sqlFolders = []string{"silver", "gold", "kpis", "checks"}

// namePattern is what tables, columns, KPIs, checks and flows may be called.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

const nameRule = "lower-case letters, digits and _, beginning with a letter, at most 63"

// Digest is the SHA-256 in hex of a folder's paths and contents, in the order of the paths.
func Digest(files map[string][]byte) string {
	hash := sha256.New()
	var size [8]byte
	part := func(data []byte) {
		// With its length before it, no content can pass for another path.
		binary.BigEndian.PutUint64(size[:], uint64(len(data)))
		hash.Write(size[:])
		hash.Write(data)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		part([]byte(name))
		part(files[name])
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// readFolder reads the files of a folder, hidden ones left out. Files that have no place in a pipeline are faults.
func readFolder(ctx context.Context, fsys fs.FS, faults *Faults) (map[string][]byte, error) {
	files := map[string][]byte{}
	total := 0
	errEnough := errors.New("enough")
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read pipeline folder: %s: %w", name, err)
		}
		if name == "." {
			return nil
		}
		if strings.HasPrefix(path.Base(name), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			if name != contractFolder && !slices.Contains(sqlFolders, name) {
				faults.add(name, 0, 0, "a pipeline has no such folder: it has %s and %s", contractFolder, strings.Join(sqlFolders, ", "))
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			faults.add(name, 0, 0, "is not a regular file: put the file itself here")
			return nil
		}
		if len(files) == MaxFiles {
			faults.add("", 0, 0, "the folder has more than %d files", MaxFiles)
			return errEnough
		}
		if len(name) > maxPathBytes || !utf8.ValidString(name) {
			faults.add(fmt.Sprintf("%.80q", name), 0, 0, "the path is longer than %d bytes or not UTF-8", maxPathBytes)
			return nil
		}
		content, err := readFile(fsys, name)
		if err != nil {
			return err
		}
		if len(content) > MaxFileBytes {
			faults.add(name, 0, 0, "is larger than 1 MiB")
			return nil
		}
		if total += len(content); total > MaxTotalBytes {
			faults.add("", 0, 0, "the files are larger than 16 MiB together")
			return errEnough
		}
		files[name] = content
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return files, nil
}

// readFile returns at most one byte more than the limit.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read pipeline folder: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read pipeline folder: %s: %w", name, err)
	}
	return content, nil
}

// fileKind is what a file of a pipeline is.
type fileKind int

const (
	fileUnknown fileKind = iota
	fileConfig
	fileContract
	fileModel
	fileKPI
	fileCheck
	fileText
)

// classify tells by its path what a file is, and the name of what it holds (of a table without its layer).
func classify(file string, faults *Faults) (fileKind, string) {
	if file == configFile {
		return fileConfig, ""
	}
	folder, base := path.Split(file)
	folder = strings.TrimSuffix(folder, "/")
	if path.Ext(base) == ".md" {
		return fileText, ""
	}
	var kind fileKind
	var suffix string
	switch folder {
	case "":
		faults.add(file, 0, 0, "is no file of a pipeline: beside the folders there is %s (and texts, .md)", configFile)
		return fileUnknown, ""
	case contractFolder:
		kind, suffix = fileContract, contractSuffix
	case "silver", "gold":
		kind, suffix = fileModel, sqlSuffix
	case "kpis":
		kind, suffix = fileKPI, sqlSuffix
	case "checks":
		kind, suffix = fileCheck, sqlSuffix
	default:
		faults.add(file, 0, 0, "lies in a folder that a pipeline does not have")
		return fileUnknown, ""
	}
	name, found := strings.CutSuffix(base, suffix)
	if !found {
		faults.add(file, 0, 0, "is of an unknown kind: files in %s end in %s", folder, suffix)
		return fileUnknown, ""
	}
	if !namePattern.MatchString(name) {
		faults.add(file, 0, 0, "%q is no name: use %s", name, nameRule)
		return fileUnknown, ""
	}
	return kind, name
}
