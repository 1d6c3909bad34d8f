package lake

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
)

// ElementID is Iceberg's field id of the elements of a list column. EnsureTable sees to it that it is the one after the
// column's own, so that a writer needs no more than the column.
func (c Column) ElementID() int { return c.ID + 1 }

// list says whether the column holds lists.
func (c Column) list() bool { return strings.HasSuffix(strings.TrimSpace(c.Type), "[]") }

var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	columnPattern  = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,254}$`)
	decimalPattern = regexp.MustCompile(`^(?:DECIMAL|NUMERIC)(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?$`)
)

// plainTypes are DuckDB's types by the spellings that DuckDB accepts. Unsigned and small integers take the next
// Iceberg type that holds all their values.
var plainTypes = map[string]iceberg.Type{
	"VARCHAR": iceberg.PrimitiveTypes.String, "TEXT": iceberg.PrimitiveTypes.String, "STRING": iceberg.PrimitiveTypes.String,
	"JSON":    iceberg.PrimitiveTypes.String,
	"TINYINT": iceberg.PrimitiveTypes.Int32, "SMALLINT": iceberg.PrimitiveTypes.Int32, "UTINYINT": iceberg.PrimitiveTypes.Int32,
	"USMALLINT": iceberg.PrimitiveTypes.Int32, "INTEGER": iceberg.PrimitiveTypes.Int32, "INT": iceberg.PrimitiveTypes.Int32,
	"UINTEGER": iceberg.PrimitiveTypes.Int64, "BIGINT": iceberg.PrimitiveTypes.Int64, "LONG": iceberg.PrimitiveTypes.Int64,
	"UBIGINT": iceberg.DecimalTypeOf(20, 0), "HUGEINT": iceberg.DecimalTypeOf(38, 0),
	"FLOAT": iceberg.PrimitiveTypes.Float32, "REAL": iceberg.PrimitiveTypes.Float32, "DOUBLE": iceberg.PrimitiveTypes.Float64,
	"BOOLEAN": iceberg.PrimitiveTypes.Bool, "BOOL": iceberg.PrimitiveTypes.Bool,
	"DATE": iceberg.PrimitiveTypes.Date, "TIME": iceberg.PrimitiveTypes.Time,
	"TIMESTAMP": iceberg.PrimitiveTypes.Timestamp, "DATETIME": iceberg.PrimitiveTypes.Timestamp,
	"TIMESTAMP WITH TIME ZONE": iceberg.PrimitiveTypes.TimestampTz, "TIMESTAMPTZ": iceberg.PrimitiveTypes.TimestampTz,
	"BLOB": iceberg.PrimitiveTypes.Binary, "BYTEA": iceberg.PrimitiveTypes.Binary,
}

// icebergType is the Iceberg type of a DuckDB type. A list's element id is left for the caller to set.
func icebergType(text string) (iceberg.Type, error) {
	upper := strings.ToUpper(strings.Join(strings.Fields(text), " "))
	if element, ok := strings.CutSuffix(upper, "[]"); ok {
		t, err := icebergType(element)
		if err != nil {
			return nil, err
		}
		if _, nested := t.(*iceberg.ListType); nested {
			return nil, fmt.Errorf("type %s cannot be stored: a list of lists; flatten it or cast it to JSON", text)
		}
		return &iceberg.ListType{Element: t}, nil
	}
	if t, ok := plainTypes[upper]; ok {
		return t, nil
	}
	if m := decimalPattern.FindStringSubmatch(upper); m != nil {
		precision, scale := 18, 3 // what DuckDB takes a bare DECIMAL for
		if m[1] != "" {
			precision, _ = strconv.Atoi(m[1])
			scale, _ = strconv.Atoi(m[2])
		}
		if precision < 1 || precision > 38 || scale > precision {
			return nil, fmt.Errorf("type %s cannot be stored: precision is 1 to 38, scale at most the precision", text)
		}
		return iceberg.DecimalTypeOf(precision, scale), nil
	}
	return nil, fmt.Errorf("type %s cannot be stored: cast it to one of VARCHAR, BIGINT, INTEGER, DOUBLE, BOOLEAN, DATE, TIMESTAMP, "+
		"TIMESTAMP WITH TIME ZONE, DECIMAL(p,s), BLOB, or a list of one of these", text)
}

// duckType is the DuckDB spelling of an Iceberg type.
func duckType(t iceberg.Type) (string, error) {
	switch t := t.(type) {
	case iceberg.StringType:
		return "VARCHAR", nil
	case iceberg.Int32Type:
		return "INTEGER", nil
	case iceberg.Int64Type:
		return "BIGINT", nil
	case iceberg.Float32Type:
		return "FLOAT", nil
	case iceberg.Float64Type:
		return "DOUBLE", nil
	case iceberg.BooleanType:
		return "BOOLEAN", nil
	case iceberg.DateType:
		return "DATE", nil
	case iceberg.TimeType:
		return "TIME", nil
	case iceberg.TimestampType:
		return "TIMESTAMP", nil
	case iceberg.TimestampTzType:
		return "TIMESTAMP WITH TIME ZONE", nil
	case iceberg.BinaryType:
		return "BLOB", nil
	case iceberg.DecimalType:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.Precision(), t.Scale()), nil
	case *iceberg.ListType:
		element, err := duckType(t.Element)
		return element + "[]", err
	}
	return "", fmt.Errorf("the Iceberg type %s is none that Shoplake writes", t)
}

// check refuses a schema that no table can have.
func (s Schema) check() error {
	if len(s.Columns) == 0 {
		return fmt.Errorf("%w: a table needs a column", ErrIncompatible)
	}
	seen := map[string]bool{}
	plain := 0
	for _, c := range s.Columns {
		if !columnPattern.MatchString(c.Name) {
			return fmt.Errorf("%w: column name %q: use lower-case letters, digits and _", ErrIncompatible, c.Name)
		}
		if seen[c.Name] {
			return fmt.Errorf("%w: column %s stands twice", ErrIncompatible, c.Name)
		}
		seen[c.Name] = true
		if _, err := icebergType(c.Type); err != nil {
			return fmt.Errorf("%w: column %s: %w", ErrIncompatible, c.Name, err)
		}
		if !c.list() {
			plain++
		}
	}
	if plain == 0 {
		return fmt.Errorf("%w: a table needs a column that is no list", ErrIncompatible)
	}
	if s.Partition == (Partition{}) {
		return nil
	}
	column, ok := s.column(s.Partition.Column)
	if !ok {
		return fmt.Errorf("%w: the partition column %q is no column of the table", ErrIncompatible, s.Partition.Column)
	}
	t, _ := icebergType(column.Type)
	if _, err := newPartitioner(s.Partition.Transform, t); err != nil {
		return fmt.Errorf("%w: partition by %s(%s): %w", ErrIncompatible, s.Partition.Transform, column.Name, err)
	}
	return nil
}

func (s Schema) column(name string) (Column, bool) {
	for _, c := range s.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return Column{}, false
}

// iceberg gives the Iceberg schema and partition spec of columns that have their ids.
func (s Schema) iceberg() (*iceberg.Schema, iceberg.PartitionSpec, error) {
	fields := make([]iceberg.NestedField, 0, len(s.Columns))
	for _, c := range s.Columns {
		if c.ID <= 0 {
			return nil, iceberg.PartitionSpec{}, fmt.Errorf("column %s has no field id: take the columns that EnsureTable returned", c.Name)
		}
		t, err := icebergType(c.Type)
		if err != nil {
			return nil, iceberg.PartitionSpec{}, fmt.Errorf("column %s: %w", c.Name, err)
		}
		if list, ok := t.(*iceberg.ListType); ok {
			list.ElementID = c.ElementID()
		}
		fields = append(fields, iceberg.NestedField{ID: c.ID, Name: c.Name, Type: t, Required: c.Required})
	}
	spec := *iceberg.UnpartitionedSpec
	if s.Partition != (Partition{}) {
		column, ok := s.column(s.Partition.Column)
		if !ok {
			return nil, spec, fmt.Errorf("the partition column %q is no column of the table", s.Partition.Column)
		}
		transform, name := s.Partition.iceberg()
		spec = iceberg.NewPartitionSpec(iceberg.PartitionField{SourceIDs: []int{column.ID}, FieldID: iceberg.PartitionDataIDStart, Name: name, Transform: transform})
	}
	return iceberg.NewSchema(0, fields...), spec, nil
}

// iceberg is the transform, and the name of the field of the partition spec.
func (p Partition) iceberg() (iceberg.Transform, string) {
	if p.Transform == Month {
		return iceberg.MonthTransform{}, p.Column + "_month"
	}
	return iceberg.IdentityTransform{}, p.Column
}

// schemaOf is the schema of an Iceberg table.
func schemaOf(sc *iceberg.Schema, spec iceberg.PartitionSpec) (Schema, error) {
	var s Schema
	for _, f := range sc.Fields() {
		t, err := duckType(f.Type)
		if err != nil {
			return Schema{}, fmt.Errorf("column %s: %w", f.Name, err)
		}
		c := Column{ID: f.ID, Name: f.Name, Type: t, Required: f.Required}
		if list, ok := f.Type.(*iceberg.ListType); ok && list.ElementID != c.ElementID() {
			return Schema{}, fmt.Errorf("column %s: its elements have the field id %d, not %d: the table was not made by Shoplake", f.Name, list.ElementID, c.ElementID())
		}
		s.Columns = append(s.Columns, c)
	}
	partition, err := partitionOf(sc, spec)
	s.Partition = partition
	return s, err
}

// partitionOf tells a partition spec in our terms.
func partitionOf(sc *iceberg.Schema, spec iceberg.PartitionSpec) (Partition, error) {
	if spec.IsUnpartitioned() {
		return Partition{}, nil
	}
	field := spec.Field(0)
	source, ok := sc.FindFieldByID(field.SourceID())
	if spec.NumFields() != 1 || !ok {
		return Partition{}, fmt.Errorf("the partition spec %s is none that Shoplake writes", spec)
	}
	switch field.Transform.(type) {
	case iceberg.IdentityTransform:
		return Partition{Transform: Identity, Column: source.Name}, nil
	case iceberg.MonthTransform:
		return Partition{Transform: Month, Column: source.Name}, nil
	}
	return Partition{}, fmt.Errorf("the partition spec %s is none that Shoplake writes", spec)
}
