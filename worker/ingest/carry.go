package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// CarryRequest is one carry task: data files of bronze or quarantine are
// replaced, because rows of some landing files must go; the others are copied.
type CarryRequest struct {
	// To is the table, which the files are of too.
	To Target
	// Files are the data files that are replaced.
	Files []string
	// Dropped are the landing files, by their paths below the source's landing folder, whose rows are left behind.
	Dropped []string
	// AttemptID is part of the name of the file that is written.
	AttemptID string
	// Engine bounds memory and threads; the folders it may use are added. Where it has no spill folder, one in the scratch
	// folder is used.
	Engine engine.Options
	// ScratchDir is where a folder for the time of the task is made; it exists.
	ScratchDir string
}

// CarryResult is what a carry task did.
type CarryResult struct {
	// Files is the file that was written; none where no row stays.
	Files []Output
	// RowsIn = RowsOut + RowsDropped.
	RowsIn, RowsOut, RowsDropped int64
}

// Carry copies the rows of data files that are not of dropped landing files.
// After an error nothing is left of what was written.
func Carry(ctx context.Context, r CarryRequest) (*CarryResult, error) {
	result, err := carry(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("carry the rows that stay of %d files of %s: %w", len(r.Files), r.To.Table, err)
	}
	return result, nil
}

func carry(ctx context.Context, r CarryRequest) (_ *CarryResult, err error) {
	if len(r.Files) == 0 {
		return &CarryResult{}, nil
	}
	scratch, err := os.MkdirTemp(r.ScratchDir, "carry-*")
	if err != nil {
		return nil, fmt.Errorf("make a scratch folder in %s: %w", r.ScratchDir, err)
	}
	defer func() {
		if e := os.RemoveAll(scratch); e != nil && err == nil {
			err = fmt.Errorf("remove the scratch folder: %w", e)
		}
	}()
	options := r.Engine
	options.ReadPaths = options.ReadPaths[:len(options.ReadPaths):len(options.ReadPaths)]
	for _, file := range r.Files {
		options.ReadPaths = append(options.ReadPaths, filepath.Dir(file))
	}
	options.WritePaths = append(options.WritePaths[:len(options.WritePaths):len(options.WritePaths)], r.To.Staging)
	if options.SpillDir == "" {
		options.SpillDir = filepath.Join(scratch, "spill")
	}
	session, err := engine.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()

	if err := session.Table(ctx, "carry.rows", r.To.Columns, r.Files, ""); err != nil {
		return nil, err
	}
	dropped := make([]string, len(r.Dropped))
	for i, path := range r.Dropped {
		dropped[i] = "(" + literal(path) + ")"
	}
	droppedQuery := "SELECT CAST(NULL AS VARCHAR) AS path WHERE false"
	if len(dropped) > 0 {
		droppedQuery = "SELECT DISTINCT path FROM (VALUES\n" + strings.Join(dropped, ",\n") + ") AS dropped(path)"
	}
	if err := session.Materialize(ctx, "carry.dropped", droppedQuery); err != nil {
		return nil, err
	}
	column := quote(sourceFileColumn(r.To.Table))
	result := &CarryResult{}
	if result.RowsIn, err = number(ctx, session, "SELECT count(*) FROM carry.rows"); err != nil {
		return nil, err
	}
	result.RowsDropped, err = number(ctx, session, "SELECT count(*) FROM carry.rows WHERE "+column+" IN (SELECT path FROM carry.dropped)")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.To.Staging, r.AttemptID+"-carried.parquet")
	result.RowsOut, err = session.Export(ctx,
		"SELECT * FROM carry.rows AS rows ANTI JOIN carry.dropped AS dropped ON rows."+column+" = dropped.path", path, r.To.Columns)
	if err != nil {
		return nil, err
	}
	if result.RowsOut > 0 {
		result.Files = []Output{{Table: r.To.Table, Path: path, Rows: result.RowsOut}}
	}
	if result.RowsIn != result.RowsOut+result.RowsDropped {
		err := fmt.Errorf("%w: of %d, %d were written and %d dropped", ErrNotConserved, result.RowsIn, result.RowsOut, result.RowsDropped)
		return nil, errors.Join(err, remove(result.Files))
	}
	return result, nil
}

// sourceFileColumn is the column of a table that names the landing file of a row.
func sourceFileColumn(table string) string {
	if table == pipeline.QuarantineTable {
		return "source_file"
	}
	return pipeline.SourceFileColumn
}

// number runs a query of one number.
func number(ctx context.Context, session *engine.Session, query string) (n int64, err error) {
	rows, err := session.Query(ctx, query, nil)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return 0, err
		}
		n = values[0].(int64)
	}
	return n, rows.Err()
}
