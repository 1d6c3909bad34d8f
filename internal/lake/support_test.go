package lake_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/shoplake/shoplake/internal/lake"
)

// sale is a row of the tables that the tests use.
type sale struct {
	id     string
	day    string // 2026-01-31; empty is null
	cents  int64  // of a DECIMAL(18,4), in ten-thousandths
	number int64
}

// sales is the schema of those tables, by month of the day.
func sales() lake.Schema {
	return lake.Schema{
		Columns: []lake.Column{
			{Name: "id", Type: "VARCHAR", Required: true},
			{Name: "day", Type: "DATE"},
			{Name: "amount", Type: "DECIMAL(18,4)"},
			{Name: "number", Type: "BIGINT"},
		},
		Partition: lake.Partition{Transform: lake.Month, Column: "day"},
	}
}

func openLake(t testing.TB, warehouse string) *lake.Lake {
	t.Helper()
	l, err := lake.Open(context.Background(), lake.Config{Warehouse: warehouse})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func ensure(t testing.TB, l *lake.Lake, name string, s lake.Schema) *lake.Table {
	t.Helper()
	table, err := l.EnsureTable(context.Background(), name, s)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// stage writes rows as a Parquet file with the table's field ids and describes it.
func stage(t testing.TB, l *lake.Lake, table *lake.Table, run, file, partition string, rows ...sale) lake.Staged {
	t.Helper()
	path := filepath.Join(l.Staging(table.Name, run), file+".parquet")
	writeSales(t, path, table.Schema, rows)
	s, err := l.Describe(context.Background(), path, table.Schema, partition)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeSales(t testing.TB, path string, s lake.Schema, rows []sale) {
	t.Helper()
	ids := map[string]int{}
	for _, c := range s.Columns {
		ids[c.Name] = c.ID
	}
	field := func(name string, typ arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: typ, Nullable: true,
			Metadata: arrow.MetadataFrom(map[string]string{"PARQUET:field_id": strconv.Itoa(ids[name])})}
	}
	sc := arrow.NewSchema([]arrow.Field{
		field("id", arrow.BinaryTypes.String), field("day", arrow.FixedWidthTypes.Date32),
		field("amount", &arrow.Decimal128Type{Precision: 18, Scale: 4}), field("number", arrow.PrimitiveTypes.Int64),
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	defer b.Release()
	for _, r := range rows {
		b.Field(0).(*array.StringBuilder).Append(r.id)
		if r.day == "" {
			b.Field(1).AppendNull()
		} else {
			day, err := time.Parse(time.DateOnly, r.day)
			if err != nil {
				t.Fatal(err)
			}
			b.Field(1).(*array.Date32Builder).Append(arrow.Date32FromTime(day))
		}
		b.Field(2).(*array.Decimal128Builder).Append(decimal128.FromI64(r.cents))
		b.Field(3).(*array.Int64Builder).Append(r.number)
	}
	record := b.NewRecordBatch()
	defer record.Release()
	writeParquet(t, path, sc, record)
}

func writeParquet(t testing.TB, path string, sc *arrow.Schema, records ...arrow.RecordBatch) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(sc, f, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, l *lake.Lake, c lake.Commit) int64 {
	t.Helper()
	id, err := l.Commit(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func paths(t testing.TB, l *lake.Lake, name string, snapshot int64) []string {
	t.Helper()
	files, err := l.Files(context.Background(), name, snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return pathsOf(files)
}

func pathsOf(files []lake.File) []string {
	var result []string
	for _, f := range files {
		result = append(result, f.Path)
	}
	return result
}

func january(n int) sale {
	return sale{id: fmt.Sprintf("order-%d", n), day: fmt.Sprintf("2026-01-%02d", n%31+1), cents: int64(n) * 12_345, number: int64(n)}
}
