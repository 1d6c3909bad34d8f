package record

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
)

// parquetBytes is a Parquet file of columns of many types, rows times the same
// two rows and one of nulls.
func parquetBytes(t testing.TB, rows int, options ...parquet.WriterProperty) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "Text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "whole", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "price", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}, Nullable: true},
		{Name: "share", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "flag", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "instant", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "local", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
		{Name: "bytes", Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true},
		{Name: "struct", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "y", Type: arrow.PrimitiveTypes.Float64, Nullable: true}), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	when := time.Date(2026, 3, 1, 12, 30, 5, 250_000_000, time.UTC)
	for range rows {
		for i := range 2 {
			b.Field(0).(*array.StringBuilder).Append([]string{"é\"", "\x01"}[i])
			b.Field(1).(*array.Int64Builder).Append([]int64{42, -9223372036854775808}[i])
			b.Field(2).(*array.Decimal128Builder).Append(decimal128.FromI64([]int64{199900, -1}[i]))
			b.Field(3).(*array.Float64Builder).Append([]float64{0.1, 1e21}[i])
			b.Field(4).(*array.BooleanBuilder).Append(i == 0)
			b.Field(5).(*array.Date32Builder).Append(arrow.Date32FromTime(when))
			b.Field(6).(*array.TimestampBuilder).AppendTime(when)
			b.Field(7).(*array.TimestampBuilder).AppendTime(when.Truncate([]time.Duration{1, 24 * time.Hour}[i]))
			b.Field(8).(*array.BinaryBuilder).Append([][]byte{[]byte("ok"), {0xff, 0}}[i])
			list := b.Field(9).(*array.ListBuilder)
			list.Append(true)
			for v := range i + 1 {
				list.ValueBuilder().(*array.Int32Builder).Append(int32(v))
			}
			s := b.Field(10).(*array.StructBuilder)
			s.Append(true)
			s.FieldBuilder(0).(*array.StringBuilder).Append("q\"")
			s.FieldBuilder(1).(*array.Float64Builder).AppendNull()
		}
		for _, f := range b.Fields() {
			f.AppendNull()
		}
	}
	record := b.NewRecordBatch()
	defer record.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(append(options, parquet.WithMaxRowGroupLength(5000))...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(record); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var parquetLayout = Layout{Format: Parquet, Columns: columns("text", "whole", "price", "share", "flag", "day", "instant", "local", "bytes", "list", "absent")}

func TestParquet(t *testing.T) {
	t.Parallel()
	for _, codec := range []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Gzip} {
		info, rows := readBytes(t, "f.parquet", parquetBytes(t, 1, parquet.WithCompression(codec)), parquetLayout)
		if info.Unreadable != nil {
			t.Fatal(info.Unreadable)
		}
		want := [][]string{
			{"é\"", "42", "19.9900", "0.1", "true", "2026-03-01", "2026-03-01T12:30:05.25Z", "\x052026-03-01T12:30:05.25", "ok", "\x01[0]", null, `{"struct":{"x":"q\"","y":null}}`},
			{"\x04\x01", "-9223372036854775808", "-0.0001", "1000000000000000000000", "false", "2026-03-01", "2026-03-01T12:30:05.25Z", "\x052026-03-01", "/wA=", "\x01[0,1]", null, `{"struct":{"x":"q\"","y":null}}`},
		}
		if diff := cmp.Diff(want, shown(rows)); diff != "" {
			t.Errorf("rows differ (-want +got):\n%s", diff)
		}
		raw := `{"Text":"é\"","whole":42,"price":19.9900,"share":0.1,"flag":true,"day":"2026-03-01","instant":"2026-03-01T12:30:05.25Z","local":"2026-03-01T12:30:05.25","bytes":"ok","list":[0],"struct":{"x":"q\"","y":null}}`
		if rows[0].Raw != raw {
			t.Errorf("raw is %s", rows[0].Raw)
		}
	}
}

// TestParquetRowGroups reads more rows than a batch or a row group holds.
func TestParquetRowGroups(t *testing.T) {
	t.Parallel()
	info, rows := readBytes(t, "f.parquet", parquetBytes(t, 10_000), parquetLayout)
	if info.Unreadable != nil || len(rows) != 20_000 {
		t.Fatalf("%d rows, %v", len(rows), info.Unreadable)
	}
	if diff := cmp.Diff(rows[0].Cells, rows[19_998].Cells); diff != "" {
		t.Error(diff)
	}
}

func TestParquetUnreadable(t *testing.T) {
	t.Parallel()
	whole := parquetBytes(t, 3)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"short":     {[]byte("PAR1"), "too short"},
		"CSV":       {[]byte("a,b,c\n1,2,3\n4,5,6\n"), "not a Parquet file"},
		"cut":       {whole[:len(whole)/2], "no footer"},
		"encrypted": {[]byte("PARE........PARE"), "encrypted"},
		"footer":    {[]byte("PAR1........\xff\xff\xff\x7fPAR1"), "claims"},
		"no schema": {[]byte("PAR1\x00\x00\x00\x00\x04\x00\x00\x00PAR1"), "Parquet"},
	} {
		info, _ := readBytes(t, "f.parquet", c.data, parquetLayout)
		if info.Unreadable == nil || !strings.Contains(info.Unreadable.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, info.Unreadable, c.want)
		}
	}
	layout := parquetLayout
	layout.Columns = []Column{{Name: "text", Aliases: []string{"whole"}}}
	if info, _ := readBytes(t, "f.parquet", whole, layout); info.Unreadable == nil || !strings.Contains(info.Unreadable.Error(), "repeated") {
		t.Error(info.Unreadable)
	}
}

// TestParquetDamage changes a byte here and there: the process stays, and what is
// delivered is what is counted.
func TestParquetDamage(t *testing.T) {
	t.Parallel()
	setup := newSetup(t)
	for _, whole := range [][]byte{parquetBytes(t, 2, parquet.WithCompression(compress.Codecs.Zstd)), parquetBytes(t, 2)} {
		for i := 0; i < len(whole); i += 7 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= []byte{0x01, 0x80, 0xff}[i%3]
			setup.readBytes(t, "f.parquet", damaged, parquetLayout)
		}
	}
}

// TestParquetDeepSchema has a schema of groups inside each other, on which a
// recursive reader runs out of stack.
func TestParquetDeepSchema(t *testing.T) {
	t.Parallel()
	for _, levels := range []int{100, 100_000, 1_900_000} {
		footer := []byte{0x15, 0x02, 0x19, 0xfc}
		footer = binary.AppendUvarint(footer, uint64(levels+1))
		for range levels {
			footer = append(footer, 0x35, 0x02, 0x18, 0x01, 'a', 0x15, 0x02, 0x00)
		}
		footer = append(footer, 0x15, 0x02, 0x25, 0x02, 0x18, 0x01, 'a', 0x00) // a leaf: optional INT32
		footer = append(footer, 0x16, 0x00, 0x19, 0x0c, 0x00)                  // no rows, no row groups
		data := append([]byte("PAR1"), footer...)
		data = append(binary.LittleEndian.AppendUint32(data, uint32(len(footer))), "PAR1"...)
		info, _ := readBytes(t, "f.parquet", data, parquetLayout)
		if (levels > maxSchemaDepth) != (info.Unreadable != nil) {
			t.Errorf("%d levels: %v", levels, info.Unreadable)
		}
	}
}
