// Package ingest reads landing files of one source into bronze and quarantine.
// Readers (package record) turn files into rows of text cells; one SQL
// statement, compiled from the source's contract, types every cell and finds
// every broken rule; good rows go to bronze, bad ones with their raw bytes to
// ops.quarantine, and the fate of each file to ops.ingested. No row vanishes:
// that rows read = bronze + quarantine is asserted for every file.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/worker/ingest/record"
)

// checkBytes is how much of the scratch files is checked at a time and becomes
// one bronze file, a tenth of that as a rule. The engine then remembers the
// numbers of its rows.
const checkBytes = 256 << 20

var (
	// ErrContract says that a contract cannot be made into a statement: trying again does not help.
	ErrContract = errors.New("rows cannot be checked by this contract, mend it")
	// ErrNotAsPlanned says that a file is another than the one that was planned, or gone: the plan is to be made again.
	ErrNotAsPlanned = errors.New("landing is not as it was when its reading was planned")
	// ErrNotConserved says that rows were lost or doubled: a fault of the program.
	ErrNotConserved = errors.New("rows are not conserved, which is a fault of the program")
)

// Target is a table that is written to.
type Target struct {
	// Table is layer.table.
	Table string
	// Staging is the folder that its files go to, absolute.
	Staging string
	// Columns are the table's, with their field ids. One that ingestion does not know is null.
	Columns []engine.Column
}

// Request is one ingest task.
type Request struct {
	Source *pipeline.Source
	// TimeZone is the pipeline's (IANA); empty is UTC.
	TimeZone string
	// Landing is the root folder of the source's files.
	Landing string
	Files   []*dispatchv1.LandingFile
	RunID   string
	// IngestTime is when the rows count as ingested, the same for every attempt; cut to microseconds.
	IngestTime time.Time
	// AttemptID is part of the names of the files that are written.
	AttemptID string
	// Bronze, Quarantine and Ingested are the source's bronze table, ops.quarantine and ops.ingested.
	Bronze, Quarantine, Ingested Target
	// Engine bounds memory and threads; the folders it may use are added. Where it has no spill folder, one in the scratch
	// folder is used.
	Engine engine.Options
	// ScratchDir is where a folder for the time of the run is made; it exists.
	ScratchDir string
}

// Output is a data file that was written.
type Output struct {
	// Table is layer.table.
	Table string
	Path  string
	Rows  int64
}

// FileResult is the fate of one landing file.
type FileResult struct {
	// Path is below the source's landing folder.
	Path string
	// RowsRead = RowsBronze + RowsQuarantined.
	RowsRead, RowsBronze, RowsQuarantined int64
	// ExtraColumns are names that the contract does not know; their cells are kept in _extra.
	ExtraColumns []string
	// Unreadable says why nothing of the file could be taken; nil where it could.
	Unreadable error
}

// Result is what an ingest task did.
type Result struct {
	Files []Output
	// Landing has one entry a file, in the order of the request.
	Landing []FileResult
	// RowsRead = RowsBronze + RowsQuarantined.
	RowsRead, RowsBronze, RowsQuarantined int64
}

// Run reads the files of a request and writes their rows. A file that cannot be
// read is no error, see FileResult.Unreadable. After an error nothing is left
// of what was written; trying again may help, unless the contract is at fault.
func Run(ctx context.Context, r Request) (*Result, error) {
	result, err := run(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("ingest %d files of source %s: %w", len(r.Files), r.Source.Name, err)
	}
	return result, nil
}

func run(ctx context.Context, r Request) (_ *Result, err error) {
	if len(r.Files) == 0 {
		return &Result{}, nil
	}
	r.IngestTime = r.IngestTime.Truncate(time.Microsecond)
	statement, err := compile(r.Source.Contract, r.TimeZone, r.IngestTime)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContract, err)
	}
	scratch, err := os.MkdirTemp(r.ScratchDir, "ingest-*")
	if err != nil {
		return nil, fmt.Errorf("make a scratch folder in %s: %w", r.ScratchDir, err)
	}
	defer func() {
		if e := os.RemoveAll(scratch); e != nil && err == nil {
			err = fmt.Errorf("remove the scratch folder: %w", e)
		}
	}()

	t := &task{Request: r, statement: statement, scratch: scratch}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.discard())
		}
	}()
	segments, err := t.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.check(ctx, segments); err != nil {
		return nil, err
	}
	if err := t.conserved(); err != nil {
		return nil, err
	}
	return t.result(), nil
}

// task is a request under way.
type task struct {
	Request
	statement *statement
	scratch   string
	files     []file
	outputs   []Output
}

// file is a landing file that was read.
type file struct {
	path string
	record.FileInfo
	// bronze and quarantined count its rows in the files that were written.
	bronze, quarantined int64
}

var tracer = otel.Tracer("github.com/shoplake/shoplake/worker/ingest")

// read puts the records of all files into scratch files.
func (t *task) read(ctx context.Context) (segments []string, err error) {
	ctx, span := tracer.Start(ctx, "ingest.read", trace.WithAttributes(
		attribute.String("shoplake.source", t.Source.Name),
		attribute.Int("shoplake.files", len(t.Files)),
	))
	defer func() { end(span, err) }()

	root, err := os.OpenRoot(t.Landing)
	if err != nil {
		return nil, fmt.Errorf("open the landing folder: %w", err)
	}
	defer root.Close()
	contract := t.Source.Contract
	columns := make([]record.Column, len(contract.Columns))
	for i, c := range contract.Columns {
		columns[i] = record.Column{Name: c.Name, Aliases: c.Aliases}
	}
	w, err := record.NewWriter(t.scratch, columns)
	if err != nil {
		return nil, err
	}
	defer func() {
		closed, e := w.Close()
		segments = closed
		if err == nil && e != nil {
			err = fmt.Errorf("write scratch files: %w", e)
		}
	}()
	var rows, bytes int64
	for i, landing := range t.Files {
		info, err := record.Read(ctx, root, landing.GetPath(), layout(contract, landing.GetPath(), columns), w, i)
		if errors.Is(err, record.ErrChanged) || errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrNotAsPlanned, err)
		}
		if err != nil {
			return nil, err
		}
		if err := asPlanned(landing, info); err != nil {
			return nil, err
		}
		rows, bytes = rows+info.Rows, bytes+info.Size
		t.files = append(t.files, file{path: landing.GetPath(), FileInfo: info})
	}
	span.SetAttributes(attribute.Int64("shoplake.rows", rows), attribute.Int64("shoplake.bytes", bytes))
	return nil, nil
}

// asPlanned sees that the file that was read is the one that had rested when its reading was planned: it may have been
// written to since, and may not be complete.
func asPlanned(planned *dispatchv1.LandingFile, read record.FileInfo) error {
	modified := read.ModTime.Truncate(time.Microsecond)
	if planned.GetModifyTime() == nil || planned.GetSizeBytes() == read.Size && planned.GetModifyTime().AsTime().Equal(modified) {
		return nil
	}
	return fmt.Errorf("%w: %s has %d bytes of %s, and had %d of %s", ErrNotAsPlanned, planned.GetPath(), read.Size, modified.UTC().Format(time.RFC3339Nano),
		planned.GetSizeBytes(), planned.GetModifyTime().AsTime().Format(time.RFC3339Nano))
}

// check types the rows of the scratch files, splits them, and writes them, some
// segments at a time; last, the fate of each file.
func (t *task) check(ctx context.Context, segments []string) (err error) {
	ctx, span := tracer.Start(ctx, "ingest.check", trace.WithAttributes(attribute.String("shoplake.source", t.Source.Name)))
	defer func() { end(span, err) }()

	options := t.Engine
	options.TimeZone = t.TimeZone
	options.ReadPaths = append(options.ReadPaths[:len(options.ReadPaths):len(options.ReadPaths)], t.scratch)
	options.WritePaths = append(options.WritePaths[:len(options.WritePaths):len(options.WritePaths)],
		t.Bronze.Staging, t.Quarantine.Staging, t.Ingested.Staging)
	if options.SpillDir == "" {
		options.SpillDir = filepath.Join(t.scratch, "spill")
	}
	session, err := engine.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()

	if len(segments) > 0 {
		if err := session.Materialize(ctx, filesTable, t.filesQuery()); err != nil {
			return err
		}
	}
	groups, err := group(segments)
	if err != nil {
		return err
	}
	for n, paths := range groups {
		if err := t.checkGroup(ctx, session, n, paths); err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove a scratch file: %w", err)
			}
		}
	}
	if _, err := t.export(ctx, session, t.Ingested, 0, t.ingestedQuery()); err != nil {
		return err
	}
	var bronze, quarantined int64
	for _, f := range t.files {
		bronze, quarantined = bronze+f.bronze, quarantined+f.quarantined
	}
	span.SetAttributes(attribute.Int64("shoplake.rows_bronze", bronze), attribute.Int64("shoplake.rows_quarantined", quarantined))
	return nil
}

// group puts scratch files together up to checkBytes.
func group(segments []string) ([][]string, error) {
	var groups [][]string
	var bytes int64
	for _, path := range segments {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("find a scratch file: %w", err)
		}
		if len(groups) == 0 || bytes+info.Size() > checkBytes {
			groups, bytes = append(groups, nil), 0
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], path)
		bytes += info.Size()
	}
	return groups, nil
}

// conserved tells that every row read is in exactly one place, by what the
// written files hold: for every landing file, and over all.
func (t *task) conserved() error {
	var read, bronze, quarantined int64
	for _, f := range t.files {
		if f.Rows != f.bronze+f.quarantined {
			return fmt.Errorf("%w: of %s %d were read, %d are in bronze, %d in quarantine", ErrNotConserved, f.path, f.Rows, f.bronze, f.quarantined)
		}
		read, bronze, quarantined = read+f.Rows, bronze+f.bronze, quarantined+f.quarantined
	}
	written := map[string]int64{}
	for _, output := range t.outputs {
		written[output.Table] += output.Rows
	}
	if written[t.Bronze.Table] != bronze || written[t.Quarantine.Table] != quarantined || written[t.Ingested.Table] != int64(len(t.files)) {
		return fmt.Errorf("%w: of %d read, %d of %d were written to bronze, %d of %d to quarantine, and %d of %d files noted",
			ErrNotConserved, read, written[t.Bronze.Table], bronze, written[t.Quarantine.Table], quarantined, written[t.Ingested.Table], len(t.files))
	}
	return nil
}

func (t *task) result() *Result {
	result := &Result{Files: t.outputs}
	for _, f := range t.files {
		result.Landing = append(result.Landing, FileResult{
			Path: f.path, RowsRead: f.Rows, RowsBronze: f.bronze, RowsQuarantined: f.quarantined,
			ExtraColumns: f.ExtraColumns, Unreadable: f.Unreadable,
		})
		result.RowsRead += f.Rows
		result.RowsBronze += f.bronze
		result.RowsQuarantined += f.quarantined
	}
	return result
}

// discard removes what was written: a failed attempt leaves nothing.
func (t *task) discard() error { return remove(t.outputs) }

func remove(outputs []Output) error {
	var errs []error
	for _, output := range outputs {
		if err := os.Remove(output.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove a file of a failed attempt: %w", err))
		}
	}
	return errors.Join(errs...)
}

// end ends a span with an error, if there is one.
func end(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
