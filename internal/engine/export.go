package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// Export writes a trusted query's rows to one Parquet file (zstd), which must lie in one of the session's WritePaths, and
// returns how many there are. The columns are found by name, cast to their types, and written in the given order with their
// field ids. Where there are no rows, or an error, no file is left. The file's folder is made if it is missing.
func (s *Session) Export(ctx context.Context, query, path string, cols []Column) (int64, error) {
	ctx, end := traced(ctx, "engine.export", attribute.String("shoplake.file", path))
	rows, err := s.export(ctx, query, path, cols)
	end(err)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return rows, nil
}

func (s *Session) export(ctx context.Context, query, path string, cols []Column) (int64, error) {
	list, options, err := written(cols)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, fmt.Errorf("make the folder: %w", err)
	}
	var rows int64
	err = failpoint.Around(ctx, failpoint.WriteParquet, func() error {
		rows, err = s.exec(ctx, "COPY (SELECT "+list+" FROM "+Subquery(query)+") TO "+quote(path)+" ("+options+", WRITE_EMPTY_FILE false)")
		return err
	})
	if err != nil {
		return 0, errors.Join(err, removePartial(path))
	}
	return rows, nil
}

// written are the SELECT list and the options of COPY by which columns are written.
func written(cols []Column) (list, options string, err error) {
	if len(cols) == 0 {
		return "", "", errors.New("a file needs a column")
	}
	var values, ids []string
	for _, c := range cols {
		if err := checkType(c); err != nil {
			return "", "", err
		}
		name := quoteName(c.Name)
		value := "CAST(" + name + " AS " + c.Type + ")"
		if c.Required {
			value = "coalesce(" + value + ", error(" + quote("the required column "+c.Name+" is null") + "))"
		}
		values = append(values, value+" AS "+name)
		if c.ID != 0 {
			ids = append(ids, fieldID(c))
		}
	}
	options = "FORMAT parquet, COMPRESSION zstd"
	if len(ids) > 0 {
		options += ", FIELD_IDS {" + strings.Join(ids, ", ") + "}"
	}
	return strings.Join(values, ", "), options, nil
}

// Part is one file of ExportParts.
type Part struct {
	// Value is that of the expression, as text; meaningless where Null.
	Value string
	// Null tells the rows for which the expression is null.
	Null bool
	Path string
	Rows int64
}

// partColumn names the expression that ExportParts splits by; it is not written. No table can have a column of this name.
const partColumn = "#part"

// ExportParts is Export to one file for each value of an expression over the query's columns, trusted as the query is. They
// are written below dir, a folder that does not exist yet; after an error it does not either. The query runs once, and rows
// are kept, in memory or spilled, until the last one is known. Of a very great number of values some may have several files.
func (s *Session) ExportParts(ctx context.Context, query, by, dir string, cols []Column) ([]Part, error) {
	ctx, end := traced(ctx, "engine.export", attribute.String("shoplake.folder", dir))
	parts, err := s.exportParts(ctx, query, by, dir, cols)
	if err != nil {
		if e := os.RemoveAll(dir); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the unfinished files: %w", e))
		}
		err = fmt.Errorf("write files below %s: %w", dir, err)
	}
	end(err)
	return parts, err
}

func (s *Session) exportParts(ctx context.Context, query, by, dir string, cols []Column) ([]Part, error) {
	list, options, err := written(cols)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	var rows int64
	err = failpoint.Around(ctx, failpoint.WriteParquet, func() error {
		rows, err = s.exec(ctx, "COPY (SELECT "+list+", "+by+" AS "+quoteName(partColumn)+" FROM "+Subquery(query)+") TO "+quote(dir)+
			" ("+options+", PARTITION_BY ("+quoteName(partColumn)+"))")
		return err
	})
	if err != nil {
		return nil, err
	}
	if rows == 0 {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("remove the empty folder: %w", err)
		}
		return nil, nil
	}
	parts, err := s.partsBelow(ctx, dir)
	if err != nil {
		return nil, err
	}
	var counted int64
	for _, part := range parts {
		counted += part.Rows
	}
	if counted != rows {
		return nil, fmt.Errorf("%d rows were written, but the files hold %d; this is a fault of the program", rows, counted)
	}
	return parts, nil
}

// partsBelow finds the files of ExportParts, NAME=VALUE/FILE, by value.
func (s *Session) partsBelow(ctx context.Context, dir string) ([]Part, error) {
	var parts []Part
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := filepath.Base(filepath.Dir(path))
		value, err := url.PathUnescape(name[strings.LastIndexByte(name, '=')+1:])
		if err != nil {
			return err
		}
		parts = append(parts, Part{Value: value, Null: value == "__HIVE_DEFAULT_PARTITION__", Path: path})
		paths = append(paths, literalPath(path))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the files: %w", err)
	}
	rows, err := s.Query(ctx, "SELECT file_name, num_rows FROM parquet_file_metadata("+quoteList(paths)+")", nil)
	if err != nil {
		return nil, fmt.Errorf("count the rows of the files: %w", err)
	}
	all, err := rows.All()
	if err != nil {
		return nil, fmt.Errorf("count the rows of the files: %w", err)
	}
	for _, row := range all {
		i := slices.IndexFunc(parts, func(p Part) bool { return p.Path == row[0] })
		if i < 0 {
			return nil, fmt.Errorf("the engine counts the rows of %v, which it was not asked for", row[0])
		}
		parts[i].Rows = row[1].(int64)
	}
	return parts, nil
}

// fieldID is a column's part of FIELD_IDS.
func fieldID(c Column) string {
	if strings.HasSuffix(c.Type, "[]") && c.ElementID != 0 {
		return fmt.Sprintf("%s: {__duckdb_field_id: %d, element: %d}", quoteName(c.Name), c.ID, c.ElementID)
	}
	return fmt.Sprintf("%s: %d", quoteName(c.Name), c.ID)
}

// removePartial removes what a failed COPY may have left: DuckDB writes to tmp_NAME and renames it.
func removePartial(path string) error {
	dir, name := filepath.Split(path)
	for _, file := range []string{path, dir + "tmp_" + name} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the unfinished file: %w", err)
		}
	}
	return nil
}
