package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"

	"github.com/shoplake/shoplake/internal/failpoint"
)

const (
	// TokenProperty names, in a snapshot's summary, the commit that made it.
	TokenProperty = "shoplake.token"
	// EpochProperty is the highest epoch that a table has seen: a property of the table, and of each snapshot's summary.
	EpochProperty = "shoplake.epoch"
)

// Commit makes one snapshot of a table out of a change, whole or not at all, and returns its id. It may be repeated with
// the same token, after any error: it happens once. It waits for and retries after other writers until ctx is done.
// It fails with ErrMoved, ErrFenced or ErrNotFound where repeating it is of no use. It deletes no file.
func (l *Lake) Commit(ctx context.Context, c Commit) (_ int64, err error) {
	doing := "commit to table " + c.Table
	if err := l.needCatalog(doing); err != nil {
		return 0, err
	}
	if c.Token == "" {
		// Without one an attempt of unknown outcome could be repeated.
		c.Token = uuid.NewString()
	}
	ctx, end := traced(ctx, "lake.commit", attribute.String("shoplake.table", c.Table),
		attribute.Int("shoplake.files_added", len(c.Add)), attribute.Int("shoplake.files_removed", len(c.Remove)))
	defer func() { end(err) }()
	unlock, err := l.lock(ctx, c.Table)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	defer unlock()
	var id int64
	err = retry(ctx, func() error {
		id, err = l.commit(ctx, c)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	return id, nil
}

// Fence tells a table of a higher epoch, so that commits of lower ones fail from now on. It makes no snapshot.
func (l *Lake) Fence(ctx context.Context, name string, epoch uint64) error {
	doing := fmt.Sprintf("fence table %s at epoch %d", name, epoch)
	if err := l.needCatalog(doing); err != nil {
		return err
	}
	unlock, err := l.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer unlock()
	err = failpoint.Around(ctx, failpoint.FenceTable, func() error { return l.fence(ctx, name, epoch) })
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func (l *Lake) fence(ctx context.Context, name string, epoch uint64) error {
	return retry(ctx, func() error {
		t, err := l.load(ctx, name)
		if err != nil {
			return err
		}
		seen, err := epochOf(t.Metadata())
		if err != nil || seen == epoch {
			return err
		}
		tx := l.fenced(t, epoch).NewTransaction()
		if err := tx.SetProperties(iceberg.Properties{EpochProperty: strconv.FormatUint(epoch, 10)}); err != nil {
			return err
		}
		_, err = tx.Commit(ctx)
		return err
	})
}

// HighestEpoch is the highest epoch that any table has seen.
func (l *Lake) HighestEpoch(ctx context.Context) (uint64, error) {
	names, err := l.Tables(ctx)
	if err != nil {
		return 0, err
	}
	var highest uint64
	for _, name := range names {
		t, err := l.load(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue // it was dropped just now
		}
		if err != nil {
			return 0, fmt.Errorf("read table %s: %w", name, err)
		}
		seen, err := epochOf(t.Metadata())
		if err != nil {
			return 0, fmt.Errorf("read table %s: %w", name, err)
		}
		highest = max(highest, seen)
	}
	return highest, nil
}

// commit is one attempt, from a fresh look at the table.
func (l *Lake) commit(ctx context.Context, c Commit) (int64, error) {
	t, err := l.load(ctx, c.Table)
	if err != nil {
		return 0, err
	}
	for _, s := range table.AncestorsOf(currentID(t), t.SnapshotByID) {
		if s.Summary != nil && s.Summary.Properties[TokenProperty] == c.Token {
			return s.SnapshotID, nil
		}
	}
	if err := (notFenced{c.Epoch}).Validate(t.Metadata()); err != nil {
		return 0, err
	}
	if current := currentID(t); c.CheckBase && current != c.Base {
		return 0, fmt.Errorf("%w: its snapshot is %d, the change was computed on %d: plan it again", ErrMoved, current, c.Base)
	}
	remove, add, err := l.resolve(ctx, t, c)
	if err != nil {
		return 0, err
	}

	tx := l.fenced(t, c.Epoch, unmoved{currentID(t)}).NewTransaction()
	epoch := strconv.FormatUint(c.Epoch, 10)
	if t.Properties()[EpochProperty] != epoch {
		if err := tx.SetProperties(iceberg.Properties{EpochProperty: epoch}); err != nil {
			return 0, err
		}
	}
	summary := iceberg.Properties{}
	if c.Compaction {
		summary = inherited(t.CurrentSnapshot())
	}
	maps.Copy(summary, c.Properties)
	summary[TokenProperty], summary[EpochProperty] = c.Token, epoch

	// Files carry field ids, and resolve has looked for files that are in the table already.
	options := []table.WriteOption{table.WithoutAutoNameMapping(), table.WithoutDuplicateCheck()}
	switch {
	case c.Compaction:
		err = rewrite(ctx, t, tx, remove, add, summary)
	case len(remove) > 0:
		err = tx.ReplaceDataFilesWithDataFiles(ctx, remove, add, summary, options...)
	case len(add) > 0:
		err = tx.AddDataFiles(ctx, add, summary, options...)
	default:
		err = appendNothing(ctx, t, tx, summary)
	}
	if err != nil {
		return 0, err
	}
	committed, err := tx.Commit(ctx)
	if err != nil {
		return 0, err
	}
	return currentID(committed), nil
}

// resolve finds the files that a change removes and adds, and refuses a change that does not fit the table.
func (l *Lake) resolve(ctx context.Context, t *table.Table, c Commit) (remove, add []iceberg.DataFile, err error) {
	var live map[string]File
	if len(c.Remove)+len(c.Add) > 0 {
		files, err := l.filesAt(ctx, t, currentID(t))
		if err != nil {
			return nil, nil, err
		}
		live = make(map[string]File, len(files))
		for _, f := range files {
			live[f.Path] = f
		}
	}
	spec := t.Spec()
	seen := map[string]bool{}
	for _, path := range c.Remove {
		f, ok := live[path]
		if !ok {
			return nil, nil, fmt.Errorf("%w: file %s, which the change replaces, is no longer in it: plan it again", ErrMoved, path)
		}
		if seen[path] {
			return nil, nil, permanent(fmt.Errorf("file %s is to be removed twice", path))
		}
		seen[path] = true
		// The library looks files up by path alone; what else an entry says is taken from the manifest.
		b, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, path, iceberg.ParquetFile, nil, nil, nil, f.Rows, f.Bytes)
		if err != nil {
			return nil, nil, permanent(err)
		}
		remove = append(remove, b.Build())
	}
	for _, s := range c.Add {
		if _, ok := live[s.Path]; ok || seen[s.Path] {
			return nil, nil, fmt.Errorf("%w: staged file %s is in it already, by another commit, or is added twice", ErrMoved, s.Path)
		}
		seen[s.Path] = true
		if err := l.checkStaged(t, s); err != nil {
			return nil, nil, permanent(fmt.Errorf("%w: %w", ErrStaged, err))
		}
		df, err := decodeEntry(s, spec, t.Schema())
		if err != nil {
			return nil, nil, permanent(fmt.Errorf("%w: %w", ErrStaged, err))
		}
		add = append(add, df)
	}
	return remove, add, nil
}

// checkStaged sees that a file is where the table's files are, and whole.
func (l *Lake) checkStaged(t *table.Table, s Staged) error {
	data := filepath.Join(folder(t.Location()), "data") + string(filepath.Separator)
	if !strings.HasPrefix(filepath.Clean(s.Path), data) {
		return fmt.Errorf("staged file %s is not below %s", s.Path, data)
	}
	rel, err := l.within(s.Path)
	if err != nil {
		return err
	}
	info, err := l.root.Stat(rel)
	if err != nil {
		return fmt.Errorf("staged file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != s.Bytes {
		return fmt.Errorf("staged file %s has %d bytes, not the %d it was described with", s.Path, info.Size(), s.Bytes)
	}
	return nil
}

// appendNothing makes a snapshot that only carries properties.
func appendNothing(ctx context.Context, t *table.Table, tx *table.Transaction, summary iceberg.Properties) error {
	sc, err := table.SchemaToArrowSchema(t.Schema(), nil, true, false)
	if err != nil {
		return err
	}
	none, err := array.NewRecordReader(sc, nil)
	if err != nil {
		return err
	}
	defer none.Release()
	return tx.Append(ctx, none, summary)
}

// fenced gives the table with a catalog that checks the epoch, and what else is required, in the same step that changes the table.
func (l *Lake) fenced(t *table.Table, epoch uint64, requirements ...table.Requirement) *table.Table {
	return table.New(t.Identifier(), t.Metadata(), t.MetadataLocation(), t.FS, fencedCatalog{l.commits, epoch, requirements})
}

// fencedCatalog adds a requirement to each commit: the catalog checks it against the metadata that it then replaces by
// compare-and-set, so that no fence can come in between.
type fencedCatalog struct {
	table.CatalogIO
	epoch    uint64
	required []table.Requirement
}

func (f fencedCatalog) CommitTable(ctx context.Context, ident table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	var meta table.Metadata
	var location string
	err := failpoint.Around(ctx, failpoint.CommitCatalog, func() (err error) {
		meta, location, err = f.CatalogIO.CommitTable(ctx, ident, slices.Concat(f.required, reqs, []table.Requirement{notFenced{f.epoch}}), updates)
		return err
	})
	return meta, location, err
}

// errUnderneath says that a table moved after a commit had looked at it: it has to look again.
var errUnderneath = errors.New("the table moved meanwhile")

// unmoved requires that a table's snapshot is still the one that a commit looked at. The library asks for that too, but where a
// table's properties let it retry by itself, it puts the change on whatever it then finds, even on the same commit by another.
type unmoved struct{ snapshot int64 }

func (unmoved) GetType() string { return "shoplake-assert-unmoved" }

func (u unmoved) Validate(meta table.Metadata) error {
	var current int64
	if meta != nil && meta.CurrentSnapshot() != nil {
		current = meta.CurrentSnapshot().SnapshotID
	}
	if current != u.snapshot {
		return fmt.Errorf("%w: its snapshot is %d, it was %d", errUnderneath, current, u.snapshot)
	}
	return nil
}

// notFenced requires that a table has seen no higher epoch.
type notFenced struct{ epoch uint64 }

func (notFenced) GetType() string { return "shoplake-assert-epoch" }

func (n notFenced) Validate(meta table.Metadata) error {
	seen, err := epochOf(meta)
	if err != nil {
		return permanent(err)
	}
	if seen > n.epoch {
		return fmt.Errorf("%w: it has seen epoch %d, this writer has %d", ErrFenced, seen, n.epoch)
	}
	return nil
}

func epochOf(meta table.Metadata) (uint64, error) {
	if meta == nil {
		return 0, fmt.Errorf("the table was dropped: %w", ErrNotFound)
	}
	text, ok := meta.Properties()[EpochProperty]
	if !ok {
		return 0, nil
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the table's property %s: %w", EpochProperty, err)
	}
	return epoch, nil
}

const (
	// maxFailures is how often an error that is no conflict is met before it is reported.
	maxFailures = 3
	maxWait     = 500 * time.Millisecond
)

// permanentError is one that a fresh look at the table does not mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) error { return permanentError{err} }

// retry repeats an attempt after conflicts with other writers, for as long as ctx lasts, and a few times after other
// errors, whose outcome may be unknown.
func retry(ctx context.Context, attempt func() error) error {
	failures := 0
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, maxWait) {
		err := attempt()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		for _, final := range []error{ErrMoved, ErrFenced, ErrNotFound, ErrIncompatible, fs.ErrPermission} {
			if errors.Is(err, final) {
				return err
			}
		}
		if errors.As(err, new(permanentError)) {
			return err
		}
		if !conflict(err) {
			if failures++; failures >= maxFailures {
				return err
			}
		}
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
}

// conflict says whether an error means that another writer came first. The SQL catalog has no type for all of them.
func conflict(err error) bool {
	text := err.Error()
	return errors.Is(err, errUnderneath) || errors.Is(err, table.ErrCommitFailed) || errors.Is(err, catalog.ErrTableAlreadyExists) ||
		strings.Contains(text, "requirement failed") || strings.Contains(text, "database is locked") || strings.Contains(text, "SQLITE_BUSY")
}

// lock waits for its turn to write a table among the writers of this process.
func (l *Lake) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.writersMu.Lock()
	slot, ok := l.writers[name]
	if !ok {
		slot = make(chan struct{}, 1)
		l.writers[name] = slot
	}
	l.writersMu.Unlock()
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
