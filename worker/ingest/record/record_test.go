package record

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// scratchRow is one row of the scratch files.
type scratchRow struct {
	File   int32
	Number int64
	Raw    string
	Size   int64
	Rule   string
	Extra  string
	Cells  []string // "<null>" for a null
}

const null = "<null>"

// readScratch reads scratch files with a reader of another make than the writer.
func readScratch(t testing.TB, paths []string) []scratchRow {
	t.Helper()
	var rows []scratchRow
	for _, path := range paths {
		r, err := file.OpenParquetFile(path, false)
		if err != nil {
			t.Fatal(err)
		}
		arrows, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		table, err := arrows.ReadTable(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		reader := array.NewTableReader(table, 0)
		for reader.Next() {
			rows = appendScratch(rows, reader.RecordBatch())
		}
		reader.Release()
		table.Release()
		r.Close()
	}
	return rows
}

func appendScratch(rows []scratchRow, b arrow.RecordBatch) []scratchRow {
	text := func(column, i int) string {
		switch c := b.Column(column).(type) {
		case *array.String:
			if c.IsNull(i) {
				return null
			}
			return c.Value(i)
		case *array.Binary:
			return string(c.Value(i))
		}
		panic(fmt.Sprintf("column %d is %s", column, b.Column(column).DataType()))
	}
	for i := range int(b.NumRows()) {
		row := scratchRow{
			File:   b.Column(0).(*array.Int32).Value(i),
			Number: b.Column(1).(*array.Int64).Value(i),
			Raw:    text(2, i),
			Size:   b.Column(3).(*array.Int64).Value(i),
			Rule:   text(4, i), Extra: text(5, i),
		}
		for c := 6; c < int(b.NumCols()); c++ {
			row.Cells = append(row.Cells, text(c, i))
		}
		rows = append(rows, row)
	}
	return rows
}

// setup is where a test's landing and scratch files lie.
type setup struct {
	landing, scratch string
	root             *os.Root
}

func newSetup(t testing.TB) *setup {
	t.Helper()
	s := &setup{landing: t.TempDir(), scratch: t.TempDir()}
	s.open(t)
	return s
}

func (s *setup) open(t testing.TB) {
	t.Helper()
	root, err := os.OpenRoot(s.landing)
	if err != nil {
		t.Fatal(err)
	}
	s.root = root
	t.Cleanup(func() { root.Close() })
}

// read reads one landing file and checks what holds for every file.
func (s *setup) read(t testing.TB, name string, layout Layout) (FileInfo, []scratchRow) {
	t.Helper()
	w, err := NewWriter(s.scratch, layout.Columns)
	if err != nil {
		t.Fatal(err)
	}
	info, err := Read(context.Background(), s.root, name, layout, w, 7)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	paths, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	rows := readScratch(t, paths)
	checkInvariants(t, info, rows)
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	return info, rows
}

// readBytes reads one landing file made of data.
func (s *setup) readBytes(t testing.TB, name string, data []byte, layout Layout) (FileInfo, []scratchRow) {
	t.Helper()
	writeFile(t, s.landing, name, data)
	return s.read(t, name, layout)
}

func readBytes(t testing.TB, name string, data []byte, layout Layout) (FileInfo, []scratchRow) {
	t.Helper()
	return newSetup(t).readBytes(t, name, data, layout)
}

func readFile(t testing.TB, landing, name string, layout Layout) (FileInfo, []scratchRow) {
	t.Helper()
	s := &setup{landing: landing, scratch: t.TempDir()}
	s.open(t)
	return s.read(t, name, layout)
}

func writeFile(t testing.TB, folder, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkInvariants checks what holds for every file: rows delivered are rows
// counted, they are numbered in order, and a refused row has no cells.
func checkInvariants(t testing.TB, info FileInfo, rows []scratchRow) {
	t.Helper()
	if int64(len(rows)) != info.Rows {
		t.Fatalf("%d rows delivered, %d counted (%v)", len(rows), info.Rows, info.Unreadable)
	}
	if info.Unreadable != nil {
		if len(rows) != 1 || rows[0].Rule != RuleUnreadable || rows[0].Number != 0 || rows[0].Size != info.Size {
			t.Fatalf("unreadable (%v), but its rows are %+v", info.Unreadable, rows)
		}
		return
	}
	for i, row := range rows {
		if row.Number != int64(i)+1 {
			t.Fatalf("row %d has number %d", i+1, row.Number)
		}
		if len(row.Raw) > MaxRawBytes || int64(len(row.Raw)) != min(row.Size, MaxRawBytes) {
			t.Fatalf("row %d has %d raw bytes of %d", row.Number, len(row.Raw), row.Size)
		}
		full := false
		for _, cell := range row.Cells {
			full = full || cell != null
			if cell == "" {
				t.Fatalf("row %d has an empty cell that isn't null", row.Number)
			}
		}
		switch row.Rule {
		case null:
		case RuleColumnCount, RuleMalformed, RuleEncoding:
			if full || row.Extra != null {
				t.Fatalf("row %d was refused, but has cells: %+v", row.Number, row)
			}
		default:
			t.Fatalf("row %d has rule %q", row.Number, row.Rule)
		}
	}
}
