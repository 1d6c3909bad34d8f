package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// arrowBatch is how many rows a record batch of a result holds.
const arrowBatch = 8192

// QueryArrow is Query with the result as an Arrow IPC stream, exact in every type: DECIMAL is decimal128, and an instant a
// timestamp in microseconds, UTC. A result of more than maxRows rows is refused with ErrTooManyRows.
func (s *Session) QueryArrow(ctx context.Context, sql string, params map[string]any, maxRows int) ([]byte, error) {
	rows, err := s.Query(ctx, fmt.Sprintf("SELECT * FROM %s LIMIT %d", Subquery(sql), maxRows+1), params)
	if err != nil {
		return nil, err
	}
	stream, err := arrowStream(rows, maxRows)
	if err := errors.Join(err, rows.Close()); err != nil {
		return nil, fmt.Errorf("write a result as Arrow: %w", err)
	}
	return stream, nil
}

func arrowStream(rows *Rows, maxRows int) ([]byte, error) {
	fields := make([]arrow.Field, len(rows.Columns()))
	for i, c := range rows.Columns() {
		dataType, err := arrowType(c.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		fields[i] = arrow.Field{Name: c.Name, Type: dataType, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	var stream bytes.Buffer
	writer := ipc.NewWriter(&stream, ipc.WithSchema(schema))
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	flush := func() error {
		batch := builder.NewRecordBatch()
		defer batch.Release()
		return writer.Write(batch)
	}
	count := 0
	for ; rows.Next(); count++ {
		if count == maxRows {
			return nil, fmt.Errorf("%w: the result has more than %d: narrow the query, or page with LIMIT and OFFSET", ErrTooManyRows, maxRows)
		}
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			if err := appendArrow(builder.Field(i), value); err != nil {
				return nil, fmt.Errorf("column %s: %w", rows.Columns()[i].Name, err)
			}
		}
		if (count+1)%arrowBatch == 0 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if count%arrowBatch != 0 {
		if err := flush(); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return stream.Bytes(), nil
}

// arrowType is the counterpart of a Column.Type.
func arrowType(typeName string) (arrow.DataType, error) {
	if element, ok := strings.CutSuffix(typeName, "[]"); ok {
		dataType, err := arrowType(element)
		if err != nil {
			return nil, err
		}
		return arrow.ListOf(dataType), nil
	}
	switch typeName {
	case "VARCHAR":
		return arrow.BinaryTypes.String, nil
	case "BIGINT":
		return arrow.PrimitiveTypes.Int64, nil
	case "INTEGER":
		return arrow.PrimitiveTypes.Int32, nil
	case "DOUBLE":
		return arrow.PrimitiveTypes.Float64, nil
	case "BOOLEAN":
		return arrow.FixedWidthTypes.Boolean, nil
	case "DATE":
		return arrow.FixedWidthTypes.Date32, nil
	case "TIMESTAMP":
		return &arrow.TimestampType{Unit: arrow.Microsecond}, nil
	case "TIMESTAMP WITH TIME ZONE":
		return arrow.FixedWidthTypes.Timestamp_us, nil
	case "BLOB":
		return arrow.BinaryTypes.Binary, nil
	}
	if parts := decimalType.FindStringSubmatch(typeName); parts != nil {
		precision, err := strconv.ParseInt(parts[1], 10, 32)
		return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scaleOf(typeName))}, err
	}
	return nil, fmt.Errorf("a %s has no counterpart in Arrow: cast it to VARCHAR", typeName)
}

func appendArrow(builder array.Builder, value any) error {
	if value == nil {
		builder.AppendNull()
		return nil
	}
	switch b := builder.(type) {
	case *array.StringBuilder:
		if v, ok := value.(string); ok {
			b.Append(v)
			return nil
		}
	case *array.Int64Builder:
		if v, ok := value.(int64); ok {
			b.Append(v)
			return nil
		}
	case *array.Int32Builder:
		if v, ok := value.(int64); ok {
			b.Append(int32(v))
			return nil
		}
	case *array.Float64Builder:
		if v, ok := value.(float64); ok {
			b.Append(v)
			return nil
		}
	case *array.BooleanBuilder:
		if v, ok := value.(bool); ok {
			b.Append(v)
			return nil
		}
	case *array.Date32Builder:
		if v, ok := value.(time.Time); ok {
			b.Append(arrow.Date32FromTime(v))
			return nil
		}
	case *array.TimestampBuilder:
		if v, ok := value.(time.Time); ok {
			b.Append(arrow.Timestamp(v.UnixMicro()))
			return nil
		}
	case *array.BinaryBuilder:
		if v, ok := value.([]byte); ok {
			b.Append(v)
			return nil
		}
	case *array.Decimal128Builder:
		if v, ok := value.(Decimal); ok {
			return appendDecimal(b, v.Value)
		}
	case *array.ListBuilder:
		if v, ok := value.([]any); ok {
			b.Append(true)
			for _, item := range v {
				if err := appendArrow(b.ValueBuilder(), item); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return fmt.Errorf("a %T does not fit %s", value, builder.Type())
}

// appendDecimal refuses a HUGEINT beyond the 38 digits of the type that stands for it.
func appendDecimal(b *array.Decimal128Builder, value *big.Int) error {
	if precision := b.Type().(*arrow.Decimal128Type).Precision; len(new(big.Int).Abs(value).String()) > int(precision) {
		return fmt.Errorf("%s has more than %d digits", value, precision)
	}
	b.Append(decimal128.FromBigInt(value))
	return nil
}
