package lake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	pqschema "github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/codec"
	"go.opentelemetry.io/otel/attribute"
)

const (
	// tableFormat is the version of the Iceberg format of all tables.
	tableFormat = 2
	// entryVersion is the first byte of an entry; what follows is an Iceberg manifest entry in Avro.
	entryVersion = 1
)

// Describe reads the footer of a staged Parquet file and makes the entry with which Commit adds it to a table. The schema
// is the table's with its field ids; the file may lack columns that are not required. All its rows must lie in the
// partition, whose text is empty where the table has one partition. It needs no catalog.
func (l *Lake) Describe(ctx context.Context, path string, schema Schema, partition string) (Staged, error) {
	ctx, end := traced(ctx, "lake.describe", attribute.String("shoplake.file", path), attribute.String("shoplake.partition", partition))
	staged, err := l.describe(ctx, path, schema, partition)
	end(err)
	if err != nil {
		return Staged{}, fmt.Errorf("describe staged file %s: %w", path, err)
	}
	return staged, nil
}

func (l *Lake) describe(ctx context.Context, path string, schema Schema, partition string) (_ Staged, err error) {
	if err := ctx.Err(); err != nil {
		return Staged{}, err
	}
	rel, err := l.within(path)
	if err != nil {
		return Staged{}, err
	}
	sc, spec, err := schema.iceberg()
	if err != nil {
		return Staged{}, err
	}
	f, err := l.root.Open(rel)
	if err != nil {
		return Staged{}, err
	}
	defer f.Close() //nolint:errcheck // opened to read only
	info, err := f.Stat()
	if err != nil {
		return Staged{}, err
	}
	stats, err := readFooter(f, schema, sc)
	if err != nil {
		return Staged{}, err
	}
	if stats.rows == 0 {
		return Staged{}, fmt.Errorf("it holds no rows: stage nothing instead")
	}
	values, err := stats.partitionValues(schema, sc, spec, partition)
	if err != nil {
		return Staged{}, err
	}

	// Its writer does not flush it: what is committed has to outlive a power cut.
	if err := flush(f); err != nil {
		return Staged{}, err
	}
	staged := Staged{File: File{Path: filepath.Join(l.warehouse, rel), Partition: partition, PartitionedBy: schema.Partition, Rows: stats.rows, Bytes: info.Size()}}
	b, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, staged.Path, iceberg.ParquetFile, values, nil, nil, staged.Rows, staged.Bytes)
	if err != nil {
		return Staged{}, err
	}
	stats.fill(b)
	entry, err := codec.EncodeDataFile(b.Build(), spec, sc, tableFormat)
	if err != nil {
		return Staged{}, fmt.Errorf("encode its entry: %w", err)
	}
	staged.Entry = append([]byte{entryVersion}, entry...)
	return staged, nil
}

// decodeEntry gives the Iceberg data file of a staged one, for the table that it is to be added to.
func decodeEntry(s Staged, spec iceberg.PartitionSpec, sc *iceberg.Schema) (iceberg.DataFile, error) {
	if len(s.Entry) == 0 || s.Entry[0] != entryVersion {
		return nil, fmt.Errorf("staged file %s: its entry is not of version %d: it was described by another version of the program", s.Path, entryVersion)
	}
	df, err := codec.DecodeDataFile(s.Entry[1:], spec, sc, tableFormat)
	if err != nil {
		return nil, fmt.Errorf("staged file %s: read its entry: %w", s.Path, err)
	}
	if df.FilePath() != s.Path || df.Count() != s.Rows || df.FileSizeBytes() != s.Bytes {
		return nil, fmt.Errorf("staged file %s: its entry tells of %s (%d rows, %d bytes), not of this file (%d rows, %d bytes)",
			s.Path, df.FilePath(), df.Count(), df.FileSizeBytes(), s.Rows, s.Bytes)
	}
	return df, nil
}

// columnStats is what a footer says of one leaf column.
type columnStats struct {
	column       Column
	typ          iceberg.Type
	nested       bool // the elements of a list, of which only the size is told
	fixed        bool
	size, values int64
	nulls        int64
	nullsKnown   bool
	bounded      bool // lower and upper hold for all rows
	any          bool // lower and upper are set
	lower, upper bound
}

type fileStats struct {
	rows   int64
	splits []int64
	leaves []*columnStats
}

// readFooter checks that a file has the table's columns and collects its statistics.
func readFooter(f *os.File, schema Schema, sc *iceberg.Schema) (_ *fileStats, err error) {
	r, err := file.NewParquetReader(f)
	if err != nil {
		return nil, fmt.Errorf("read its Parquet footer: %w", err)
	}
	meta := r.MetaData()
	leaves, err := matchColumns(meta.Schema, schema, sc)
	if err != nil {
		return nil, err
	}
	stats := &fileStats{rows: meta.GetNumRows(), leaves: leaves}
	for i := range meta.NumRowGroups() {
		group := meta.RowGroup(i)
		for pos, leaf := range leaves {
			chunk, err := group.ColumnChunk(pos)
			if err != nil {
				return nil, fmt.Errorf("read row group %d, column %s: %w", i, leaf.column.Name, err)
			}
			if pos == 0 {
				offset := chunk.DataPageOffset()
				if d := chunk.DictionaryPageOffset(); chunk.HasDictionaryPage() && d < offset {
					offset = d
				}
				stats.splits = append(stats.splits, offset)
			}
			if err := leaf.add(chunk); err != nil {
				return nil, fmt.Errorf("read row group %d, column %s: %w", i, leaf.column.Name, err)
			}
		}
	}
	slices.Sort(stats.splits)
	for _, leaf := range leaves {
		if leaf.column.Required && (!leaf.nullsKnown || leaf.nulls > 0) {
			return nil, fmt.Errorf("column %s is required, yet %d of its values are null", leaf.column.Name, leaf.nulls)
		}
	}
	return stats, nil
}

// matchColumns pairs the leaves of a Parquet schema with the table's columns: by field id and by name, as Iceberg's
// readers go by the one and DuckDB by the other.
func matchColumns(file *pqschema.Schema, schema Schema, sc *iceberg.Schema) ([]*columnStats, error) {
	present := map[string]bool{}
	leaves := make([]*columnStats, file.NumColumns())
	for i := range leaves {
		leaf, root := file.Column(i), file.ColumnRoot(i)
		column, ok := schema.column(root.Name())
		if !ok {
			return nil, fmt.Errorf("its column %s is none of the table's", root.Name())
		}
		field, _ := sc.FindFieldByID(column.ID)
		id, want := int(root.FieldID()), column.ID
		typ := field.Type
		if list, ok := typ.(*iceberg.ListType); ok && id == want {
			typ, id, want = list.Element, int(leaf.SchemaNode().FieldID()), list.ElementID
		}
		if id != want {
			return nil, fmt.Errorf("its column %s has the field id %d, the table's has %d: write it with the table's FIELD_IDS", leaf.Path(), id, want)
		}
		if !storedAs(leaf, typ) {
			return nil, fmt.Errorf("its column %s is %s %s, the table's is %s: cast it", leaf.Path(), leaf.PhysicalType(), leaf.LogicalType(), column.Type)
		}
		if column.list() != (root.LogicalType() != nil && root.LogicalType().Equals(pqschema.NewListLogicalType())) {
			return nil, fmt.Errorf("its column %s is nested in another way than the table's %s", leaf.Path(), column.Type)
		}
		present[column.Name] = true
		leaves[i] = &columnStats{
			column: column, typ: typ, nested: column.list(), nullsKnown: true, bounded: true,
			fixed: leaf.PhysicalType() == parquet.Types.FixedLenByteArray,
		}
	}
	for _, c := range schema.Columns {
		if c.Required && !present[c.Name] {
			return nil, fmt.Errorf("it lacks the required column %s", c.Name)
		}
	}
	if len(leaves) == 0 {
		return nil, fmt.Errorf("it has no columns")
	}
	return leaves, nil
}

// storedAs says whether a Parquet column is how Iceberg stores a type.
func storedAs(leaf *pqschema.Column, t iceberg.Type) bool {
	logical, physical := leaf.LogicalType(), leaf.PhysicalType()
	plain := logical == nil || logical.Equals(pqschema.NoLogicalType{})
	switch t := t.(type) {
	case iceberg.StringType:
		return physical == parquet.Types.ByteArray && (logical.Equals(pqschema.StringLogicalType{}) || logical.Equals(pqschema.JSONLogicalType{}))
	case iceberg.BinaryType:
		return physical == parquet.Types.ByteArray && plain
	case iceberg.Int32Type:
		return physical == parquet.Types.Int32 && (plain || logical.Equals(pqschema.NewIntLogicalType(32, true)))
	case iceberg.Int64Type:
		return physical == parquet.Types.Int64 && (plain || logical.Equals(pqschema.NewIntLogicalType(64, true)))
	case iceberg.Float32Type:
		return physical == parquet.Types.Float
	case iceberg.Float64Type:
		return physical == parquet.Types.Double
	case iceberg.BooleanType:
		return physical == parquet.Types.Boolean
	case iceberg.DateType:
		return physical == parquet.Types.Int32 && logical.Equals(pqschema.DateLogicalType{})
	case iceberg.TimeType:
		time, ok := logical.(pqschema.TimeLogicalType)
		return ok && physical == parquet.Types.Int64 && time.TimeUnit() == pqschema.TimeUnitMicros
	case iceberg.TimestampType, iceberg.TimestampTzType:
		stamp, ok := logical.(pqschema.TimestampLogicalType)
		_, zoned := t.(iceberg.TimestampTzType)
		return ok && physical == parquet.Types.Int64 && stamp.TimeUnit() == pqschema.TimeUnitMicros && stamp.IsAdjustedToUTC() == zoned
	case iceberg.DecimalType:
		decimal, ok := logical.(pqschema.DecimalLogicalType)
		return ok && int(decimal.Precision()) == t.Precision() && int(decimal.Scale()) == t.Scale()
	}
	return false
}

// add takes in one row group's part of the column.
func (c *columnStats) add(chunk *metadata.ColumnChunkMetaData) error {
	c.size += chunk.TotalCompressedSize()
	c.values += chunk.NumValues()
	stats, err := chunk.Statistics()
	if err != nil {
		return err
	}
	if stats == nil || !stats.HasNullCount() {
		c.nullsKnown, c.bounded = false, false
		return nil
	}
	c.nulls += stats.NullCount()
	if stats.NullCount() == chunk.NumValues() || !c.bounded {
		return nil
	}
	// A row group without bounds (its texts are too long, say) leaves the whole column without.
	if c.bounded = stats.HasMinMax(); !c.bounded {
		return nil
	}
	lower, ok := c.decode(stats.EncodeMin())
	upper, also := c.decode(stats.EncodeMax())
	if c.bounded = ok && also; !c.bounded {
		return nil
	}
	if !c.any || lower.compare(c.lower) < 0 {
		c.lower = lower
	}
	if !c.any || upper.compare(c.upper) > 0 {
		c.upper = upper
	}
	c.any = true
	return nil
}

func (c *columnStats) decode(raw []byte) (bound, bool) {
	raw = slices.Clone(raw)
	if _, ok := c.typ.(iceberg.DecimalType); ok {
		return decodeDecimal(c.fixed, raw)
	}
	return decodeBound(c.typ, raw)
}

// partitionValues gives the partition as Iceberg's entries hold it, after a check that all rows lie in it.
func (s *fileStats) partitionValues(schema Schema, sc *iceberg.Schema, spec iceberg.PartitionSpec, partition string) (map[int]any, error) {
	if spec.IsUnpartitioned() {
		if partition != "" {
			return nil, fmt.Errorf("the table has one partition, yet the file is said to lie in %q", partition)
		}
		return nil, nil
	}
	column, _ := schema.column(schema.Partition.Column)
	source, _ := sc.FindFieldByID(column.ID)
	p, err := newPartitioner(schema.Partition.Transform, source.Type)
	if err != nil {
		return nil, err
	}
	value, err := p.parse(partition)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.leaves, func(c *columnStats) bool { return c.column.ID == column.ID })
	if i < 0 {
		if value != nil {
			return nil, fmt.Errorf("it lacks the partition column %s", column.Name)
		}
		return map[int]any{spec.Field(0).FieldID: nil}, nil
	}
	leaf := s.leaves[i]
	switch {
	case !leaf.nullsKnown || leaf.nulls < s.rows && (!leaf.bounded || !leaf.any):
		return nil, fmt.Errorf("its footer does not bound the partition column %s", column.Name)
	case value == nil && leaf.nulls == s.rows:
		return map[int]any{spec.Field(0).FieldID: nil}, nil
	case value == nil || leaf.nulls > 0:
		return nil, fmt.Errorf("%d of its %d rows have no %s, yet it is said to lie in partition %q", leaf.nulls, s.rows, column.Name, partition)
	}
	for _, b := range []bound{leaf.lower, leaf.upper} {
		if in := p.ofBound(b); in != partition {
			return nil, fmt.Errorf("it has rows of partition %q, yet is said to lie in %q", in, partition)
		}
	}
	return map[int]any{spec.Field(0).FieldID: value}, nil
}

// fill puts the statistics into an Iceberg entry.
func (s *fileStats) fill(b *iceberg.DataFileBuilder) {
	sizes, values, nulls := map[int]int64{}, map[int]int64{}, map[int]int64{}
	lower, upper := map[int][]byte{}, map[int][]byte{}
	for _, c := range s.leaves {
		if c.nested {
			sizes[c.column.ElementID()] = c.size
			continue
		}
		id := c.column.ID
		sizes[id], values[id] = c.size, c.values
		if c.nullsKnown {
			nulls[id] = c.nulls
		}
		if !c.bounded || !c.any {
			continue
		}
		if c.lower.number != nil {
			lower[id], upper[id] = c.lower.encode(c.typ), c.upper.encode(c.typ)
			continue
		}
		lower[id] = lowerText(c.lower.text)
		if u := upperText(c.upper.text); u != nil {
			upper[id] = u
		}
	}
	b.ColumnSizes(sizes).ValueCounts(values).NullValueCounts(nulls).LowerBoundValues(lower).UpperBoundValues(upper).SplitOffsets(s.splits)
}
