package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sort"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// Typed is a parameter's value with its type in DuckDB's spelling, for a value whose Go type does not tell: a null, or a
// date given as text.
type Typed struct {
	Type  string
	Value any
}

// Date is a parameter of type DATE; only the calendar day of the time in its own location counts.
func Date(day time.Time) Typed { return Typed{Type: "DATE", Value: day.Format(time.DateOnly)} }

// Rows is the result of a query. It must be closed; it holds one of the session's connections until then.
type Rows struct {
	ctx     context.Context // of the query: ends the iteration
	conn    *sql.Conn
	rows    driver.Rows
	columns []Column
	native  []driver.Value
	read    int
	err     error
}

// Query runs one SELECT: SQL of ours, or a statement that Parse took. Parameters ($name) come from params: int64, float64,
// bool, string, []string, []byte, Decimal, time.Time (an instant), Typed, or nil; each that the statement uses must be there. Names
// that it does not use are ignored. The whole result is in the session's memory when Query returns: put a LIMIT to it where
// it may be large. When ctx ends, the query is interrupted and the error is the context's.
func (s *Session) Query(ctx context.Context, sql string, params map[string]any) (_ *Rows, err error) {
	ctx, end := traced(ctx, "engine.query")
	defer func() { end(err) }()
	rows, err := s.query(ctx, sql, params)
	if err != nil {
		return nil, err
	}
	if text, ok := rows.plain(sql); !ok {
		// A column of a type that has no exact counterpart (a JSON number, a STRUCT) is read as text.
		if err := rows.Close(); err != nil {
			return nil, err
		}
		return s.query(ctx, text, params)
	}
	return rows, nil
}

func (s *Session) query(ctx context.Context, text string, params map[string]any) (*Rows, error) {
	text, args, err := bind(text, params)
	if err != nil {
		return nil, err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	var native driver.Rows
	err = conn.Raw(func(driverConn any) (err error) {
		native, err = driverConn.(*duckdb.Conn).QueryContext(ctx, text, args)
		return err
	})
	if err != nil {
		return nil, s.failure(ctx, errors.Join(err, conn.Close()))
	}
	names := native.Columns()
	rows := &Rows{ctx: ctx, conn: conn, rows: native, columns: make([]Column, len(names)), native: make([]driver.Value, len(names))}
	for i, name := range names {
		typeName, _ := canonical(rows.nativeType(i))
		rows.columns[i] = Column{Name: name, Type: typeName, Scale: scaleOf(typeName)}
	}
	return rows, nil
}

func (r *Rows) nativeType(i int) string {
	return r.rows.(driver.RowsColumnTypeDatabaseTypeName).ColumnTypeDatabaseTypeName(i)
}

// plain is true where all columns can be read as they are; otherwise it gives a query that can.
func (r *Rows) plain(sql string) (string, bool) {
	plain := true
	aliases := make([]string, len(r.columns))
	list := make([]string, len(r.columns))
	for i, c := range r.columns {
		aliases[i] = fmt.Sprintf("c%d", i)
		value := aliases[i]
		native := r.nativeType(i)
		_, known := canonical(native)
		switch {
		case native == "JSON" || native == "UUID" || strings.HasPrefix(native, "TIME") && !known || native == "INTERVAL" || native == "BIT" || native == "BIGNUM":
			value, plain = "CAST("+value+" AS VARCHAR)", false
		case strings.HasPrefix(native, "UUID["):
			value, plain = "CAST("+value+" AS VARCHAR[])", false
		case !known:
			value, plain = "CAST(to_json("+value+") AS VARCHAR)", false
		}
		list[i] = value + " AS " + quoteName(c.Name)
	}
	if plain {
		return sql, true
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + Subquery(sql) + " AS result(" + strings.Join(aliases, ", ") + ")", false
}

// Columns describes the result's columns in order.
func (r *Rows) Columns() []Column { return r.columns }

// Next moves to the next row; it is false at the end and after an error, which Err tells.
func (r *Rows) Next() bool {
	if r.err != nil {
		return false
	}
	const checkEvery = 1024
	if r.read++; r.read%checkEvery == 0 && r.ctx.Err() != nil {
		r.err = fmt.Errorf("query interrupted: %w", r.ctx.Err())
		return false
	}
	if err := r.rows.Next(r.native); err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("read a result: %w", err)
		}
		r.err = err
		return false
	}
	return true
}

// Err is what ended the iteration early; nil at the end of the rows.
func (r *Rows) Err() error {
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// Values gives the row's values by column: nil, bool, int64, float64, string, []byte, Decimal, time.Time in UTC (DATE at
// midnight, TIMESTAMP and TIMESTAMP WITH TIME ZONE), or []any for a list.
func (r *Rows) Values() ([]any, error) {
	values := make([]any, len(r.native))
	for i, native := range r.native {
		value, err := exact(native, r.columns[i].Type)
		if err != nil {
			return nil, fmt.Errorf("read column %s: %w", r.columns[i].Name, err)
		}
		values[i] = value
	}
	return values, nil
}

// Close frees the result.
func (r *Rows) Close() error { return errors.Join(r.rows.Close(), r.conn.Close()) }

// All reads the remaining rows and closes the result.
func (r *Rows) All() ([][]any, error) {
	var all [][]any
	for r.Next() {
		values, err := r.Values()
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		all = append(all, values)
	}
	if err := errors.Join(r.Err(), r.Close()); err != nil {
		return nil, err
	}
	return all, nil
}

// exact turns what the driver gives into the types of Values.
func exact(native any, typeName string) (any, error) {
	switch v := native.(type) {
	case nil, bool, int64, float64, string, []byte, time.Time:
		return v, nil
	case int8:
		return int64(v), nil
	case int16:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint8:
		return int64(v), nil
	case uint16:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint64:
		return Decimal{Value: new(big.Int).SetUint64(v)}, nil
	case float32:
		return float64(v), nil
	case *big.Int:
		return Decimal{Value: v}, nil
	case duckdb.Decimal:
		return Decimal{Value: v.Value, Scale: int(v.Scale)}, nil
	case []any:
		element := strings.TrimSuffix(typeName, "[]")
		list := make([]any, len(v))
		for i, item := range v {
			value, err := exact(item, element)
			if err != nil {
				return nil, err
			}
			if _, ok := value.(string); element == "VARCHAR" && value != nil && !ok {
				return nil, errors.New("a list of JSON has no exact value: cast it to VARCHAR[]")
			}
			list[i] = value
		}
		return list, nil
	}
	return nil, fmt.Errorf("a value of type %s cannot be read: cast it to VARCHAR", typeName)
}

// bind gives the statement with a cast around each parameter whose type must be told, and the driver's arguments.
func bind(text string, params map[string]any) (string, []driver.NamedValue, error) {
	tokens := lex(text)
	if tokens.statements > 1 {
		return "", nil, errors.New("a query is one statement, this is more than one: send them one by one")
	}
	used := tokens.parameters
	if len(used) == 0 {
		return text, nil, nil
	}
	values, casts := map[string]any{}, map[string]string{}
	for _, p := range used {
		given, ok := params[p.name]
		if !ok {
			return "", nil, fmt.Errorf("the statement uses $%s, which has no value: %s", p.name, knownParameters(params))
		}
		value, typeName, err := argument(given)
		if err != nil {
			return "", nil, fmt.Errorf("parameter $%s: %w", p.name, err)
		}
		values[p.name], casts[p.name] = value, typeName
	}
	var args []driver.NamedValue
	for name, value := range values {
		args = append(args, driver.NamedValue{Name: name, Value: value})
	}
	text, _ = rewrite(text, used, func(name string) string {
		if casts[name] == "" {
			return "$" + name
		}
		return "CAST($" + name + " AS " + casts[name] + ")"
	})
	return text, args, nil
}

func knownParameters(params map[string]any) string {
	if len(params) == 0 {
		return "no parameters were given"
	}
	var names []string
	for name := range params {
		names = append(names, "$"+name)
	}
	sort.Strings(names)
	return "given are " + strings.Join(names, ", ")
}

// argument gives a parameter's value for the driver, and the type to cast it to, empty where the value tells.
func argument(given any) (value any, typeName string, err error) {
	switch v := given.(type) {
	case nil, bool, int64, float64, string, []byte, []string:
		return v, "", nil
	case int:
		return int64(v), "", nil
	case int32:
		return int64(v), "", nil
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.999999-07:00"), "TIMESTAMP WITH TIME ZONE", nil
	case Decimal:
		text := v.String()
		return text, fmt.Sprintf("DECIMAL(38,%d)", v.Scale), nil
	case Typed:
		if err := checkType(Column{Name: "of the parameter", Type: v.Type}); err != nil {
			return nil, "", err
		}
		value, _, err := argument(v.Value)
		return value, v.Type, err
	}
	return nil, "", fmt.Errorf("a %T cannot be a parameter", given)
}

// rewrite replaces each parameter, and gives a function from bytes of the new text to bytes of the old.
func rewrite(text string, parameters []parameter, replace func(name string) string) (string, func(int) int) {
	type span struct{ oldStart, oldEnd, newStart, newEnd int }
	var b strings.Builder
	var spans []span
	last := 0
	for _, p := range parameters {
		b.WriteString(text[last:p.start])
		start := b.Len()
		b.WriteString(replace(p.name))
		spans = append(spans, span{p.start, p.end, start, b.Len()})
		last = p.end
	}
	b.WriteString(text[last:])
	original := func(position int) int {
		shift := 0
		for _, s := range spans {
			switch {
			case position < s.newStart:
				return position - shift
			case position < s.newEnd:
				return s.oldStart
			}
			shift = s.newEnd - s.oldEnd
		}
		return position - shift
	}
	return b.String(), original
}
