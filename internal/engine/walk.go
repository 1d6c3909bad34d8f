package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// walker goes through a syntax tree. What it does not know it refuses, so that new syntax of a new DuckDB is looked at first.
type walker struct {
	sql        string
	tables     []TableRef
	parameters map[string]bool // lower case
	faults     []fault
}

type fault struct {
	position int
	message  string
}

// scope holds the common table expressions that a name can mean, in lower case.
type scope map[string]bool

func (s scope) with(name string) scope {
	wider := maps.Clone(s)
	if wider == nil {
		wider = scope{}
	}
	wider[name] = true
	return wider
}

// The kinds of nodes that are understood. Everything that a node holds is walked, so that a table can hide in no clause.
var (
	queryNodes  = map[string]bool{"SELECT_NODE": true, "SET_OPERATION_NODE": true, "RECURSIVE_CTE_NODE": true, "CTE_NODE": true}
	expressions = map[string]bool{
		"COLUMN_REF": true, "CONSTANT": true, "FUNCTION": true, "WINDOW": true, "STAR": true, "PARAMETER": true, "SUBQUERY": true,
		"CAST": true, "CASE": true, "COMPARISON": true, "CONJUNCTION": true, "OPERATOR": true, "BETWEEN": true, "COLLATE": true,
		"LAMBDA": true, "LAMBDA_REF": true, "POSITIONAL_REFERENCE": true, "TYPE": true,
	}
	sources = map[string]bool{
		"BASE_TABLE": true, "SUBQUERY": true, "JOIN": true, "EMPTY": true, "EXPRESSION_LIST": true, "TABLE_FUNCTION": true, "PIVOT": true,
	}
)

func (w *walker) refuse(position int, format string, args ...any) {
	w.faults = append(w.faults, fault{position, fmt.Sprintf(format, args...)})
}

func (w *walker) walk(value any, names scope) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			w.walk(item, names)
		}
	case map[string]any:
		w.node(v, names)
	}
}

func (w *walker) node(n map[string]any, names scope) {
	kind, _ := n["type"].(string)
	class, isExpression := n["class"].(string)
	_, isQuery := n["cte_map"]
	_, hasSample := n["sample"]
	position := bytePosition(n)
	switch {
	case isExpression:
		if !expressions[class] {
			w.refuse(position, "this is not supported (%s)", strings.ToLower(class))
		}
		w.expression(n, class, position)
	case isQuery:
		if !queryNodes[kind] {
			w.refuse(position, "this is not supported (%s)", strings.ToLower(kind))
		}
		names = w.commonTables(n, kind, names)
	case kind == "BASE_TABLE":
		w.baseTable(n, position, names)
	case hasSample:
		if !sources[kind] {
			w.refuse(position, "only tables can be read here, not %s", strings.ToLower(strings.ReplaceAll(kind, "_", " ")))
		}
		if kind == "TABLE_FUNCTION" {
			w.tableFunction(n, position, names)
			return
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		if key != "cte_map" {
			w.walk(n[key], names)
		}
	}
}

// commonTables walks the WITH of a query and gives the names that the query itself sees. Each expression sees those before
// it, and itself if it is recursive.
func (w *walker) commonTables(n map[string]any, kind string, names scope) scope {
	if name, ok := n["cte_name"].(string); ok && (kind == "RECURSIVE_CTE_NODE" || kind == "CTE_NODE") {
		names = names.with(strings.ToLower(name))
	}
	with, _ := n["cte_map"].(map[string]any)
	entries, _ := with["map"].([]any)
	for _, item := range entries {
		entry, _ := item.(map[string]any)
		name, _ := entry["key"].(string)
		w.walk(entry["value"], names)
		names = names.with(strings.ToLower(name))
	}
	return names
}

func (w *walker) expression(n map[string]any, class string, position int) {
	switch class {
	case "FUNCTION", "WINDOW":
		name := text(n, "function_name")
		if schema := text(n, "schema"); text(n, "catalog") != "" || schema != "" && schema != "main" {
			w.refuse(position, "the function %s: write its name without a schema", name)
		} else if name != "" && !allowedFunctions()[strings.ToLower(name)] {
			w.refuse(position, "the function %s is unknown or cannot be called here: only functions that compute from their arguments can", name)
		}
	case "PARAMETER":
		w.parameters[strings.ToLower(text(n, "identifier"))] = true
	}
}

func (w *walker) baseTable(n map[string]any, position int, names scope) {
	catalog, schema, name := text(n, "catalog_name"), strings.ToLower(text(n, "schema_name")), strings.ToLower(text(n, "table_name"))
	switch {
	case n["at_clause"] != nil:
		w.refuse(position, "AT cannot be used: a query reads what was published")
	case catalog == "" && schema == "" && names[name]:
	case catalog != "" || schema == "" || !plainName(schema) || !plainName(name):
		w.refuse(position, "%q is not a table: write layer.table, such as silver.orders", text(n, "table_name"))
	case schema == "information_schema" || schema == "pg_catalog" || schema == "main" || schema == "temp" || schema == "system":
		w.refuse(position, "%s.%s cannot be read: only the tables of bronze, silver, gold and ops can", schema, name)
	default:
		line, column := place(w.sql, position)
		w.tables = append(w.tables, TableRef{Schema: schema, Name: name, Position: position, Line: line, Column: column})
	}
}

func (w *walker) tableFunction(n map[string]any, position int, names scope) {
	function, _ := n["function"].(map[string]any)
	name := strings.ToLower(text(function, "function_name"))
	if !tableFunctions[name] || text(function, "catalog") != "" || text(function, "schema") != "" {
		w.refuse(position, "the table function %s cannot be used: read tables, or range, generate_series or unnest", name)
	}
	// The function was judged here; what remains are its arguments.
	for _, key := range slices.Sorted(maps.Keys(function)) {
		w.walk(function[key], names)
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		if key != "function" {
			w.walk(n[key], names)
		}
	}
}

func text(n map[string]any, key string) string {
	value, _ := n[key].(string)
	return value
}

// bytePosition is the byte that a node begins at, -1 where the parser does not say.
func bytePosition(n map[string]any) int {
	number, ok := n["query_location"].(json.Number)
	if !ok {
		return -1
	}
	position, err := number.Int64()
	if err != nil || position > maxStatement {
		return -1 // DuckDB writes 2^64-1
	}
	return int(position)
}

// plainName says whether a table's name is one that needs no quotes, in lower case.
func plainName(name string) bool {
	for i, c := range []byte(name) {
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
