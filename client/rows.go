package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Rows are the rows of one answer, read by column.
type Rows struct {
	columns []*shoplakev1.Column
	rows    []*structpb.Struct
}

// NewRows wraps what a KPI, a preview or a statement answered with ROW_FORMAT_STRUCT.
func NewRows(set *shoplakev1.RowSet) *Rows {
	return &Rows{columns: set.GetColumns(), rows: set.GetRows()}
}

// Columns returns the columns in order.
func (r *Rows) Columns() []*shoplakev1.Column { return r.columns }

// Len returns how many rows there are.
func (r *Rows) Len() int { return len(r.rows) }

// Value returns the cell of a row (from 0) and column (from 0) as nil, string, int64, Decimal, float64, bool, Date, time.Time
// (in UTC), []byte or json.RawMessage, by the column's type.
func (r *Rows) Value(row, column int) (any, error) {
	c := r.columns[column]
	v, err := cell(c.GetType(), r.rows[row].GetFields()[c.GetName()])
	if err != nil {
		return nil, fmt.Errorf("row %d, column %s: %w", row+1, c.GetName(), err)
	}
	return v, nil
}

// Values returns a row's cells in the order of the columns; see Value for their types.
func (r *Rows) Values(row int) ([]any, error) {
	values := make([]any, len(r.columns))
	for i := range r.columns {
		v, err := r.Value(row, i)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// cell turns a JSON cell into the Go value of its column's type.
func cell(t shoplakev1.ColumnType, v *structpb.Value) (any, error) {
	switch kind := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return nil, nil
	case *structpb.Value_StringValue:
		return textCell(t, kind.StringValue)
	case *structpb.Value_NumberValue:
		switch t {
		case shoplakev1.ColumnType_COLUMN_TYPE_DOUBLE:
			return kind.NumberValue, nil
		case shoplakev1.ColumnType_COLUMN_TYPE_JSON:
			return marshalJSON(v)
		}
	case *structpb.Value_BoolValue:
		switch t {
		case shoplakev1.ColumnType_COLUMN_TYPE_BOOL:
			return kind.BoolValue, nil
		case shoplakev1.ColumnType_COLUMN_TYPE_JSON:
			return marshalJSON(v)
		}
	default:
		if t == shoplakev1.ColumnType_COLUMN_TYPE_JSON {
			return marshalJSON(v)
		}
	}
	return nil, fmt.Errorf("a %T does not belong into a column of type %s: is the server newer than this client?", v.GetKind(), t)
}

func textCell(t shoplakev1.ColumnType, s string) (any, error) {
	switch t {
	case shoplakev1.ColumnType_COLUMN_TYPE_STRING:
		return s, nil
	case shoplakev1.ColumnType_COLUMN_TYPE_INT64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read integer %q: %w", s, err)
		}
		return n, nil
	case shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL:
		return ParseDecimal(s)
	case shoplakev1.ColumnType_COLUMN_TYPE_DOUBLE:
		// NaN and the infinities have no JSON number.
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("read double %q: %w", s, err)
		}
		return f, nil
	case shoplakev1.ColumnType_COLUMN_TYPE_DATE:
		return ParseDate(s)
	case shoplakev1.ColumnType_COLUMN_TYPE_TIMESTAMP:
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return nil, fmt.Errorf("read time %q: %w", s, err)
		}
		return at.UTC(), nil
	case shoplakev1.ColumnType_COLUMN_TYPE_BYTES:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("read bytes: %w", err)
		}
		return b, nil
	case shoplakev1.ColumnType_COLUMN_TYPE_JSON:
		if !json.Valid([]byte(s)) {
			// A JSON column whose value is plain text.
			return marshalJSON(structpb.NewStringValue(s))
		}
		return json.RawMessage(s), nil
	default:
		return nil, fmt.Errorf("the text %q does not belong into a column of type %s: is the server newer than this client?", s, t)
	}
}

func marshalJSON(v *structpb.Value) (any, error) {
	b, err := v.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return json.RawMessage(b), nil
}
