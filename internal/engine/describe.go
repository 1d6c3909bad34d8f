package engine

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// Describe tells what columns a statement yields, in order, when the tables that it names (layer.table) have the given
// columns, and each parameter ($name, without the dollar) the given type. Nothing is run. Types are spelt as in Column;
// those without a counterpart there as in DuckDB. A statement that Parse refuses or that does not fit is a *SyntaxError.
func Describe(ctx context.Context, sql string, tables map[string][]Column, params map[string]string) ([]Column, error) {
	statement, err := Parse(ctx, sql)
	if err != nil {
		return nil, err
	}
	definitions, err := definitionsSQL(statement, tables)
	if err != nil {
		return nil, err
	}
	used := lex(sql).parameters
	for _, p := range used {
		typeName, ok := params[p.name]
		if !ok {
			return nil, syntaxError(sql, p.start, "the parameter $%s is not declared", p.name)
		}
		if err := checkType(Column{Name: "of the parameter $" + p.name, Type: typeName}); err != nil {
			return nil, syntaxError(sql, p.start, "%v", err)
		}
	}
	const prefix = "DESCRIBE "
	text, original := rewrite(sql, used, func(name string) string { return "CAST(NULL AS " + params[name] + ")" })
	session, err := parserSession.get(ctx)
	if err != nil {
		return nil, err
	}
	columns, err := session.describe(ctx, definitions, prefix+text)
	var fault *Error
	if errors.As(err, &fault) && !errors.Is(err, ErrOutOfMemory) {
		position := fault.Position
		if position >= 0 {
			position = original(max(position-len(prefix), 0))
		}
		return nil, syntaxError(sql, position, "%s", fault.Message)
	}
	return columns, err
}

// definitionsSQL creates the tables that a statement reads, empty.
func definitionsSQL(statement *Statement, tables map[string][]Column) (string, error) {
	var b strings.Builder
	var made []string
	for _, ref := range statement.Tables {
		name := ref.Table()
		if slices.Contains(made, name) {
			continue
		}
		made = append(made, name)
		columns, ok := tables[name]
		if !ok {
			return "", syntaxError(statement.SQL, ref.Position, "there is no table %s", name)
		}
		if len(columns) == 0 {
			return "", syntaxError(statement.SQL, ref.Position, "the columns of %s are not known", name)
		}
		relation, schema, err := relationName(name)
		if err != nil {
			return "", err
		}
		definitions := make([]string, len(columns))
		for i, c := range columns {
			if err := checkType(c); err != nil {
				return "", fmt.Errorf("describe the table %s: %w", name, err)
			}
			definitions[i] = quoteName(c.Name) + " " + c.Type
		}
		fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s;\nCREATE TABLE %s (%s);\n", schema, relation, strings.Join(definitions, ", "))
	}
	return b.String(), nil
}

// describe runs in a transaction that is rolled back, so that the tables exist for this statement only.
func (s *Session) describe(ctx context.Context, definitions, text string) ([]Column, error) {
	s.definitions.Lock()
	defer s.definitions.Unlock()
	var columns []Column
	err := s.withConn(ctx, func(conn *duckdb.Conn) (err error) {
		if _, err := conn.ExecContext(ctx, "BEGIN TRANSACTION", nil); err != nil {
			return err
		}
		defer func() {
			// Also when ctx has ended: the connection is used again.
			_, undo := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK", nil)
			err = errors.Join(err, undo)
		}()
		if definitions != "" {
			if _, err := conn.ExecContext(ctx, definitions, nil); err != nil {
				return err
			}
		}
		columns, err = describeColumns(ctx, conn, text)
		return err
	})
	return columns, s.failure(ctx, err)
}

func describeColumns(ctx context.Context, conn *duckdb.Conn, text string) (columns []Column, err error) {
	native, err := conn.QueryContext(ctx, text, nil)
	if err != nil {
		return nil, err
	}
	rows := &Rows{ctx: ctx, rows: native, native: make([]driver.Value, len(native.Columns()))}
	defer func() { err = errors.Join(err, native.Close()) }()
	for rows.Next() {
		name, _ := rows.native[0].(string)
		typeName, _ := rows.native[1].(string)
		typeName, _ = canonical(typeName)
		columns = append(columns, Column{Name: name, Type: typeName, Scale: scaleOf(typeName)})
	}
	return columns, rows.Err()
}
