package client

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Decode reads rows into structs of type T, by column. A field takes the column named by its tag `shoplake:"name"`, or the
// column of its own name in snake case; `shoplake:"-"` leaves it out. Every field needs its column; columns without a
// field are passed over.
//
// Field types: string, bool, integers and floats of any size, Decimal, Date, time.Time, []byte, json.RawMessage, any, and
// pointers to these. A null needs a pointer, any, or []byte; elsewhere it is an error.
func Decode[T any](rows *Rows) ([]T, error) {
	var zero T
	t := reflect.TypeOf(zero)
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("decode rows into %T: it is not a struct", zero)
	}
	fields, err := fieldsOf(t, rows.columns)
	if err != nil {
		return nil, fmt.Errorf("decode rows into %s: %w", t, err)
	}
	out := make([]T, rows.Len())
	for i := range out {
		v := reflect.ValueOf(&out[i]).Elem()
		for _, f := range fields {
			value, err := rows.Value(i, f.column)
			if err != nil {
				return nil, fmt.Errorf("decode rows into %s: %w", t, err)
			}
			if err := assign(v.FieldByIndex(f.index), value); err != nil {
				return nil, fmt.Errorf("decode rows into %s: row %d, column %s, field %s: %w",
					t, i+1, rows.columns[f.column].GetName(), f.name, err)
			}
		}
	}
	return out, nil
}

type field struct {
	name   string
	index  []int
	column int
}

func fieldsOf(t reflect.Type, columns []*shoplakev1.Column) ([]field, error) {
	place := make(map[string]int, len(columns))
	names := make([]string, len(columns))
	for i, c := range columns {
		place[c.GetName()], names[i] = i, c.GetName()
	}
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("shoplake")
		if tag == "-" || !f.IsExported() || (f.Anonymous && !tagged) {
			continue
		}
		if !tagged {
			tag = snake(f.Name)
		}
		i, ok := place[tag]
		if !ok {
			return nil, fmt.Errorf("field %s wants column %q; the columns are %s", f.Name, tag, strings.Join(names, ", "))
		}
		fields = append(fields, field{name: f.Name, index: f.Index, column: i})
	}
	return fields, nil
}

// assign puts a value of Rows.Value into a field.
func assign(dst reflect.Value, value any) error {
	if value == nil {
		switch dst.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Slice:
			dst.SetZero()
			return nil
		default:
			return fmt.Errorf("it is null: use *%s", dst.Type())
		}
	}
	if dst.Kind() == reflect.Pointer {
		p := reflect.New(dst.Type().Elem())
		if err := assign(p.Elem(), value); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	}
	if v := reflect.ValueOf(value); v.Type().AssignableTo(dst.Type()) {
		dst.Set(v)
		return nil
	}
	return convert(dst, value)
}

// convert does the conversions that lose nothing, and a decimal's into a float, which the reader of the code asked for.
func convert(dst reflect.Value, value any) error {
	switch v := value.(type) {
	case string:
		if dst.Kind() == reflect.String {
			dst.SetString(v)
			return nil
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(v)
			return nil
		}
	case int64:
		return convertInt(dst, v)
	case float64:
		if dst.CanFloat() {
			dst.SetFloat(v)
			return nil
		}
	case Decimal:
		switch {
		case dst.CanFloat():
			dst.SetFloat(v.Float64())
			return nil
		case dst.Kind() == reflect.String:
			dst.SetString(v.String())
			return nil
		}
	case Date:
		switch {
		case dst.Type() == reflect.TypeFor[time.Time]():
			dst.Set(reflect.ValueOf(v.Time()))
			return nil
		case dst.Kind() == reflect.String:
			dst.SetString(v.String())
			return nil
		}
	case time.Time:
		if dst.Kind() == reflect.String {
			dst.SetString(v.Format(time.RFC3339Nano))
			return nil
		}
	case json.RawMessage:
		switch {
		case dst.Kind() == reflect.String:
			dst.SetString(string(v))
			return nil
		case dst.CanAddr():
			return json.Unmarshal(v, dst.Addr().Interface())
		}
	}
	return fmt.Errorf("a %T does not fit into a %s", value, dst.Type())
}

func convertInt(dst reflect.Value, v int64) error {
	switch {
	case dst.CanInt():
		if dst.OverflowInt(v) {
			return fmt.Errorf("%d does not fit into a %s", v, dst.Type())
		}
		dst.SetInt(v)
	case dst.CanUint():
		if v < 0 || dst.OverflowUint(uint64(v)) {
			return fmt.Errorf("%d does not fit into a %s", v, dst.Type())
		}
		dst.SetUint(uint64(v))
	case dst.CanFloat():
		if v > 1<<53 || v < -(1<<53) || math.Abs(float64(v)) > 1<<53 {
			return fmt.Errorf("%d does not fit into a %s exactly", v, dst.Type())
		}
		dst.SetFloat(float64(v))
	case dst.Type() == reflect.TypeFor[Decimal]():
		dst.Set(reflect.ValueOf(NewDecimal(v, 0)))
	default:
		return fmt.Errorf("an integer does not fit into a %s", dst.Type())
	}
	return nil
}

// snake turns ProductID into product_id.
func snake(name string) string {
	var b strings.Builder
	upper := func(i int) bool { return i >= 0 && i < len(name) && name[i] >= 'A' && name[i] <= 'Z' }
	lower := func(i int) bool { return i >= 0 && i < len(name) && !upper(i) }
	for i := range len(name) {
		if upper(i) {
			if lower(i-1) || (i > 0 && upper(i-1) && lower(i+1)) {
				b.WriteByte('_')
			}
			b.WriteByte(name[i] + 'a' - 'A')
			continue
		}
		b.WriteByte(name[i])
	}
	return b.String()
}
