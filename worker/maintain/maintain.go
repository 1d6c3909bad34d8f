// Package maintain rewrites data files of a table as one file of the same rows. It reads what a plan names and writes below a
// staging folder; it commits nothing and removes nothing.
package maintain

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/shoplake/shoplake/internal/engine"
)

// ErrNotConserved says that a rewritten file would not have the rows of those that it replaces.
var ErrNotConserved = errors.New("rows would be lost or made up; the files stay as they are, please report it")

// Request is one compaction.
type Request struct {
	// Table is layer.table, Columns all that it has.
	Table   string
	Columns []engine.Column
	// Files are the data files to rewrite, all of one partition, and Rows how many rows they have.
	Files []string
	Rows  int64
	// Path is the file that is written.
	Path   string
	Engine engine.Options
}

// Compact writes the rows of the files as one file. After an error nothing is left of it.
func Compact(ctx context.Context, r Request) error {
	if err := compact(ctx, r); err != nil {
		return fmt.Errorf("compact %d files of %s: %w", len(r.Files), r.Table, err)
	}
	return nil
}

func compact(ctx context.Context, r Request) error {
	session, err := engine.Open(ctx, r.Engine)
	if err != nil {
		return fmt.Errorf("open the engine: %w", err)
	}
	defer session.Close()
	if err := session.Table(ctx, r.Table, r.Columns, r.Files, ""); err != nil {
		return err
	}
	rows, err := session.Export(ctx, "SELECT * FROM "+r.Table, r.Path, r.Columns)
	if err != nil {
		return err
	}
	if rows == r.Rows {
		return nil
	}
	err = fmt.Errorf("%w: they have %d rows, of which %d were written", ErrNotConserved, r.Rows, rows)
	if rows > 0 {
		err = errors.Join(err, os.Remove(r.Path))
	}
	return err
}
