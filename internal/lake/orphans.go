package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"go.opentelemetry.io/otel/attribute"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// Stored is a file that lies below a table's folder, whoever names it.
type Stored struct {
	// Path is below the table's folder, with slashes.
	Path string
	// Run is the name of the folder below data or plans that the file lies in (see Staging); empty where it lies in none.
	Run      string
	Bytes    int64
	Modified time.Time
}

// Removed is what RemoveOrphans removed.
type Removed struct {
	Files int
	Bytes int64
	// Failed counts the files that could not be removed; Failure is why the first could not. They are tried again the next time.
	Failed  int
	Failure error
}

// NamedFiles are all files that the catalog's metadata of a table reaches: the metadata itself and its log, and the manifest
// lists, manifests, data files, statistics and reasons of every snapshot that has not expired. Absolute paths, sorted.
func (l *Lake) NamedFiles(ctx context.Context, name string) ([]string, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list the named files of %s: %w", name, err)
	}
	named, err := l.named(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("list the named files of %s: %w", name, err)
	}
	paths := make([]string, 0, len(named))
	for p := range named {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths, nil
}

// StoredFiles are all files that lie below a table's folder, as absolute paths, sorted. Links are not followed, and are no files.
func (l *Lake) StoredFiles(ctx context.Context, name string) ([]string, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list the stored files of %s: %w", name, err)
	}
	root, err := l.openTable(t)
	if err != nil {
		return nil, fmt.Errorf("list the stored files of %s: %w", name, err)
	}
	defer root.Close() //nolint:errcheck // opened to read only
	stored, _, err := storedBelow(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("list the stored files of %s: %w", name, err)
	}
	var paths []string
	for _, f := range stored {
		paths = append(paths, filepath.Join(folder(t.Location()), filepath.FromSlash(f.Path)))
	}
	slices.Sort(paths)
	return paths, nil
}

// Orphans are the files below a table's folder that no metadata names and that removable gives up.
func (l *Lake) Orphans(ctx context.Context, name string, removable func(Stored) bool) ([]Stored, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("find orphan files of %s: %w", name, err)
	}
	root, err := l.openTable(t)
	if err != nil {
		return nil, fmt.Errorf("find orphan files of %s: %w", name, err)
	}
	defer root.Close() //nolint:errcheck // opened to read only
	found, _, err := l.orphans(ctx, name, root, removable, func(table.Metadata) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("find orphan files of %s: %w", name, err)
	}
	return found, nil
}

// RemoveOrphans deletes the files below a table's folder that no metadata names and that removable gives up, and the folders
// that this leaves empty. It may be killed at any moment, and repeated.
//
// Why no file is deleted that somebody commits, though this process may sleep at any moment, for hours:
//
//  1. The table is fenced. From then on no commit of a lower epoch gets through.
//  2. The files on the disk are listed. Only these can be deleted.
//  3. removable is asked. It gives up what belongs to no commit that is still to come: of a run's folder what the run, which is
//     known to have ended by now, left there. (A run that is resumed after that stages new files, under new names.)
//  4. The metadata is loaded. What it names is kept; so what was committed until 3 is. Where it has seen a higher epoch than
//     ours nothing is deleted at all.
//  5. What is left is deleted, without a look at anything again.
//
// What belongs to no run, as manifests of a commit that is under way do, is the matter of epochs. A writer of a lower one is
// stopped by 1, one of our own process waits for the lock. One of a higher epoch fences a table before it writes into it where a
// step of ours was announced: a coordinator does so when it takes over, and repeats that step first, which begins with 1. So
// either it fenced before 4, and we stop there; or all that it writes is younger than the list of 2.
// The deletion itself stays below the table's folder (os.Root), and follows no link.
func (l *Lake) RemoveOrphans(ctx context.Context, name string, epoch uint64, removable func(Stored) bool) (removed Removed, err error) {
	doing := "remove orphan files of " + name
	if err := l.Fence(ctx, name, epoch); err != nil {
		return removed, fmt.Errorf("%s: %w", doing, err)
	}
	ctx, end := traced(ctx, "lake.remove_orphans", attribute.String("shoplake.table", name))
	defer func() { end(err) }()
	unlock, err := l.lock(ctx, name)
	if err != nil {
		return removed, fmt.Errorf("%s: %w", doing, err)
	}
	defer unlock()
	t, err := l.load(ctx, name)
	if err != nil {
		return removed, fmt.Errorf("%s: %w", doing, err)
	}
	root, err := l.openTable(t)
	if err != nil {
		return removed, fmt.Errorf("%s: %w", doing, err)
	}
	defer root.Close() //nolint:errcheck // nothing is written through it
	found, folders, err := l.orphans(ctx, name, root, removable, (notFenced{epoch}).Validate)
	if err != nil {
		return removed, fmt.Errorf("%s: %w", doing, err)
	}
	for _, f := range found {
		if err := ctx.Err(); err != nil {
			return removed, fmt.Errorf("%s: %w", doing, err)
		}
		err := failpoint.Around(ctx, failpoint.RemoveFile, func() error { return root.Remove(filepath.FromSlash(f.Path)) })
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			if removed.Failed++; removed.Failure == nil {
				removed.Failure = err
			}
		default:
			removed.Files++
			removed.Bytes += f.Bytes
		}
	}
	// The deepest first. A folder that is not empty stays; so does one that can't be removed, which does no harm.
	slices.SortFunc(folders, func(a, b string) int { return strings.Compare(b, a) })
	for _, f := range folders {
		_ = root.Remove(filepath.FromSlash(f))
	}
	return removed, nil
}

// orphans are the files that may go, and the folders that may when they are empty: steps 2 to 4 of RemoveOrphans, in that order.
func (l *Lake) orphans(ctx context.Context, name string, root *os.Root, removable func(Stored) bool, check func(table.Metadata) error) (files []Stored, folders []string, err error) {
	stored, below, err := storedBelow(ctx, root)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range stored {
		if removable(f) {
			files = append(files, f)
		}
	}
	for _, f := range below {
		if f.Run != "" && removable(f) {
			folders = append(folders, f.Path)
		}
	}
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if err := check(t.Metadata()); err != nil {
		return nil, nil, err
	}
	named, err := l.named(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	location := folder(t.Location())
	return slices.DeleteFunc(files, func(f Stored) bool { return named[filepath.Join(location, filepath.FromSlash(f.Path))] }), folders, nil
}

// MaintenanceFolder is a folder in the warehouse, beside those of the layers, for what maintenance writes down of its own: below
// the tables it would be the first that the next maintenance finds to remove. Each run has a folder in it.
const MaintenanceFolder = "maintenance"

// RemoveMaintenance removes the folders of runs that remove gives up from the maintenance folder.
func (l *Lake) RemoveMaintenance(remove func(run string) bool) error {
	entries, err := fs.ReadDir(l.root.FS(), MaintenanceFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list what maintenance wrote down: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if entry.IsDir() && remove(entry.Name()) {
			errs = append(errs, l.root.RemoveAll(filepath.Join(MaintenanceFolder, entry.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what maintenance wrote down of runs that ended: %w", err)
	}
	return nil
}

// named are the absolute paths of all files that a table's metadata reaches.
func (l *Lake) named(ctx context.Context, t *table.Table) (map[string]bool, error) {
	named := map[string]bool{folder(t.MetadataLocation()): true}
	for entry := range t.Metadata().PreviousFiles() {
		named[folder(entry.MetadataFile)] = true
	}
	for s := range t.Metadata().Statistics() {
		named[folder(s.StatisticsPath)] = true
	}
	for s := range t.Metadata().PartitionStatistics() {
		named[folder(s.StatisticsPath)] = true
	}
	var manifests []iceberg.ManifestFile
	for _, s := range t.Metadata().Snapshots() {
		list, err := l.manifestsAt(ctx, t, s.SnapshotID)
		if err != nil {
			return nil, err
		}
		named[folder(s.ManifestList)] = true
		if s.Summary != nil && s.Summary.Properties[ReasonsProperty] != "" {
			named[filepath.Join(l.warehouse, filepath.FromSlash(s.Summary.Properties[ReasonsProperty]))] = true
		}
		for _, m := range list {
			if p := folder(m.FilePath()); !named[p] {
				named[p] = true
				manifests = append(manifests, m)
			}
		}
	}
	files, err := l.liveIn(ctx, t, manifests)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		named[folder(f.Path)] = true
	}
	return named, nil
}

// openTable opens a table's folder, which must be where the lake put it, and no link.
func (l *Lake) openTable(t *table.Table) (*os.Root, error) {
	rel, err := l.within(folder(t.Location()))
	if err != nil {
		return nil, err
	}
	info, err := l.root.Lstat(rel)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder of its own: put the table's files there", rel)
	}
	return l.root.OpenRoot(rel)
}

// storedBelow lists the files of a table's folder, and its folders.
func storedBelow(ctx context.Context, root *os.Root) (files, folders []Stored, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went away while the folder was read
		}
		if err != nil || name == "." {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !entry.IsDir() && !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		f := Stored{Path: name, Run: runOf(name, entry.IsDir()), Bytes: info.Size(), Modified: info.ModTime()}
		if entry.IsDir() {
			folders = append(folders, f)
		} else {
			files = append(files, f)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the files of the table's folder: %w", err)
	}
	return files, folders, nil
}

// runOf is the run whose folder a path below a table's folder lies in, or is; empty where there is none.
func runOf(name string, isFolder bool) string {
	parts := strings.Split(path.Clean(name), "/")
	if len(parts) < 2 || parts[0] != "data" && parts[0] != "plans" || len(parts) == 2 && !isFolder {
		return ""
	}
	run, err := url.PathUnescape(parts[1])
	if err != nil {
		return ""
	}
	return run
}
