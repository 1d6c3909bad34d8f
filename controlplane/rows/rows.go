// Package rows turns rows of the engine into those of the API: cells by Spanner's convention, or one Arrow IPC stream.
package rows

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/engine"
)

// arrowRows is how many rows an Arrow stream has at most: it comes whole, not in pages.
const arrowRows = 1_000_000

// Read runs one SELECT and returns its rows: after skipping some at most limit, and whether there were more; or all of them
// as one Arrow stream.
func Read(ctx context.Context, session *engine.Session, sql string, params map[string]any, format shoplakev1.RowFormat, skip, limit int) (*shoplakev1.RowSet, bool, error) {
	if format == shoplakev1.RowFormat_ROW_FORMAT_ARROW {
		stream, err := session.QueryArrow(ctx, sql, params, arrowRows)
		if err != nil {
			return nil, false, err
		}
		return &shoplakev1.RowSet{Arrow: stream}, false, nil
	}
	// The engine holds a result whole, so the page is cut in SQL; one row more tells whether there is another page.
	found, err := session.Query(ctx, fmt.Sprintf("SELECT * FROM %s LIMIT %d OFFSET %d", engine.Subquery(sql), limit+1, skip), params)
	if err != nil {
		return nil, false, err
	}
	defer found.Close()
	return page(found, limit)
}

func page(from *engine.Rows, limit int) (*shoplakev1.RowSet, bool, error) {
	set := &shoplakev1.RowSet{Columns: Columns(from.Columns())}
	for from.Next() {
		if int(set.GetRowCount()) == limit {
			return set, true, nil
		}
		values, err := from.Values()
		if err != nil {
			return nil, false, err
		}
		row := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(values))}
		for i, v := range values {
			row.Fields[set.GetColumns()[i].GetName()] = Cell(v, set.GetColumns()[i].GetType())
		}
		set.Rows = append(set.Rows, row)
		set.RowCount++
	}
	return set, false, from.Err()
}

// Columns are the API's columns of the engine's.
func Columns(columns []engine.Column) []*shoplakev1.Column {
	list := make([]*shoplakev1.Column, 0, len(columns))
	for _, c := range columns {
		list = append(list, Column(c.Name, c.Type, !c.Required))
	}
	return list
}

// Column is a column of the API; the type is in DuckDB's spelling.
func Column(name, typ string, nullable bool) *shoplakev1.Column {
	column := &shoplakev1.Column{Name: name, Nullable: nullable}
	column.Type, column.Scale = typeOf(typ)
	return column
}

func typeOf(typ string) (shoplakev1.ColumnType, int32) {
	if args, ok := strings.CutPrefix(typ, "DECIMAL("); ok {
		_, scale, _ := strings.Cut(strings.TrimSuffix(args, ")"), ",")
		n, err := strconv.Atoi(strings.TrimSpace(scale))
		if err != nil {
			n = 0
		}
		return shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL, int32(n)
	}
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
		return shoplakev1.ColumnType_COLUMN_TYPE_INT64, 0
	case "HUGEINT", "UHUGEINT", "UBIGINT":
		return shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL, 0
	case "FLOAT", "DOUBLE":
		return shoplakev1.ColumnType_COLUMN_TYPE_DOUBLE, 0
	case "BOOLEAN":
		return shoplakev1.ColumnType_COLUMN_TYPE_BOOL, 0
	case "DATE":
		return shoplakev1.ColumnType_COLUMN_TYPE_DATE, 0
	case "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
		return shoplakev1.ColumnType_COLUMN_TYPE_TIMESTAMP, 0
	case "BLOB":
		return shoplakev1.ColumnType_COLUMN_TYPE_BYTES, 0
	case "JSON":
		return shoplakev1.ColumnType_COLUMN_TYPE_JSON, 0
	}
	return shoplakev1.ColumnType_COLUMN_TYPE_STRING, 0
}

// Cell is a value as the API shows it.
func Cell(v any, typ shoplakev1.ColumnType) *structpb.Value {
	switch v := v.(type) {
	case nil:
		return structpb.NewNullValue()
	case bool:
		return structpb.NewBoolValue(v)
	case float64:
		return structpb.NewNumberValue(v)
	case float32:
		return structpb.NewNumberValue(float64(v))
	case []byte:
		return structpb.NewStringValue(base64.StdEncoding.EncodeToString(v))
	case time.Time:
		if typ == shoplakev1.ColumnType_COLUMN_TYPE_DATE {
			return structpb.NewStringValue(v.Format(time.DateOnly))
		}
		return structpb.NewStringValue(v.UTC().Format(time.RFC3339Nano))
	case []any:
		list := &structpb.ListValue{}
		for _, e := range v {
			list.Values = append(list.Values, Cell(e, shoplakev1.ColumnType_COLUMN_TYPE_STRING))
		}
		return structpb.NewListValue(list)
	case string:
		return structpb.NewStringValue(strings.ToValidUTF8(v, "\uFFFD"))
	}
	return structpb.NewStringValue(fmt.Sprint(v)) // int64 and decimals: their digits
}
