package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/shoplake/shoplake/bench/machine"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/sample"
	"github.com/shoplake/shoplake/pipelines"
)

// Bare DuckDB does what somebody would who writes the flow as a script: one statement after the other, each with all
// processors, one Parquet file a table; no checks of tables, no lineage, no partitions, no recovery. It runs in a process of
// its own, so that its memory can be told from the program's.

// bareVariable makes a process of this program the one that runs bare DuckDB.
const bareVariable = "SHOPLAKE_BENCH_BARE"

func bareWanted() bool { return os.Getenv(bareVariable) != "" }

// bareRequest is what the process is told.
type bareRequest struct {
	// Out is where files are written; it exists.
	Out string
	// Read are folders that files lie in.
	Read []string
	// Files are those of each source that are read, whole: those that cannot be read are left out.
	Files map[string][]string
	// MemoryLimit in bytes; DuckDB's default where 0.
	MemoryLimit int64
}

// bareStep is what it tells of each table.
type bareStep struct {
	Table           string
	Seconds         float64
	RowsOut         int64
	RowsQuarantined int64
}

// measureBare runs bare DuckDB on the files that the program read.
func measureBare(ctx context.Context, o options, manifest *sample.Manifest, product *measured, out string) (*measured, error) {
	request := bareRequest{Out: out, Files: map[string][]string{}}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	landing := filepath.Join(o.shop(), "landing")
	request.Read = []string{landing, product.warehouse}
	for _, source := range []string{"orders", "user_activity"} {
		request.Files[source] = readable(manifest, landing, source)
	}
	// Bare DuckDB reads no workbooks: it is given what the program made of them.
	err := filepath.WalkDir(filepath.Join(product.warehouse, "bronze", "inventory", "data"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") {
			request.Files["inventory"] = append(request.Files["inventory"], path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if o.memory != "" {
		limit, err := humanize.ParseBytes(o.memory)
		if err != nil {
			return nil, err
		}
		request.MemoryLimit = int64(limit) * int64(o.workers)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, self)
	child.Env = append(os.Environ(), bareVariable+"=1")
	child.Stdin, child.Stderr = strings.NewReader(string(input)), os.Stderr
	busy := machine.All()
	answer, err := child.Output()
	if err != nil {
		return nil, err
	}
	busy = machine.All() - busy
	var said struct {
		Steps []bareStep
		CPU   time.Duration
		Peak  int64
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return nil, fmt.Errorf("read what it measured: %w", err)
	}
	m := &measured{cpu: said.CPU, others: busy - said.CPU, peak: said.Peak}
	for _, s := range said.Steps {
		took := time.Duration(s.Seconds * float64(time.Second))
		m.took += took
		m.stages = append(m.stages, stage{table: s.Table, took: took, rowsOut: s.RowsOut, rowsQuarantined: s.RowsQuarantined})
	}
	return m, nil
}

// readable are the files of a source that hold rows that can be read.
func readable(manifest *sample.Manifest, landing, source string) []string {
	var files []string
	for _, f := range manifest.Sources[source].Files {
		whole := slices.ContainsFunc(f.Bad, func(b sample.BadRow) bool { return b.Row == 0 })
		if f.Rows > 0 && !whole {
			files = append(files, filepath.Join(landing, source, filepath.FromSlash(f.Path)))
		}
	}
	slices.Sort(files)
	return files
}

//go:embed bare/*.sql
var bareSQL embed.FS

// serveBare reads a request, does it, and writes what it measured.
func serveBare(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	var r bareRequest
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return err
	}
	eng, err := engine.NewBinder(ctx)
	if err != nil {
		return err
	}
	p, err := pipeline.Load(ctx, pipelines.Ecommerce, eng)
	if err != nil {
		return err
	}
	session, err := engine.Open(ctx, engine.Options{
		MemoryLimit: r.MemoryLimit, Threads: runtime.GOMAXPROCS(0), SpillDir: filepath.Join(r.Out, "spill"),
		ReadPaths: r.Read, WritePaths: []string{r.Out}, TimeZone: p.TimeZone, Currency: p.Currency,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	b := &bare{bareRequest: r, session: session}
	before := machine.Of(os.Getpid())
	if err := b.flow(ctx, p); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]any{"Steps": b.steps, "CPU": machine.Of(os.Getpid()) - before, "Peak": machine.Peak(os.Getpid())})
}

// bare is the script under way.
type bare struct {
	bareRequest
	session *engine.Session
	steps   []bareStep
}

func (b *bare) flow(ctx context.Context, p *pipeline.Pipeline) error {
	macros, err := bareSQL.ReadFile("bare/macros.sql")
	if err != nil {
		return err
	}
	if err := b.session.Exec(ctx, string(macros)+"CREATE SCHEMA bronze; CREATE SCHEMA silver; CREATE SCHEMA gold; CREATE SCHEMA quarantine;"); err != nil {
		return err
	}
	if err := b.session.Exec(ctx, view("bronze.inventory", b.Files["inventory"])); err != nil {
		return err
	}
	for _, source := range []string{"orders", "user_activity"} {
		script, err := bareSQL.ReadFile("bare/" + source + ".sql")
		if err != nil {
			return err
		}
		reads := ""
		if source == "orders" {
			if reads, err = readsOf(b.Files[source]); err != nil {
				return err
			}
		}
		sql := strings.NewReplacer("{{files}}", list(b.Files[source]), "{{reads}}", reads, "{{out}}", b.Out).Replace(string(script))
		if err := b.step(ctx, "bronze."+source, sql); err != nil {
			return err
		}
	}
	for _, model := range p.Models {
		// A model's SQL may end in a comment.
		sql := fmt.Sprintf("COPY (\n%s\n) TO %s (FORMAT parquet, COMPRESSION zstd)", model.SQL, literal(b.path(model.Table)))
		if err := b.step(ctx, model.Table, sql); err != nil {
			return err
		}
	}
	return nil
}

// readsOf is the query that reads CSV files as text, those with the same header together: DuckDB finds columns by name or
// keeps what it rejects, not both.
func readsOf(files []string) (string, error) {
	var headers []string
	byHeader := map[string][]string{}
	for _, file := range files {
		header, err := headerOf(file)
		if err != nil {
			return "", err
		}
		if byHeader[header] == nil {
			headers = append(headers, header)
		}
		byHeader[header] = append(byHeader[header], file)
	}
	reads := make([]string, len(headers))
	for i, header := range headers {
		var columns []string
		for name := range strings.SplitSeq(strings.TrimPrefix(header, "\ufeff"), ",") {
			columns = append(columns, literal(strings.ToLower(strings.TrimSpace(name)))+": 'VARCHAR'")
		}
		// What the engine finds out by itself fails on files with bad rows.
		reads[i] = fmt.Sprintf(`SELECT * FROM read_csv(%s, columns = {%s}, auto_detect = false, header = true, delim = ',', quote = '"', escape = '"',
    new_line = '%s', filename = true, store_rejects = true, rejects_limit = 0)`, list(byHeader[header]), strings.Join(columns, ", "), newLine(header))
	}
	return strings.Join(reads, "\nUNION ALL BY NAME\n"), nil
}

func newLine(header string) string {
	if strings.HasSuffix(header, "\r\n") {
		return `\r\n`
	}
	return `\n`
}

func headerOf(path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if text, err = gzip.NewReader(f); err != nil {
			return "", err
		}
	}
	return bufio.NewReader(text).ReadString('\n')
}

func (b *bare) path(table string) string { return filepath.Join(b.Out, table+".parquet") }

// step makes a table, and notes how long it took.
func (b *bare) step(ctx context.Context, table, sql string) error {
	began := time.Now()
	if err := b.session.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	s := bareStep{Table: table, Seconds: time.Since(began).Seconds()}
	var err error
	if s.RowsOut, err = b.count(ctx, table); err != nil {
		return err
	}
	if source, ok := strings.CutPrefix(table, "bronze."); ok {
		if s.RowsQuarantined, err = b.count(ctx, "quarantine."+source); err != nil {
			return err
		}
	}
	b.steps = append(b.steps, s)
	return nil
}

// count opens a table that was written.
func (b *bare) count(ctx context.Context, table string) (int64, error) {
	if err := b.session.Exec(ctx, view(table, []string{b.path(table)})); err != nil {
		return 0, err
	}
	rows, err := b.session.Query(ctx, "SELECT count(*) FROM "+table, nil)
	if err != nil {
		return 0, err
	}
	all, err := rows.All()
	if err != nil {
		return 0, err
	}
	return all[0][0].(int64), nil
}

func view(table string, files []string) string {
	return "CREATE VIEW " + table + " AS SELECT * FROM read_parquet(" + list(files) + ")"
}

func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = literal(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
