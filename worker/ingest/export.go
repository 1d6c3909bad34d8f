package ingest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/worker/ingest/record"
)

// filesTable has the landing files in the session: file, path, sha256.
const filesTable = "ingest.files"

// maxErrorBytes is how much of the reason why a file is unreadable is kept.
const maxErrorBytes = 4096

// checkGroup checks some scratch files and writes their rows: first the good
// ones, then what is not among them. Bad rows are few, and checking these once
// more costs less than keeping all checked rows.
func (t *task) checkGroup(ctx context.Context, session *engine.Session, n int, segments []string) error {
	bronze, err := t.export(ctx, session, t.Bronze, n, t.bronzeQuery(scratchRows(segments)))
	if err != nil {
		return err
	}
	quarantined, err := t.export(ctx, session, t.Quarantine, n, t.quarantineQuery(otherRows(segments, bronze)))
	if err != nil {
		return err
	}
	if err := t.count(ctx, session, bronze, pipeline.SourceFileColumn, func(f *file) *int64 { return &f.bronze }); err != nil {
		return err
	}
	return t.count(ctx, session, quarantined, "source_file", func(f *file) *int64 { return &f.quarantined })
}

// scratchRows is the rows of scratch files.
func scratchRows(segments []string) string {
	return "read_parquet(" + paths(segments...) + ")"
}

// otherRows is the rows of scratch files that a bronze file, unless its path is
// empty, does not have.
func otherRows(segments []string, bronze string) string {
	if bronze == "" {
		return scratchRows(segments)
	}
	return fmt.Sprintf(`(
    SELECT * FROM %s AS scratch ANTI JOIN (
      SELECT files.file, bronze.%s AS good_row FROM read_parquet(%s) AS bronze JOIN %s AS files ON bronze.%s = files.path
    ) AS good ON scratch.%s = good.file AND scratch.%s = good.good_row)`,
		scratchRows(segments), quote(pipeline.RowNumberColumn), paths(bronze), filesTable, quote(pipeline.SourceFileColumn),
		record.ColumnFileIndex, record.ColumnRowNumber)
}

// count adds up the rows of each landing file in a file that was written.
func (t *task) count(ctx context.Context, session *engine.Session, path, column string, to func(*file) *int64) (err error) {
	if path == "" {
		return nil
	}
	rows, err := session.Query(ctx, fmt.Sprintf("SELECT files.file, count(*) FROM read_parquet(%s) AS written JOIN %s AS files ON written.%s = files.path GROUP BY 1",
		paths(path), filesTable, quote(column)), nil)
	if err != nil {
		return fmt.Errorf("count the rows of %s: %w", path, err)
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		*to(&t.files[values[0].(int64)]) += values[1].(int64)
	}
	return rows.Err()
}

// export writes the n-th file of a table and returns its path; none, and no
// path, if there are no rows.
func (t *task) export(ctx context.Context, session *engine.Session, to Target, n int, query string) (string, error) {
	path := filepath.Join(to.Staging, fmt.Sprintf("%s-%04d.parquet", t.AttemptID, n))
	rows, err := session.Export(ctx, query, path, to.Columns)
	if err != nil || rows == 0 {
		return "", err
	}
	t.outputs = append(t.outputs, Output{Table: to.Table, Path: path, Rows: rows})
	return path, nil
}

// filesQuery lists the files that were read.
func (t *task) filesQuery() string {
	rows := make([]string, len(t.files))
	for i, f := range t.files {
		rows[i] = fmt.Sprintf("(%d, %s, %s)", i, literal(f.path), literal(f.SHA256))
	}
	return "SELECT CAST(file AS INTEGER) AS file, path, sha256 FROM (VALUES\n" + strings.Join(rows, ",\n") + ") AS files(file, path, sha256)"
}

// selected writes a SELECT of what there is for a target's columns; columns
// that it has and ingestion does not know are null.
func selected(to Target, have []derived, from string) string {
	known := make(map[string]bool, len(have))
	var list []string
	for _, d := range have {
		known[d.name] = true
		list = append(list, d.expr+" AS "+quote(d.name))
	}
	for _, c := range to.Columns {
		if !known[c.Name] {
			list = append(list, "NULL AS "+quote(c.Name))
		}
	}
	return "SELECT " + strings.Join(list, ",\n  ") + "\nFROM " + from
}

// bronzeQuery gives the good rows of a table of scratch columns.
func (t *task) bronzeQuery(scratch string) string {
	contract := t.Source.Contract
	var have []derived
	for _, c := range contract.Columns {
		have = append(have, derived{c.Name, "checked." + quote(c.Name)})
	}
	if day := contract.BusinessDay; day != nil && day.Of != "" {
		have = append(have, derived{day.Column, "checked." + quote(day.Column)})
	}
	have = append(have,
		derived{pipeline.SourceFileColumn, "files.path"},
		derived{pipeline.RowNumberColumn, quote(columnRow)},
		derived{pipeline.IngestedAtColumn, timestamp(t.IngestTime)},
		derived{pipeline.RunIDColumn, literal(t.RunID)},
		derived{pipeline.ContractVersionColumn, literal(contract.Version)},
		derived{pipeline.ExtraColumn, quote(columnExtra)},
	)
	return selected(t.Bronze, have, t.checkedRows(scratch, "IS NULL"))
}

// quarantineQuery gives the bad rows of a table of scratch columns.
func (t *task) quarantineQuery(scratch string) string {
	source := literal(t.Source.Name)
	return selected(t.Quarantine, []derived{
		{"quarantine_id", fmt.Sprintf("md5(concat(%s, '|', files.path, '|', files.sha256, '|', %s))", source, quote(columnRow))},
		{"source", source},
		{"source_file", "files.path"},
		{"row_number", quote(columnRow)},
		{"raw", quote(columnRaw)},
		{"raw_size", quote(columnRawSize)},
		{"rules", quote(columnRules)},
		{"ingested_at", timestamp(t.IngestTime)},
		{"run_id", literal(t.RunID)},
		{"contract_version", literal(t.Source.Contract.Version)},
		{"extra", quote(columnExtra)},
	}, t.checkedRows(scratch, "IS NOT NULL"))
}

func (t *task) checkedRows(scratch, rules string) string {
	return fmt.Sprintf("(\n%s) AS checked JOIN %s AS files ON checked.%s = files.file\nWHERE %s %s",
		t.statement.over(scratch), filesTable, quote(columnFile), quote(columnRules), rules)
}

// ingestedQuery gives the fate of each file.
func (t *task) ingestedQuery() string {
	contract := t.Source.Contract
	rows := make([]string, len(t.files))
	for i, f := range t.files {
		state, reason := pipeline.StateIngested, "CAST(NULL AS VARCHAR)"
		if f.Unreadable != nil {
			state, reason = pipeline.StateUnreadable, literal(cut(f.Unreadable.Error(), maxErrorBytes))
		}
		rows[i] = fmt.Sprintf("(%s, %s, %s, %d, %s, %s, %s, %s, %s, %d, %d, %d, %s, %s, %s)",
			literal(t.Source.Name), literal(f.path), literal(f.SHA256), f.Size, timestamp(f.ModTime),
			literal(contract.Version), literal(contract.Hash), literal(state), reason,
			f.Rows, f.bronze, f.quarantined, timestamp(t.IngestTime), literal(t.RunID), literal(t.TimeZone))
	}
	names := []string{
		"source", "path", "sha256", "size_bytes", "modified_at", "contract_version", "contract_hash", "state", "error",
		"rows_read", "rows_bronze", "rows_quarantined", "ingested_at", "run_id", "time_zone",
	}
	have := make([]derived, len(names))
	for i, name := range names {
		have[i] = derived{name, quote(name)}
	}
	return selected(t.Ingested, have, "(VALUES\n"+strings.Join(rows, ",\n")+") AS files("+strings.Join(names, ", ")+")")
}

// cut shortens text to at most n bytes of whole characters, valid UTF-8 and
// without NUL.
func cut(text string, n int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
