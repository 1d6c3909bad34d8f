package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxStatement bounds the bytes of a statement that Parse reads.
const maxStatement = 1 << 20

// Statement is one SELECT that may be run.
type Statement struct {
	SQL string
	// Tables are the places where it reads a table, in order; names of common table expressions are left out.
	Tables []TableRef
	// Params are the names of its parameters without the dollar, each once, in order of their first use.
	Params []string
}

// TableRef is one place where a statement reads a table, which is schema.name; both are lower case.
type TableRef struct {
	Schema, Name string
	// Position is the byte in the statement; Line and Column (in characters) count from 1.
	Position     int
	Line, Column int
}

// Table is the name in full: schema.name.
func (t TableRef) Table() string { return t.Schema + "." + t.Name }

// Parse reads a statement that someone else wrote, from DuckDB's own syntax tree. A *SyntaxError says why it is refused:
// because it is not SQL, not one SELECT, reads something other than tables named layer.table (a file, the catalog, a table
// function other than range, generate_series and unnest), calls a function that is not on the list of harmless ones, or
// has parameters without a name.
func Parse(ctx context.Context, sql string) (*Statement, error) {
	if fault := checkText(sql); fault != nil {
		return nil, fault
	}
	session, err := parserSession.get(ctx)
	if err != nil {
		return nil, err
	}
	tree, err := session.syntaxTree(ctx, sql)
	if err != nil {
		return nil, err
	}
	return readTree(sql, tree)
}

// checkText refuses what DuckDB would read otherwise than it is written.
func checkText(sql string) *SyntaxError {
	if len(sql) > maxStatement {
		return &SyntaxError{Message: fmt.Sprintf("the statement has %d bytes, more than the %d that are allowed", len(sql), maxStatement)}
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return syntaxError(sql, i, "the statement holds a zero byte")
	}
	for i, r := range sql {
		if r == utf8.RuneError && !strings.HasPrefix(sql[i:], string(utf8.RuneError)) {
			return syntaxError(sql, i, "the statement is not UTF-8")
		}
	}
	return nil
}

// syntaxDocument is what json_serialize_sql gives.
type syntaxDocument struct {
	Error      bool   `json:"error"`
	Class      string `json:"error_type"`
	Message    string `json:"error_message"`
	Position   string `json:"position"`
	Statements []any  `json:"statements"`
}

func (s *Session) syntaxTree(ctx context.Context, sql string) (*syntaxDocument, error) {
	rows, err := s.Query(ctx, "SELECT CAST(json_serialize_sql("+quote(sql)+") AS VARCHAR)", nil)
	if err != nil {
		return nil, unreadable(ctx, sql, err)
	}
	all, err := rows.All()
	if err != nil {
		return nil, unreadable(ctx, sql, err)
	}
	text, ok := all[0][0].(string)
	if !ok {
		return nil, errors.New("read a statement's syntax: DuckDB gave no text")
	}
	document := &syntaxDocument{}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(document); err != nil {
		// DuckDB writes a number beyond a DOUBLE as Infinity, which is not JSON.
		return nil, &SyntaxError{Message: "a constant cannot be read: is a number too large?"}
	}
	return document, nil
}

// unreadable tells a statement that the parser cannot read, such as one nested too deeply, from a failure of ours.
func unreadable(ctx context.Context, sql string, err error) error {
	var fault *Error
	if ctx.Err() == nil && errors.As(err, &fault) && !errors.Is(err, ErrOutOfMemory) && !errors.Is(err, ErrDiskFull) {
		return syntaxError(sql, -1, "%s", firstLine(fault.Message))
	}
	return fmt.Errorf("read a statement's syntax: %w", err)
}

func readTree(sql string, document *syntaxDocument) (*Statement, error) {
	if document.Error {
		if document.Class == "not implemented" {
			return nil, syntaxError(sql, lex(sql).start, "only a SELECT is allowed here")
		}
		position, err := strconv.Atoi(document.Position)
		if err != nil {
			position = -1
		}
		return nil, syntaxError(sql, position, "%s", document.Message)
	}
	switch len(document.Statements) {
	case 0:
		return nil, &SyntaxError{Message: "there is no statement: write a SELECT"}
	case 1:
	default:
		return nil, &SyntaxError{Message: fmt.Sprintf("there are %d statements: write one SELECT", len(document.Statements))}
	}
	w := &walker{sql: sql, parameters: map[string]bool{}}
	w.walk(document.Statements[0], nil)
	if len(w.faults) > 0 {
		first := slices.MinFunc(w.faults, func(a, b fault) int { return a.position - b.position })
		return nil, syntaxError(sql, first.position, "%s", first.message)
	}
	slices.SortStableFunc(w.tables, func(a, b TableRef) int { return a.Position - b.Position })
	params, err := namedParameters(sql, w.parameters)
	if err != nil {
		return nil, err
	}
	return &Statement{SQL: sql, Tables: w.tables, Params: params}, nil
}

// namedParameters gives the parameters in the order of the text, which must be those of the syntax tree.
func namedParameters(sql string, tree map[string]bool) ([]string, error) {
	var params []string
	seen := map[string]bool{}
	for _, p := range lex(sql).parameters {
		if p.name[0] >= '0' && p.name[0] <= '9' {
			return nil, syntaxError(sql, p.start, "a parameter needs a name: write $name, not $%s", p.name)
		}
		if !seen[p.name] {
			seen[p.name] = true
			params = append(params, p.name)
		}
	}
	for name := range tree {
		if !slices.ContainsFunc(params, func(p string) bool { return strings.EqualFold(p, name) }) {
			return nil, syntaxError(sql, strings.IndexByte(sql, '?'), "a parameter needs a name: write $name, with white space before it")
		}
	}
	for _, p := range params {
		if !tree[strings.ToLower(p)] {
			return nil, syntaxError(sql, strings.Index(sql, "$"+p), "$%s is not understood as a parameter: put white space around it", p)
		}
	}
	return params, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// sharedSession is a session that is opened when it is first asked for and stays open.
type sharedSession struct {
	mu      sync.Mutex
	session *Session
}

// parserSession reads statements and binds them to empty tables; it never reads data.
var parserSession sharedSession

func (h *sharedSession) get(ctx context.Context) (*Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil {
		session, err := Open(ctx, Options{MemoryLimit: 256 << 20, Threads: 1})
		if err != nil {
			return nil, err
		}
		h.session = session
	}
	return h.session, nil
}
