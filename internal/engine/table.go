package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// relationKind is what a name of the session stands for.
type relationKind string

const (
	viewKind  relationKind = "VIEW"
	tableKind relationKind = "TABLE"
)

// Table defines layer.table as a view over Parquet files, which are read anew by every query. Columns are found by name: a
// file that lacks one gives null, a file with a narrower type is widened, other columns are not seen. where, unless empty,
// is a trusted SQL condition over the columns. Without files the view is empty. An older definition of the name is replaced.
func (s *Session) Table(ctx context.Context, name string, cols []Column, files []string, where string) error {
	query, err := scan(cols, files, where)
	if err != nil {
		return fmt.Errorf("define the table %s: %w", name, err)
	}
	return s.define(ctx, name, viewKind, query)
}

// Load is Table with the rows read once and kept in the session's memory.
func (s *Session) Load(ctx context.Context, name string, cols []Column, files []string) error {
	query, err := scan(cols, files, "")
	if err != nil {
		return fmt.Errorf("load the table %s: %w", name, err)
	}
	ctx, end := traced(ctx, "engine.load", attribute.String("shoplake.table", name), attribute.Int("shoplake.files", len(files)))
	err = s.define(ctx, name, tableKind, query)
	end(err)
	return err
}

// Define names the result of a trusted query: layer.table then stands for the query (computed anew at each use).
func (s *Session) Define(ctx context.Context, name, query string) error {
	return s.define(ctx, name, viewKind, query)
}

// Materialize is Define with the rows computed once and kept in memory, spilled where there is a spill folder.
func (s *Session) Materialize(ctx context.Context, name, query string) error {
	ctx, end := traced(ctx, "engine.materialize", attribute.String("shoplake.table", name))
	err := s.define(ctx, name, tableKind, query)
	end(err)
	return err
}

// Drop forgets a table that Table, Load, Define or Materialize made; one that does not exist is no error.
func (s *Session) Drop(ctx context.Context, name string) error {
	s.definitions.Lock()
	defer s.definitions.Unlock()
	kind, ok := s.relations[name]
	if !ok {
		return nil
	}
	relation, _, err := relationName(name)
	if err != nil {
		return err
	}
	if err := s.Exec(ctx, "DROP "+string(kind)+" IF EXISTS "+relation); err != nil {
		return fmt.Errorf("drop the table %s: %w", name, err)
	}
	delete(s.relations, name)
	return nil
}

func (s *Session) define(ctx context.Context, name string, kind relationKind, query string) error {
	relation, schema, err := relationName(name)
	if err != nil {
		return err
	}
	s.definitions.Lock()
	defer s.definitions.Unlock()
	statements := "CREATE SCHEMA IF NOT EXISTS " + schema + ";\n"
	if old, ok := s.relations[name]; ok && old != kind {
		statements += "DROP " + string(old) + " IF EXISTS " + relation + ";\n"
	}
	statements += "CREATE OR REPLACE " + string(kind) + " " + relation + " AS " + query
	if err := s.Exec(ctx, statements); err != nil {
		return fmt.Errorf("define the table %s: %w", name, err)
	}
	s.relations[name] = kind
	return nil
}

// relationName quotes layer.table and its layer.
func relationName(name string) (relation, schema string, err error) {
	layer, table, ok := strings.Cut(name, ".")
	if !ok || layer == "" || table == "" || strings.Contains(table, ".") {
		return "", "", fmt.Errorf("%q is not the name of a table: use layer.table", name)
	}
	return quoteName(layer) + "." + quoteName(table), quoteName(layer), nil
}

// scan is the query that reads columns from files.
func scan(cols []Column, files []string, where string) (string, error) {
	if len(cols) == 0 {
		return "", errors.New("a table needs a column")
	}
	list := make([]string, len(cols))
	schema := make([]string, len(cols))
	for i, c := range cols {
		if err := checkType(c); err != nil {
			return "", err
		}
		value := quoteName(c.Name)
		if len(files) == 0 {
			value = "NULL"
		}
		list[i] = "CAST(" + value + " AS " + c.Type + ") AS " + quoteName(c.Name)
		schema[i] = quote(c.Name) + ": {name: " + quote(c.Name) + ", type: " + quote(c.Type) + ", default_value: NULL}"
	}
	query := "SELECT " + strings.Join(list, ", ")
	if len(files) == 0 {
		return query + " WHERE false", nil
	}
	paths := make([]string, len(files))
	for i, file := range files {
		paths[i] = literalPath(file)
	}
	// Giving the schema, unlike union_by_name, does not open every file before the query begins.
	query += " FROM read_parquet(" + quoteList(paths) + ", schema = MAP {" + strings.Join(schema, ", ") + "})"
	if where != "" {
		query = "SELECT * FROM (" + query + ") WHERE " + where
	}
	return query, nil
}

// literalPath writes a path so that DuckDB does not take characters of its name for a pattern.
func literalPath(path string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(path)
}
