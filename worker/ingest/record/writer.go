package record

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Columns of a scratch file that stand before the cells.
const (
	ColumnFileIndex  = "file_index"  // INT32: as given to Read
	ColumnRowNumber  = "row_number"  // INT64: from 1, in the file's order, header not counted; 0 for RuleUnreadable
	ColumnRaw        = "raw"         // BLOB: CSV record or NDJSON line as it lies, JSON array of cell texts (XLSX), JSON object (Parquet)
	ColumnRawSize    = "raw_size"    // INT64: bytes, before raw was cut
	ColumnReaderRule = "reader_rule" // VARCHAR or null
	ColumnExtra      = "extra"       // VARCHAR or null: JSON object of the cells of unknown columns
)

// CellColumn names the scratch column (nullable VARCHAR) of Layout.Columns[i].
// An empty cell is null.
func CellColumn(i int) string { return "c" + strconv.Itoa(i) }

// A row group is written when its rows reach one of these; a segment (one
// Parquet file) is closed when it reaches the last. DuckDB reads row groups and
// segments in parallel.
const (
	groupBytes   = 24 << 20
	groupRows    = 122_880
	segmentBytes = 256 << 20
)

// Writer puts records into scratch Parquet files. Rows of a file that turns out
// to be unreadable are taken back: rows still in memory are forgotten, and a
// file too large for that has segments of its own, which are removed. A Writer
// serves one Read at a time; use one a goroutine.
type Writer struct {
	folder  string
	columns int
	batch   *batch
	spare   *batch
	writing chan error // result of the row group being written, nil if none
	err     error      // first failure to write; sticky

	paths   []string // segments, the open one last
	made    int      // segments ever begun, for their names
	segment *segment // open segment, or nil

	file  mark // where the current file's rows begin in batch
	own   int  // index in paths of the current file's first own segment, -1 if it has none
	index int32
	rows  int64 // rows of the current file
}

// NewWriter makes a Writer of segments in folder (which exists, and is the
// caller's to remove) with one cell column for each of columns.
func NewWriter(folder string, columns []Column) (*Writer, error) {
	if info, err := os.Stat(folder); err != nil {
		return nil, fmt.Errorf("open scratch folder for records: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open scratch folder for records: %s is not a folder", folder)
	}
	return &Writer{
		folder: folder, columns: len(columns), own: -1,
		batch: takeBatch(len(columns)), spare: takeBatch(len(columns)),
	}, nil
}

// Close writes what is left and returns the paths of the segments, none if no
// row was written. It is called once more without effect.
func (w *Writer) Close() ([]string, error) {
	if w.batch == nil {
		return w.paths, w.err
	}
	if w.batch.rows > 0 {
		w.flush(w.batch.mark())
	}
	w.closeSegment()
	batches.Put(w.batch)
	batches.Put(w.spare)
	w.batch, w.spare = nil, nil
	return w.paths, w.err
}

// begin starts a landing file's rows.
func (w *Writer) begin(index int) {
	if w.batch.rows > groupRows/2 || w.batch.bytes > groupBytes/2 {
		w.flush(w.batch.mark())
	}
	w.file = w.batch.mark()
	w.own, w.index, w.rows = -1, int32(index), 0
}

// rollback takes back the rows since begin.
func (w *Writer) rollback() {
	w.wait()
	w.batch.cut(w.file)
	w.rows = 0
	if w.own < 0 {
		return
	}
	if w.segment != nil {
		w.segment.abandon()
		w.segment = nil
	}
	for _, path := range w.paths[w.own:] {
		if err := os.Remove(path); err != nil {
			w.fail(fmt.Errorf("remove records of an unreadable file: %w", err))
		}
	}
	w.paths, w.own = w.paths[:w.own], -1
}

func (w *Writer) fail(err error) {
	if w.err == nil && err != nil {
		w.err = err
	}
}

// wait ends when no row group is being written.
func (w *Writer) wait() {
	if w.writing != nil {
		w.fail(<-w.writing)
		w.writing = nil
	}
}

// text sets cell i of the row being built to plain text. An empty one stays null.
func (w *Writer) text(i int, text []byte) {
	if len(text) == 0 {
		return
	}
	prefix := ""
	if c := text[0]; (c <= ' ' || c >= 0x80) && beginsLikePrefix(text) {
		prefix = PrefixText
	}
	w.batch.cells[i].add(prefix, text)
}

// prefixed sets cell i of the row being built to text of the given kind.
func (w *Writer) prefixed(i int, prefix string, text []byte) {
	w.batch.cells[i].add(prefix, text)
}

// beginsLikePrefix tells whether text, trimmed, begins with a character that
// stands for a kind of cell.
func beginsLikePrefix(text []byte) bool {
	if text[0] > ' ' && text[0] < 0x80 {
		return false
	}
	t := trimLeft(text)
	return len(t) > 0 && t[0] >= 1 && t[0] <= 6
}

// discard forgets the cells of the row being built.
func (w *Writer) discard() {
	for i := range w.batch.cells {
		w.batch.cells[i].pop(w.batch.rows)
	}
}

// row ends the row being built. raw is at most MaxRawBytes of size bytes.
func (w *Writer) row(raw []byte, size int64, extra []byte) error {
	w.rows++
	return w.end(w.rows, raw, size, "", extra)
}

// refused ends a row that broke a rule of the reader; its cells are dropped.
func (w *Writer) refused(rule string, raw []byte, size int64) error {
	w.discard()
	w.rows++
	return w.end(w.rows, raw, size, rule, nil)
}

func (w *Writer) end(number int64, raw []byte, size int64, rule string, extra []byte) error {
	b := w.batch
	b.index = append(b.index, w.index)
	b.number = append(b.number, number)
	b.rawSize = append(b.rawSize, size)
	b.raw.add("", raw[:min(len(raw), MaxRawBytes)])
	if rule != "" {
		b.rule.add(rule, nil)
	}
	if extra != nil {
		b.extra.add("", extra)
	}
	b.rows++
	b.pad()
	if b.rows >= groupRows || b.bytes >= groupBytes {
		w.flushOwn()
	}
	return w.err
}

// flushOwn writes the batch in the middle of a file: what stands before it in
// the batch goes to the segment of finished files, the rest to a segment that
// holds no other file's rows, so that rollback can remove it.
func (w *Writer) flushOwn() {
	if w.file.rows > 0 {
		w.flush(w.file)
		w.file = mark{}
		return
	}
	if w.own < 0 {
		w.closeSegment()
		w.own = len(w.paths)
	}
	w.flush(w.batch.mark())
}

// flush hands the rows of the batch up to m to the goroutine that writes them;
// the others begin the next batch.
func (w *Writer) flush(m mark) {
	w.wait()
	if w.err == nil && w.segment == nil {
		path := filepath.Join(w.folder, fmt.Sprintf("records-%05d.parquet", w.made))
		segment, err := newSegment(path, w.columns)
		w.fail(err)
		if err == nil {
			w.made++
			w.segment = segment
			w.paths = append(w.paths, path)
		}
	}
	if w.err != nil {
		w.batch.cut(mark{})
		return
	}
	full, next := w.batch, w.spare
	next.cut(mark{})
	next.take(full, m)
	w.batch, w.spare = next, full
	segment, done := w.segment, make(chan error, 1)
	w.writing = done
	segment.bytes += int64(full.bytes)
	last := segment.bytes >= segmentBytes
	if last {
		w.segment = nil
	}
	go func() {
		err := segment.write(full)
		if last {
			if e := segment.close(); err == nil {
				err = e
			}
		}
		done <- err
	}()
}

func (w *Writer) closeSegment() {
	w.wait()
	if w.segment != nil {
		w.fail(w.segment.close())
		w.segment = nil
	}
}
