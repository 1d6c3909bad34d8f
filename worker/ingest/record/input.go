package record

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// Read reads the file at name (slash-separated, below root) into w and says
// what it found; rows carry fileIndex. A file that is not of the layout's
// format, or corrupt anywhere, is no error: see FileInfo.Unreadable. An error
// means that trying again may help (the file cannot be opened or read, it was
// written to meanwhile, the scratch disk is full, ctx ended) or that the layout
// cannot be used; the file then has no rows in w.
func Read(ctx context.Context, root *os.Root, name string, layout Layout, w *Writer, fileIndex int) (FileInfo, error) {
	info, err := read(ctx, root, name, layout, w, fileIndex)
	if err != nil {
		return FileInfo{}, fmt.Errorf("read landing file %s: %w", name, err)
	}
	return info, nil
}

// A reader puts the records of an opened file into w and returns the names that
// no column has. Whatever error it returns is the file's fault, unless the
// file's bytes could not be had, w failed, or ctx ended.
type reader func(ctx context.Context, in *input, layout *compiled, w *Writer) (*extras, error)

func read(ctx context.Context, root *os.Root, name string, layout Layout, w *Writer, fileIndex int) (FileInfo, error) {
	compiled, err := compile(layout)
	if err != nil {
		return FileInfo{}, err
	}
	if w.batch == nil || w.columns != len(layout.Columns) {
		return FileInfo{}, fmt.Errorf("scratch writer is closed or not made for the layout's %d columns", len(layout.Columns))
	}
	in, err := openInput(root, name)
	if err != nil {
		return FileInfo{}, err
	}
	defer in.close()

	info := FileInfo{Size: in.size, ModTime: in.modified}
	w.begin(fileIndex)
	var unknown *extras
	var fault error
	if in.size > 0 {
		unknown, fault = readFormat(ctx, in, compiled, w)
	}
	if err := in.finish(ctx); err != nil {
		w.rollback()
		return FileInfo{}, err
	}
	if fault != nil {
		w.rollback()
		if err := w.unreadable(in); err != nil {
			return FileInfo{}, err
		}
		info.Unreadable = fault
	}
	if w.err != nil {
		return FileInfo{}, w.err
	}
	info.Rows = w.rows
	if fault == nil && unknown != nil {
		info.ExtraColumns = unknown.sorted()
	}
	info.SHA256 = hex.EncodeToString(in.hash.Sum(nil))
	return info, nil
}

// readFormat checks that the file's name and first bytes fit the format, then
// reads it.
func readFormat(ctx context.Context, in *input, layout *compiled, w *Writer) (*extras, error) {
	if other := formatOfName(in.name); other != "" && other != layout.Format {
		return nil, fmt.Errorf("its name says %s, its contract %s", other, layout.Format)
	}
	readers := map[string]reader{CSV: readCSV, NDJSON: readJSON, XLSX: readXLSX, Parquet: readParquet}
	return readers[layout.Format](ctx, in, layout, w)
}

// formatOfName tells the format that an extension stands for, "" if unknown.
func formatOfName(name string) string {
	switch path.Ext(unpackedName(name)) {
	case ".csv", ".tsv", ".psv", ".tab":
		return CSV
	case ".ndjson", ".jsonl", ".json":
		return NDJSON
	case ".xlsx", ".xlsm", ".xltx", ".xltm":
		return XLSX
	case ".parquet", ".pq":
		return Parquet
	}
	return ""
}

var signatures = []struct {
	magic string
	what  string
}{
	{"PK\x03\x04", "a zip archive (perhaps a workbook)"},
	{"PK\x05\x06", "an empty zip archive"},
	{"PAR1", "a Parquet file"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a legacy or encrypted Office file"},
	{"\x1f\x8b", "gzip inside another compression"},
	{"\x28\xb5\x2f\xfd", "zstd inside another compression"},
	{"%PDF-", "a PDF document"},
	{"BZh", "a bzip2 archive"},
	{"\xfd7zXZ\x00", "an xz archive"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"SQLite format 3\x00", "an SQLite database"},
	{"\x89PNG", "a picture"},
	{"Obj\x01", "an Avro file"},
	{"ARROW1", "an Arrow file"},
	{"\xff\xfe", "UTF-16 text"},
	{"\xfe\xff", "UTF-16 text"},
}

// foreign tells what a file is that begins like none of text, "" if it may be text.
func foreign(head []byte) string {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return s.what
		}
	}
	return ""
}

// unreadable writes the one row that stands for the file.
func (w *Writer) unreadable(in *input) error {
	raw := make([]byte, min(in.size, MaxRawBytes))
	n, err := in.file.ReadAt(raw, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("keep the beginning of an unreadable file: %w", err)
	}
	w.rows = 1
	return w.end(0, raw[:n], in.size, RuleUnreadable, nil)
}

// extras gathers names that no column has.
type extras struct {
	names map[string]bool
	bytes int
}

// note remembers name, within bounds.
func (e *extras) note(name string) {
	if e.names == nil {
		e.names = map[string]bool{}
	}
	const longest, most = 1 << 10, 4 << 20
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "")
	}
	if !e.names[name] && len(e.names) < MaxColumns && e.bytes < most {
		e.names[strings.Clone(name)] = true
		e.bytes += len(name)
	}
}

func (e *extras) sorted() []string {
	names := make([]string, 0, len(e.names))
	for name := range e.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
