// Package engine runs SQL in DuckDB behind a small interface: one in-memory database a session, with a memory limit, a
// folder to spill to, interruption, and no way out to files that the session was not given. It reads SQL that a user wrote
// (Parse, Describe) without trusting it. It is the only importer of DuckDB.
package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// maxConnections is how many statements of one session run at the same time; more wait. They share the session's threads
// and memory.
const maxConnections = 16

// Options say what a session may use.
type Options struct {
	// MemoryLimit in bytes; 0 is DuckDB's own default, most of the machine's memory.
	MemoryLimit int64
	// Threads that work on queries; 0 is one a core.
	Threads int
	// SpillDir is where what does not fit into memory goes. The session makes a folder of its own below it, and removes
	// that on Close. Where it is empty, a query that does not fit fails with ErrOutOfMemory.
	SpillDir string
	// SpillLimit in bytes bounds what is spilled; beyond it a query fails with ErrDiskFull. 0 is DuckDB's default, most of
	// the free disk.
	SpillLimit int64
	// ReadPaths are folders whose files may be read.
	ReadPaths []string
	// WritePaths are folders that may be read and written. DuckDB draws no line between the two: that nothing is written
	// elsewhere is because statements that come from outside are one SELECT each (see Parse).
	WritePaths []string
	// TimeZone (IANA) decides what day it is for business_day; empty is UTC. The session's own time zone is always UTC.
	TimeZone string
	// Currency (ISO 4217) is what shop_currency() gives; null where empty.
	Currency string
}

// Session is one DuckDB database in memory. It is safe for concurrent use; what a statement creates, all statements see.
type Session struct {
	db    *sql.DB
	spill string // the session's own spill folder, empty where there is none
	limit int64

	// definitions guards relations and keeps statements that define them apart: DuckDB fails the second of two that change
	// the catalog at once.
	definitions sync.Mutex
	relations   map[string]relationKind
}

// Open starts a session and locks it: afterwards its settings cannot be changed, nothing outside the given folders can be
// read or written, and no extension can be loaded.
func Open(ctx context.Context, o Options) (*Session, error) {
	ctx, end := traced(ctx, "engine.open")
	s, err := open(ctx, o)
	end(err)
	if err != nil {
		return nil, fmt.Errorf("open a query session: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, o Options) (*Session, error) {
	spill, err := spillFolder(o.SpillDir)
	if err != nil {
		return nil, err
	}
	setup, err := setupSQL(o, spill)
	if err != nil {
		return nil, errors.Join(err, removeFolder(spill))
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, errors.Join(err, removeFolder(spill))
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	s := &Session{db: db, spill: spill, limit: o.MemoryLimit, relations: map[string]relationKind{}}
	if err := s.Exec(ctx, setup); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close frees the session's memory and removes its spill folder. Statements still running end first.
func (s *Session) Close() error {
	if err := errors.Join(s.db.Close(), removeFolder(s.spill)); err != nil {
		return fmt.Errorf("close a query session: %w", err)
	}
	return nil
}

// Exec runs trusted statements, several if they are separated by semicolons, and drops their results. When ctx ends the
// statement is interrupted and the context's error returned.
func (s *Session) Exec(ctx context.Context, sql string) error {
	_, err := s.exec(ctx, sql)
	return err
}

// exec returns the number of rows that the last statement changed.
func (s *Session) exec(ctx context.Context, sql string) (int64, error) {
	var changed int64
	err := s.withConn(ctx, func(conn *duckdb.Conn) error {
		result, err := conn.ExecContext(ctx, sql, nil)
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	return changed, s.failure(ctx, err)
}

// withConn lends one of the session's connections to f.
func (s *Session) withConn(ctx context.Context, f func(*duckdb.Conn) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	return errors.Join(conn.Raw(func(driverConn any) error { return f(driverConn.(*duckdb.Conn)) }), conn.Close())
}

// Version names the engine and its version, for instance "duckdb v1.5.6"; another version may compute other results.
func Version() string { return "duckdb " + mapping.LibraryVersion() }

// spillFolder makes the session's own folder below dir: two databases must not share one.
func spillFolder(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the spill folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the spill folder: %w", err)
	}
	folder, err := os.MkdirTemp(dir, "session-*")
	if err != nil {
		return "", fmt.Errorf("make the session's spill folder: %w", err)
	}
	return folder, nil
}

func removeFolder(folder string) error {
	if folder == "" {
		return nil
	}
	if err := os.RemoveAll(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the spill folder: %w", err)
	}
	return nil
}

// quote writes text as an SQL string.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// quoteName writes a name as an SQL identifier.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteList writes texts as an SQL list.
func quoteList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
