package lake

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/apache/iceberg-go"
	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

// maxCachedFiles bounds the files of which cached manifests tell, all tables together: some 300 bytes each.
const maxCachedFiles = 200_000

// Files gives the live data files of a table at a snapshot, current or not, by path. Snapshot 0 is the empty table.
func (l *Lake) Files(ctx context.Context, name string, snapshotID int64) ([]File, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w", name, err)
	}
	files, err := l.filesAt(ctx, t, snapshotID)
	if err != nil {
		return nil, fmt.Errorf("list files of %s at snapshot %d: %w", name, snapshotID, err)
	}
	return files, nil
}

func (l *Lake) compare(ctx context.Context, t *table.Table, before, after []iceberg.ManifestFile) (added, removed []File, err error) {
	old, err := l.liveIn(ctx, t, lacking(before, after))
	if err != nil {
		return nil, nil, err
	}
	current, err := l.liveIn(ctx, t, lacking(after, before))
	if err != nil {
		return nil, nil, err
	}
	return without(current, old), without(old, current), nil
}

// lacking gives the manifests of a that b has not.
func lacking(a, b []iceberg.ManifestFile) []iceberg.ManifestFile {
	has := make(map[string]bool, len(b))
	for _, m := range b {
		has[m.FilePath()] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(m iceberg.ManifestFile) bool { return has[m.FilePath()] })
}

// without gives the files of a that b has not.
func without(a, b []File) []File {
	has := make(map[string]bool, len(b))
	for _, f := range b {
		has[f.Path] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(f File) bool { return has[f.Path] })
}

func (l *Lake) filesAt(ctx context.Context, t *table.Table, snapshotID int64) ([]File, error) {
	manifests, err := l.manifestsAt(ctx, t, snapshotID)
	if err != nil {
		return nil, err
	}
	return l.liveIn(ctx, t, manifests)
}

// manifestsAt gives the data manifests of a snapshot.
func (l *Lake) manifestsAt(ctx context.Context, t *table.Table, snapshotID int64) ([]iceberg.ManifestFile, error) {
	if snapshotID == 0 {
		return nil, nil
	}
	snapshot := t.SnapshotByID(snapshotID)
	if snapshot == nil {
		return nil, fmt.Errorf("snapshot %d: %w: it may have expired", snapshotID, ErrNotFound)
	}
	fs, err := t.FS(ctx)
	if err != nil {
		return nil, err
	}
	manifests, err := snapshot.Manifests(fs)
	if err != nil {
		return nil, fmt.Errorf("read manifest list %s: %w", snapshot.ManifestList, err)
	}
	for _, m := range manifests {
		if m.ManifestContent() != iceberg.ManifestContentData && (m.HasAddedFiles() || m.HasExistingFiles()) {
			return nil, fmt.Errorf("the table has delete files, which another program wrote and which are not understood: compact it there first")
		}
	}
	return manifests, nil
}

// liveIn gives the live files of manifests, by path.
func (l *Lake) liveIn(ctx context.Context, t *table.Table, manifests []iceberg.ManifestFile) ([]File, error) {
	fs, err := t.FS(ctx)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, m := range manifests {
		if !m.HasAddedFiles() && !m.HasExistingFiles() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		live, ok := l.manifests.get(m.FilePath())
		if !ok {
			if live, err = readManifest(fs, t, m); err != nil {
				return nil, fmt.Errorf("read manifest %s: %w", m.FilePath(), err)
			}
			l.manifests.put(m.FilePath(), live)
		}
		files = append(files, live...)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

func readManifest(fs icebergio.IO, t *table.Table, m iceberg.ManifestFile) ([]File, error) {
	spec := t.Metadata().PartitionSpecByID(int(m.PartitionSpecID()))
	if spec == nil {
		return nil, fmt.Errorf("its partition spec %d is unknown", m.PartitionSpecID())
	}
	by, err := partitionOf(t.Schema(), *spec)
	if err != nil {
		return nil, err
	}
	text := func(map[int]any) (string, error) { return "", nil }
	if !spec.IsUnpartitioned() {
		field := spec.Field(0)
		source, _ := t.Schema().FindFieldByID(field.SourceID())
		p, err := newPartitioner(by.Transform, source.Type)
		if err != nil {
			return nil, err
		}
		text = func(values map[int]any) (string, error) { return p.text(values[field.FieldID]) }
	}
	var files []File
	for entry, err := range iceberg.EntriesWithProjection(fs, m, true, iceberg.ManifestEntryProjection{}) {
		if err != nil {
			return nil, err
		}
		df := entry.DataFile()
		partition, err := text(df.Partition())
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", df.FilePath(), err)
		}
		files = append(files, File{Path: df.FilePath(), Partition: partition, PartitionedBy: by, Rows: df.Count(), Bytes: df.FileSizeBytes()})
	}
	return files, nil
}

// manifestCache keeps what manifests say, least recently used first out. Manifests never change, and their paths are
// never used again.
type manifestCache struct {
	mu     sync.Mutex
	limit  int // files
	size   int
	order  *list.List
	byPath map[string]*list.Element
}

type cachedManifest struct {
	path  string
	files []File
}

func newManifestCache(limit int) *manifestCache {
	return &manifestCache{limit: limit, order: list.New(), byPath: map[string]*list.Element{}}
}

// get returns files that the caller must not change.
func (c *manifestCache) get(path string) ([]File, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byPath[path]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedManifest).files, true
}

func (c *manifestCache) put(path string, files []File) {
	weight := func(files []File) int { return len(files) + 1 }
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byPath[path]; ok || weight(files) > c.limit {
		return
	}
	c.byPath[path] = c.order.PushFront(&cachedManifest{path: path, files: files})
	c.size += weight(files)
	for c.size > c.limit {
		oldest := c.order.Remove(c.order.Back()).(*cachedManifest)
		delete(c.byPath, oldest.path)
		c.size -= weight(oldest.files)
	}
}
