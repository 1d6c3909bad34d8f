package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLockedSessionHolds runs the attacks without Parse in front: the session itself must stop them.
func TestLockedSessionHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("a\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lake := filepath.Join(dir, "lake")
	if err := os.Mkdir(lake, 0o700); err != nil {
		t.Fatal(err)
	}
	session := open1(t, Options{ReadPaths: []string{lake}, SpillDir: filepath.Join(dir, "spill")})
	more := []string{
		"select * from read_text('" + secret + "')",
		"select * from '" + secret + "'",
		"select * from read_text('" + lake + "/../secret.csv')",
		"select * from glob('" + dir + "/*')",
		"copy (select 1) to '" + dir + "/out.csv'",
		"copy (select 1) to '" + lake + "/../out.csv'",
		"attach '" + dir + "/x.db'",
		"set allowed_directories = ['/']",
		"set global timezone = 'Asia/Tokyo'",
		"set temp_directory = '/tmp'",
		"pragma memory_limit = '100GB'",
	}
	for _, attack := range attacks {
		if attack.locked {
			more = append(more, attack.sql)
		}
	}
	for _, sql := range more {
		t.Run(shorten(sql), func(t *testing.T) {
			t.Parallel()
			rows, err := session.Query(t.Context(), sql, nil)
			if err == nil {
				all, err := rows.All()
				t.Fatalf("it ran: %v %v", all, err)
			}
		})
	}
	t.Cleanup(func() {
		if left, err := filepath.Glob(filepath.Join(dir, "out.csv")); err != nil || left != nil {
			t.Errorf("a file was written: %v %v", left, err)
		}
	})
}

func TestSessionReadsAndWritesItsFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session := open1(t, Options{WritePaths: []string{dir}})
	path := filepath.Join(dir, "new", "a.parquet")
	rows, err := session.Export(t.Context(), "select 1 as a", path, []Column{{Name: "a", Type: "BIGINT"}})
	if err != nil || rows != 1 {
		t.Fatal(rows, err)
	}
	if err := session.Table(t.Context(), "silver.a", []Column{{Name: "a", Type: "BIGINT"}}, []string{path}, ""); err != nil {
		t.Fatal(err)
	}
	wantRows(t, session, "select * from silver.a", nil, "1")
}

func TestCancelInterrupts(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	for name, run := range map[string]func(context.Context) error{
		"query": func(ctx context.Context) error {
			_, err := session.Query(ctx, "select count(*) from range(10000000000) a, range(1000) b", nil)
			return err
		},
		"constant folding": func(ctx context.Context) error {
			_, err := session.Query(ctx, "select list_sum(list_transform(range(30000000), lambda x: x % 7))", nil)
			return err
		},
		"exec": func(ctx context.Context) error {
			return session.Exec(ctx, "create table endless as select count(*) from range(10000000000) a, range(1000) b")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := run(ctx)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("want the context's error, got %v", err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s to stop", took)
			}
			// The session goes on.
			wantRows(t, session, "select 1", nil, "1")
		})
	}
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{MemoryLimit: 20 << 20, Threads: 1})
	err := session.Exec(t.Context(), "create table big as select i, repeat(i::varchar, 20) t from range(3000000) r(i)")
	if !errors.Is(err, ErrOutOfMemory) || !strings.Contains(err.Error(), "20 MiB") {
		t.Errorf("want ErrOutOfMemory with the limit, got %v", err)
	}
	wantRows(t, session, "select 1", nil, "1")
}

func TestSpill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const create = "create table big as select i, repeat(i::varchar, 20) t from range(1000000) r(i)"
	session, err := Open(t.Context(), Options{MemoryLimit: 40 << 20, Threads: 1, SpillDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Exec(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "session-*", "*"))
	if err != nil || len(files) == 0 {
		t.Errorf("nothing was spilled: %v %v", files, err)
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("Close left %v %v", left, err)
	}

	small := open1(t, Options{MemoryLimit: 40 << 20, Threads: 1, SpillDir: dir, SpillLimit: 20 << 20})
	if err := small.Exec(t.Context(), create); !errors.Is(err, ErrDiskFull) {
		t.Errorf("want ErrDiskFull, got %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	session := open1(t, Options{WritePaths: []string{"/dev"}})
	err := session.Exec(t.Context(), "copy (select * from range(1000000)) to '/dev/full' (format csv, use_tmp_file false)")
	if !errors.Is(err, ErrDiskFull) {
		t.Errorf("want ErrDiskFull, got %v", err)
	}
}

func TestSessionIsSharedByManyAtOnce(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			name := fmt.Sprintf("gold.t%d", i)
			if err := session.Materialize(t.Context(), name, fmt.Sprintf("select %d as a", i)); err != nil {
				t.Error(err)
				return
			}
			wantRows(t, session, "select a from "+name, nil, fmt.Sprint(i))
			if err := session.Drop(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSettings(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{MemoryLimit: 100 << 20, Threads: 3, TimeZone: "America/New_York", Currency: "USD"})
	wantRows(t, session, "select current_setting('memory_limit'), current_setting('threads'), current_setting('TimeZone'), shop_currency()",
		nil, "100.0 MiB|3|UTC|USD")
	for _, o := range []Options{{TimeZone: "Nowhere/City"}, {TimeZone: "x'); --"}, {Currency: "euro"}} {
		if session, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v: want an error", o)
			_ = session.Close()
		}
	}
	rows, err := session.Query(t.Context(), "select 'duckdb ' || version()", nil)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := rows.All(); err != nil || all[0][0] != Version() {
		t.Errorf("version %q, the engine says %v %v", Version(), all, err)
	}
}

func TestOpenStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := Open(ctx, Options{SpillDir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v %v", left, err)
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		session, err := Open(b.Context(), Options{SpillDir: b.TempDir(), MemoryLimit: 1 << 30, TimeZone: "Europe/Berlin", Currency: "EUR"})
		if err != nil {
			b.Fatal(err)
		}
		if err := session.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// wantRows compares a result, written one row a line with columns between bars.
func wantRows(t testing.TB, session *Session, sql string, params map[string]any, want ...string) {
	t.Helper()
	rows, err := session.Query(t.Context(), sql, params)
	if err != nil {
		t.Errorf("%s: %v", sql, err)
		return
	}
	all, err := rows.All()
	if err != nil {
		t.Errorf("%s: %v", sql, err)
		return
	}
	var got []string
	for _, values := range all {
		cells := make([]string, len(values))
		for i, value := range values {
			cells[i] = fmt.Sprint(value)
			if instant, ok := value.(time.Time); ok {
				cells[i] = instant.Format(time.RFC3339Nano)
			}
		}
		got = append(got, strings.Join(cells, "|"))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
