package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// Limits of Parquet input beside MaxParquetBytes.
const (
	maxFooterBytes  = 16 << 20
	parquetBatch    = 4096     // rows held at a time, fewer where they are large
	parquetBatchMem = 16 << 20 // bytes of values aimed at for a batch
	// Run lengths can make any number of equal rows of a few bytes: more rows than
	// this many a byte of the file, above ten million, are taken for a bomb.
	maxRowsPerByte = 50
)

// readParquet reads a Parquet file in batches. The library under it panics on
// some corrupt files: such a panic is the file's fault.
func readParquet(ctx context.Context, in *input, layout *compiled, w *Writer) (found *extras, err error) {
	at, size, release, err := randomAccess(ctx, in, w.folder)
	defer release()
	if err != nil {
		return nil, err
	}
	defer func() {
		if fault := recover(); fault != nil {
			found, err = nil, fmt.Errorf("the Parquet file is corrupt: %v", fault)
		}
	}()
	if err := parquetSignature(at, size); err != nil {
		return nil, err
	}
	memory := &boundedAllocator{Allocator: memory.NewGoAllocator(), limit: MaxParquetBytes}
	properties := parquet.NewReaderProperties(memory)
	properties.BufferedStreamEnabled = true
	f, err := file.NewParquetReader(io.NewSectionReader(at, 0, size), file.WithReadProps(properties))
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	if n := f.MetaData().Schema.NumColumns(); n > MaxColumns {
		return nil, fmt.Errorf("the Parquet file has %d columns, at most %d are read", n, MaxColumns)
	}
	if rows := f.NumRows(); rows > 10_000_000 && rows/maxRowsPerByte > in.size {
		return nil, fmt.Errorf("the Parquet file of %d bytes claims %d rows; taken for a bomb", in.size, rows)
	}
	if err := rehearse(ctx, f); err != nil {
		return nil, err
	}
	arrows, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: batchRows(f)}, memory)
	if err != nil {
		return nil, fmt.Errorf("understand Parquet schema: %w", err)
	}
	r, err := newParquetReader(arrows, layout, w)
	if err != nil {
		return nil, err
	}
	if err := r.read(ctx, arrows, f.NumRows()); err != nil {
		return nil, err
	}
	return &r.header.extras, nil
}

// parquetSignature looks at both ends and the schema's depth before the library trusts them.
func parquetSignature(at io.ReaderAt, size int64) error {
	head, tail := make([]byte, 4), make([]byte, 8)
	if size < 12 {
		return errors.New("it is too short for a Parquet file")
	}
	if _, err := at.ReadAt(head, 0); err != nil {
		return err
	}
	if _, err := at.ReadAt(tail, size-8); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case string(head) == "PARE" || string(tail[4:]) == "PARE":
		return errors.New("the Parquet file is encrypted")
	case string(head) != "PAR1":
		return errors.New("it is not a Parquet file")
	case string(tail[4:]) != "PAR1":
		return errors.New("the Parquet file is cut off: it has no footer")
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > maxFooterBytes || length+12 > size {
		return fmt.Errorf("the Parquet file's footer claims %d bytes", length)
	}
	footer := make([]byte, length)
	if _, err := at.ReadAt(footer, size-8-length); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return checkSchemaDepth(footer)
}

// batchRows is how many rows are held at a time.
func batchRows(f *file.Reader) int64 {
	bytes := int64(0)
	for i := range f.NumRowGroups() {
		bytes += f.MetaData().RowGroup(i).TotalByteSize()
	}
	if rows := f.NumRows(); rows > 0 && bytes > 0 {
		return max(16, min(parquetBatch, parquetBatchMem/max(1, bytes/rows)))
	}
	return parquetBatch
}

// rehearse decodes the columns that stand inside others once in this goroutine:
// the library opens those in goroutines of its own, where a panic over a
// corrupt page would end the process.
func rehearse(ctx context.Context, f *file.Reader) error {
	schema := f.MetaData().Schema
	levels := make([]int16, parquetBatch)
	for c := range schema.NumColumns() {
		if len(schema.Column(c).ColumnPath()) < 2 {
			continue
		}
		for g := range f.NumRowGroups() {
			if err := ctx.Err(); err != nil {
				return err
			}
			column, err := f.RowGroup(g).Column(c)
			if err != nil {
				return fmt.Errorf("read Parquet column %s: %w", schema.Column(c).Path(), err)
			}
			for column.HasNext() {
				if err := skipValues(column, levels); err != nil {
					return fmt.Errorf("read Parquet column %s: %w", schema.Column(c).Path(), err)
				}
			}
			if err := column.Err(); err != nil {
				return fmt.Errorf("read Parquet column %s: %w", schema.Column(c).Path(), err)
			}
		}
	}
	return nil
}

// skipValues decodes a batch of a column of any physical type.
func skipValues(column file.ColumnChunkReader, levels []int16) error {
	n := int64(len(levels))
	reps := make([]int16, n)
	var total int64
	var err error
	switch c := column.(type) {
	case *file.BooleanColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]bool, n), levels, reps)
	case *file.Int32ColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]int32, n), levels, reps)
	case *file.Int64ColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]int64, n), levels, reps)
	case *file.Int96ColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]parquet.Int96, n), levels, reps)
	case *file.Float32ColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]float32, n), levels, reps)
	case *file.Float64ColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]float64, n), levels, reps)
	case *file.ByteArrayColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]parquet.ByteArray, n), levels, reps)
	case *file.FixedLenByteArrayColumnChunkReader:
		total, _, err = c.ReadBatch(n, make([]parquet.FixedLenByteArray, n), levels, reps)
	default:
		return fmt.Errorf("unknown physical type %s", column.Type())
	}
	if err == nil && total == 0 {
		err = errors.New("a page without values")
	}
	return err
}

// boundedAllocator panics rather than give more than limit bytes at a time.
type boundedAllocator struct {
	memory.Allocator
	limit int64
	used  atomic.Int64
}

func (a *boundedAllocator) take(n int) {
	if n < 0 || a.used.Add(int64(n)) > a.limit {
		panic(fmt.Sprintf("reading it takes more than %d bytes of memory", a.limit))
	}
}

func (a *boundedAllocator) Allocate(size int) []byte {
	a.take(size)
	return a.Allocator.Allocate(size)
}

func (a *boundedAllocator) Reallocate(size int, b []byte) []byte {
	if size > len(b) {
		a.take(size - len(b))
	} else {
		a.used.Add(int64(size - len(b)))
	}
	return a.Allocator.Reallocate(size, b)
}

func (a *boundedAllocator) Free(b []byte) {
	a.used.Add(-int64(len(b)))
	a.Allocator.Free(b)
}

// parquetReader delivers the rows of record batches.
type parquetReader struct {
	w      *Writer
	header *header
	keys   [][]byte // names of all columns as JSON text
	text   []byte
	raw    []byte
	extra  []byte
}

func newParquetReader(arrows *pqarrow.FileReader, layout *compiled, w *Writer) (*parquetReader, error) {
	schema, err := arrows.Schema()
	if err != nil {
		return nil, fmt.Errorf("understand Parquet schema: %w", err)
	}
	r := &parquetReader{w: w}
	names := make([]string, schema.NumFields())
	for i, field := range schema.Fields() {
		names[i] = field.Name
		r.keys = append(r.keys, appendJSONString(nil, toValidUTF8([]byte(field.Name))))
	}
	r.header, err = newHeader(layout, names)
	return r, err
}

func (r *parquetReader) read(ctx context.Context, arrows *pqarrow.FileReader, rows int64) error {
	if rows == 0 {
		return nil
	}
	records, err := arrows.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("read Parquet file: %w", err)
	}
	defer records.Release()
	got := int64(0)
	for records.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := records.RecordBatch()
		for i := range int(batch.NumRows()) {
			if err := r.row(batch, i); err != nil {
				return err
			}
		}
		got += batch.NumRows()
	}
	if err := records.Err(); err != nil {
		return fmt.Errorf("read Parquet file: %w", err)
	}
	if got != rows {
		return fmt.Errorf("the Parquet file is corrupt: it promises %d rows and holds %d", rows, got)
	}
	return nil
}

// row delivers row i of a batch.
func (r *parquetReader) row(batch arrow.RecordBatch, i int) error {
	r.raw, r.extra = r.raw[:0], r.extra[:0]
	filled := false
	for c, column := range batch.Columns() {
		r.raw = appendMember(r.raw, r.keys[c])
		value, kind := appendValue(r.text[:0], column, i)
		r.text = value
		if kind == valueNull {
			r.raw = append(r.raw, "null"...)
			continue
		}
		from := len(r.raw)
		r.raw = appendAsJSON(r.raw, value, kind)
		filled = filled || !blank(value)
		switch target := r.header.columns[c].target; {
		case target < 0 && len(value) > 0:
			r.extra = appendMember(r.extra, r.header.columns[c].key)
			r.extra = append(r.extra, r.raw[from:]...)
		case target < 0:
		case kind == valueComposite:
			r.w.prefixed(target, PrefixComposite, value)
		case kind == valueDate:
			r.w.prefixed(target, PrefixDate, value)
		default:
			r.w.text(target, value)
		}
	}
	if !filled {
		r.w.discard()
		return nil
	}
	r.raw = append(r.raw, '}')
	if len(r.raw) > MaxRecordBytes {
		return r.w.refused(RuleMalformed, r.raw, int64(len(r.raw)))
	}
	return r.w.row(r.raw, int64(len(r.raw)), closeObject(r.extra))
}
