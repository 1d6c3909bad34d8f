package ingest

import (
	"path"
	"strings"

	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/worker/ingest/record"
)

// layout says how a landing file of a contract is read.
func layout(c *pipeline.Contract, name string, columns []record.Column) record.Layout {
	f := c.Format
	return record.Layout{
		Format:    string(kindOf(f, name)),
		Columns:   columns,
		Delimiter: byte(f.Delimiter),
		Quote:     byte(f.Quote),
		Encoding:  string(f.Encoding),
		Sheet:     f.Sheet,
		SkipRows:  f.SkipRows,
	}
}

// kindOf is the format of a file: what its name says, if the contract has that
// format, else the contract's first.
func kindOf(f pipeline.Format, name string) pipeline.FormatKind {
	name = strings.ToLower(path.Base(name))
	for _, packed := range []string{".gz", ".gzip", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, packed)
	}
	kind := f.Kind
	switch path.Ext(name) {
	case ".csv", ".tsv", ".txt":
		kind = pipeline.FormatCSV
	case ".ndjson", ".jsonl", ".json":
		kind = pipeline.FormatNDJSON
	case ".xlsx", ".xlsm":
		kind = pipeline.FormatXLSX
	case ".parquet":
		kind = pipeline.FormatParquet
	}
	if f.Accepts(kind) {
		return kind
	}
	return f.Kind
}
