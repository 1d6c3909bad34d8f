package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

var (
	// ErrOutOfMemory says that a query needed more memory than the session may use and could not spill the rest.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrDiskFull says that a query could not write: the disk, or what the session may spill, is full.
	ErrDiskFull = errors.New("disk full")
	// ErrTooManyRows says that a result has more rows than asked for.
	ErrTooManyRows = errors.New("too many rows")
)

// Error is what DuckDB said of a statement.
type Error struct {
	// Class is DuckDB's: Binder, Catalog, Conversion, Out of Range, IO, Permission, ...; empty where it gives none.
	Class   string
	Message string
	// Position is the byte in the statement that the error is about, -1 where unknown.
	Position int
}

// Error gives the message, in DuckDB's words.
func (e *Error) Error() string {
	if e.Class == "" {
		return e.Message
	}
	return strings.ToLower(e.Class) + " error: " + e.Message
}

// failure turns what the driver returned into an error of this package.
func (s *Session) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		// The driver's own message (INTERRUPT) says nothing that the context does not.
		return fmt.Errorf("query interrupted: %w", cause)
	}
	fault := readError(err)
	if fault == nil {
		return err
	}
	switch {
	case strings.Contains(fault.Message, "No space left on device"), strings.Contains(fault.Message, "max_temp_directory_size"):
		return fmt.Errorf("%w: free space where tables and spilled data lie: %w", ErrDiskFull, fault)
	case fault.Class == "Out of Memory":
		limit := "the default limit"
		if s.limit > 0 {
			limit = fmt.Sprintf("a limit of %d MiB", s.limit>>20)
		}
		return fmt.Errorf("%w: the query does not fit into %s: give the worker more memory or a folder to spill to, or choose smaller partitions: %w",
			ErrOutOfMemory, limit, fault)
	}
	return fault
}

// readError reads DuckDB's error, which is JSON in a session that is set up, and nil where err is not from DuckDB.
func readError(err error) *Error {
	var native *duckdb.Error
	if !errors.As(err, &native) {
		return nil
	}
	var document struct {
		Type     string `json:"exception_type"`
		Message  string `json:"exception_message"`
		Position string `json:"position"`
	}
	if json.Unmarshal([]byte(native.Msg), &document) != nil || document.Message == "" {
		return plainError(native.Msg)
	}
	fault := &Error{Class: document.Type, Message: document.Message, Position: -1}
	if position, err := strconv.Atoi(document.Position); err == nil {
		fault.Position = position
	}
	return fault
}

// plainError reads "Class Error: message", the form of errors before the session is set up.
func plainError(text string) *Error {
	if class, message, ok := strings.Cut(text, " Error: "); ok && !strings.Contains(class, "\n") {
		return &Error{Class: class, Message: message, Position: -1}
	}
	return &Error{Message: text, Position: -1}
}

// SyntaxError says what is wrong with a statement that a user wrote, and where.
type SyntaxError struct {
	// Line and Column (in characters) count from 1; 0 where the place is unknown.
	Line, Column int
	Message      string
}

// Error tells the place and what is wrong there.
func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// syntaxError places a message at a byte of a statement; a position outside of it is unknown.
func syntaxError(sql string, position int, format string, args ...any) *SyntaxError {
	line, column := place(sql, position)
	return &SyntaxError{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

// place gives line and column of a byte, from 1; both are 0 for a position outside of the text.
func place(text string, position int) (line, column int) {
	if position < 0 || position > len(text) {
		return 0, 0
	}
	before := text[:position]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
}
