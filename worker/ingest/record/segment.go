package record

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// values is one column of a batch: each value as its length (four bytes) and
// its bytes, one after the other, so that a cell costs no allocation.
type values struct {
	buf  []byte
	defs []int16 // 1 for a value, 0 for a null
	last int     // where the last value begins in buf
}

func (v *values) add(prefix string, text []byte) {
	v.last = len(v.buf)
	v.buf = binary.LittleEndian.AppendUint32(v.buf, uint32(len(prefix)+len(text)))
	v.buf = append(v.buf, prefix...)
	v.buf = append(v.buf, text...)
	v.defs = append(v.defs, 1)
}

// pop drops the value of the row being built, if it has one.
func (v *values) pop(rows int) {
	if len(v.defs) > rows {
		v.defs = v.defs[:rows]
		v.buf = v.buf[:v.last]
	}
}

// batch is a row group in the making.
type batch struct {
	rows    int
	bytes   int
	index   []int32
	number  []int64
	rawSize []int64
	raw     values
	rule    values
	extra   values
	cells   []values
}

// mark is a place between two rows of a batch; the zero mark is its beginning.
type mark struct {
	rows int
	ends []int // of raw, rule, extra and each cell column in its buf
}

// batches keeps the memory of batches for the next Writer.
var batches sync.Pool

// takeBatch gives an empty batch.
func takeBatch(columns int) *batch {
	b, _ := batches.Get().(*batch)
	if b == nil {
		b = &batch{}
	}
	if cap(b.cells) < columns {
		b.cells = append(b.cells[:cap(b.cells)], make([]values, columns-cap(b.cells))...)
	}
	b.cells = b.cells[:columns]
	b.cut(mark{})
	return b
}

func (b *batch) each(do func(i int, v *values)) {
	do(0, &b.raw)
	do(1, &b.rule)
	do(2, &b.extra)
	for i := range b.cells {
		do(3+i, &b.cells[i])
	}
}

func (b *batch) mark() mark {
	m := mark{rows: b.rows, ends: make([]int, 3+len(b.cells))}
	b.each(func(i int, v *values) { m.ends[i] = len(v.buf) })
	return m
}

// cut drops what follows m.
func (b *batch) cut(m mark) {
	b.rows, b.bytes = m.rows, 0
	b.index, b.number, b.rawSize = b.index[:m.rows], b.number[:m.rows], b.rawSize[:m.rows]
	b.each(func(i int, v *values) {
		end := 0
		if m.ends != nil {
			end = m.ends[i]
		}
		v.buf, v.defs = v.buf[:end], v.defs[:m.rows]
		b.bytes += end
	})
}

// take moves what follows m in from to b, which is empty.
func (b *batch) take(from *batch, m mark) {
	if m.rows == from.rows {
		return
	}
	b.index = append(b.index, from.index[m.rows:]...)
	b.number = append(b.number, from.number[m.rows:]...)
	b.rawSize = append(b.rawSize, from.rawSize[m.rows:]...)
	b.rows = from.rows - m.rows
	others := make([]*values, 3+len(from.cells))
	from.each(func(i int, v *values) { others[i] = v })
	b.each(func(i int, v *values) {
		v.buf = append(v.buf, others[i].buf[m.ends[i]:]...)
		v.defs = append(v.defs, others[i].defs[m.rows:]...)
		b.bytes += len(v.buf)
	})
	from.cut(m)
}

// pad ends a row: columns without a value get a null.
func (b *batch) pad() {
	bytes := len(b.raw.buf) + len(b.rule.buf) + len(b.extra.buf) + 20*b.rows
	if len(b.rule.defs) < b.rows {
		b.rule.defs = append(b.rule.defs, 0)
	}
	if len(b.extra.defs) < b.rows {
		b.extra.defs = append(b.extra.defs, 0)
	}
	for i := range b.cells {
		v := &b.cells[i]
		if len(v.defs) < b.rows {
			v.defs = append(v.defs, 0)
		}
		bytes += len(v.buf)
	}
	b.bytes = bytes
}

// segment is one scratch Parquet file: PLAIN, uncompressed, without dictionary
// and statistics, since it is written and read once.
type segment struct {
	path   string
	bytes  int64
	file   *os.File
	buffer *bufio.Writer
	writer *file.Writer
	slices []parquet.ByteArray
}

func newSegment(path string, columns int) (*segment, error) {
	fields := schema.FieldList{
		schema.NewInt32Node(ColumnFileIndex, parquet.Repetitions.Required, -1),
		schema.NewInt64Node(ColumnRowNumber, parquet.Repetitions.Required, -1),
		schema.NewByteArrayNode(ColumnRaw, parquet.Repetitions.Required, -1),
		schema.NewInt64Node(ColumnRawSize, parquet.Repetitions.Required, -1),
		textNode(ColumnReaderRule),
		textNode(ColumnExtra),
	}
	for i := range columns {
		fields = append(fields, textNode(CellColumn(i)))
	}
	root, err := schema.NewGroupNode("records", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return nil, fmt.Errorf("describe scratch records: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create scratch file for records: %w", err)
	}
	s := &segment{path: path, file: f, buffer: bufio.NewWriterSize(f, 256<<10)}
	s.writer, err = file.NewParquetWriterWithError(s.buffer, root, file.WithWriterProps(parquet.NewWriterProperties(
		parquet.WithDictionaryDefault(false),
		parquet.WithStats(false),
		parquet.WithCompression(compress.Codecs.Uncompressed),
		parquet.WithEncoding(parquet.Encodings.Plain),
		parquet.WithDataPageSize(1<<20),
		parquet.WithBatchSize(4096),
	)))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("begin scratch file %s: %w", path, err)
	}
	return s, nil
}

func textNode(name string) schema.Node {
	return schema.MustPrimitive(schema.NewPrimitiveNodeLogical(name, parquet.Repetitions.Optional,
		schema.StringLogicalType{}, parquet.Types.ByteArray, -1, -1))
}

// write appends the batch as one row group.
func (s *segment) write(b *batch) error {
	if err := s.group(b); err != nil {
		return fmt.Errorf("write %d records to scratch file %s: %w", b.rows, s.path, err)
	}
	return nil
}

func (s *segment) group(b *batch) error {
	group, err := s.writer.AppendRowGroupChecked()
	if err != nil {
		return err
	}
	next := func(put func(file.ColumnChunkWriter) error) {
		if err != nil {
			return
		}
		var chunk file.ColumnChunkWriter
		if chunk, err = group.NextColumn(); err != nil {
			return
		}
		if err = put(chunk); err == nil {
			err = chunk.Close()
		}
	}
	numbers := func(n []int64) func(file.ColumnChunkWriter) error {
		return func(c file.ColumnChunkWriter) error {
			_, err := c.(*file.Int64ColumnChunkWriter).WriteBatch(n, nil, nil)
			return err
		}
	}
	texts := func(v *values, defs []int16) func(file.ColumnChunkWriter) error {
		return func(c file.ColumnChunkWriter) error {
			s.slices = s.slices[:0]
			for buf := v.buf; len(buf) > 0; {
				end := 4 + int(binary.LittleEndian.Uint32(buf))
				s.slices = append(s.slices, buf[4:end:end])
				buf = buf[end:]
			}
			_, err := c.(*file.ByteArrayColumnChunkWriter).WriteBatch(s.slices, defs, nil)
			return err
		}
	}
	next(func(c file.ColumnChunkWriter) error {
		_, err := c.(*file.Int32ColumnChunkWriter).WriteBatch(b.index, nil, nil)
		return err
	})
	next(numbers(b.number))
	next(texts(&b.raw, nil))
	next(numbers(b.rawSize))
	next(texts(&b.rule, b.rule.defs))
	next(texts(&b.extra, b.extra.defs))
	for i := range b.cells {
		next(texts(&b.cells[i], b.cells[i].defs))
	}
	if err != nil {
		return err
	}
	return group.Close()
}

// close ends the file with its footer.
func (s *segment) close() error {
	err := s.writer.Close()
	if e := s.buffer.Flush(); err == nil {
		err = e
	}
	if e := s.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("finish scratch file %s: %w", s.path, err)
	}
	return nil
}

// abandon closes the file without a footer; the caller removes it.
func (s *segment) abandon() { s.file.Close() }
