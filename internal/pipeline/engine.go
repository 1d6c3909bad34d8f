package pipeline

import (
	"context"
	"fmt"
)

// Engine reads SQL for the loader: it parses a statement and binds it to tables without running it.
// An Engine must be safe for concurrent use.
type Engine interface {
	// Parse returns what a statement names. A statement that is not one allowed SELECT is a *SQLError.
	Parse(ctx context.Context, sql string) (*ParsedSQL, error)
	// Describe returns the columns that the statement yields, in order, when the named tables (layer.table) have the given
	// columns and each parameter ($name, without the dollar) the given type in DuckDB's spelling. A statement that cannot
	// be bound is a *SQLError. Required of a returned column is always false.
	Describe(ctx context.Context, sql string, tables map[string][]Column, params map[string]string) ([]Column, error)
}

// ParsedSQL is what a statement names.
type ParsedSQL struct {
	// Tables are the tables read, names of common table expressions left out; a table that is read twice stands twice.
	Tables []TableRef
	// Params are the names of its parameters without the dollar, each once.
	Params []string
}

// TableRef is one place where a statement names a table.
type TableRef struct {
	// Table is the name as written, lower case: layer.table.
	Table string
	// Line and Column count from 1 in the statement's text; 0 where the engine cannot tell.
	Line, Column int
}

// SQLError says what is wrong with a statement.
type SQLError struct {
	// Line and Column count from 1 in the statement's text; 0 where the engine cannot tell.
	Line, Column int
	Message      string
}

// Error tells the place in the statement and what is wrong there.
func (e *SQLError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}
