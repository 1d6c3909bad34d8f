package runs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// History reads and extends ops.runs, the runs that have ended. Each is one row, replaced where the run was resumed and has
// ended again.
type History struct {
	Lake   *lake.Lake
	Engine engine.Options

	// writing keeps those who add runs apart from maintenance, which removes files that no commit names.
	writing sync.Mutex
}

// dayOf is the day that a run's id tells: the row lies in its month, so that a run is found without reading all months.
func dayOf(runID string) time.Time {
	id, err := ulid.ParseStrict(runID)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return id.Timestamp().UTC()
}

func monthOf(runID string) string { return dayOf(runID).Format("2006-01") }

// opsRuns is the definition of the table.
func opsRuns() pipeline.OpsTable {
	tables := pipeline.OpsTables()
	return tables[slices.IndexFunc(tables, func(t pipeline.OpsTable) bool { return t.Name == pipeline.RunsTable })]
}

// months lists the table's files by month; ErrNotFound of the lake where there is no table yet.
func (h *History) months(ctx context.Context) (map[string][]lake.File, *lake.Table, error) {
	t, err := h.Lake.Table(ctx, pipeline.RunsTable)
	if err != nil {
		return nil, nil, err
	}
	byMonth := map[string][]lake.File{}
	if t.SnapshotID == 0 {
		return byMonth, t, nil
	}
	files, err := h.Lake.Files(ctx, t.Name, t.SnapshotID)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		byMonth[f.Partition] = append(byMonth[f.Partition], f)
	}
	return byMonth, t, nil
}

// query reads rows of the table from some of its files.
func (h *History) query(ctx context.Context, files []lake.File, sql string, params map[string]any, row func([]any) error) error {
	return queryFiles(ctx, h.Engine, []viewed{view(pipeline.RunsTable, opsRuns().Columns, files)}, sql, params, row)
}

// has tells which of the runs the files hold, each with how often it had been resumed.
func (h *History) has(ctx context.Context, byMonth map[string][]lake.File, ids []string) (map[string]int64, error) {
	known := map[string]int64{}
	var files []lake.File
	seen := map[string]bool{}
	for _, id := range ids {
		if m := monthOf(id); !seen[m] {
			seen[m] = true
			files = append(files, byMonth[m]...)
		}
	}
	if len(files) == 0 {
		return known, nil
	}
	err := h.query(ctx, files, "SELECT run_id, resumed FROM ops.runs WHERE list_contains($ids, run_id)", map[string]any{"ids": ids}, func(v []any) error {
		known[v[0].(string)] = v[1].(int64)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look runs up in ops.runs: %w", err)
	}
	return known, nil
}

// Run reads one run; ErrNotFound where the history does not have it.
func (h *History) Run(ctx context.Context, runID string) (*State, error) {
	byMonth, _, err := h.months(ctx)
	if err != nil && !errors.Is(err, lake.ErrNotFound) {
		return nil, fmt.Errorf("read run %s from ops.runs: %w", runID, err)
	}
	states, err := h.states(ctx, byMonth[monthOf(runID)], []string{runID})
	if err != nil {
		return nil, err
	}
	if len(states) == 0 {
		return nil, fmt.Errorf("run %s: %w", runID, ErrNotFound)
	}
	return states[0], nil
}

// Before reads the newest runs that are older than a run (all where empty), the newest first; none are left where there are
// fewer than limit.
func (h *History) Before(ctx context.Context, before string, limit int) ([]*State, error) {
	byMonth, _, err := h.months(ctx)
	if errors.Is(err, lake.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ops.runs: %w", err)
	}
	var all []*State
	for _, month := range newestFirst(byMonth) {
		if before != "" && month > monthOf(before) {
			continue
		}
		var ids []string
		params := map[string]any{"before": before, "limit": int64(limit - len(all))}
		err := h.query(ctx, byMonth[month], "SELECT DISTINCT run_id FROM ops.runs WHERE $before = '' OR run_id < $before ORDER BY run_id DESC LIMIT $limit", params, func(v []any) error {
			ids = append(ids, v[0].(string))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the runs of %s in ops.runs: %w", month, err)
		}
		states, err := h.states(ctx, byMonth[month], ids)
		if err != nil {
			return nil, err
		}
		if all = append(all, states...); len(all) >= limit {
			break
		}
	}
	return all, nil
}

// Newest is the id of the newest run that the history has; empty where it has none.
func (h *History) Newest(ctx context.Context) (string, error) {
	states, err := h.Before(ctx, "", 1)
	if err != nil || len(states) == 0 {
		return "", err
	}
	return states[0].RunID, nil
}

func newestFirst(byMonth map[string][]lake.File) []string {
	var months []string
	for month := range byMonth {
		months = append(months, month)
	}
	slices.Sort(months)
	slices.Reverse(months)
	return months
}

// states reads runs from files, the newest first.
func (h *History) states(ctx context.Context, files []lake.File, ids []string) ([]*State, error) {
	if len(files) == 0 || len(ids) == 0 {
		return nil, nil
	}
	var states []*State
	const columns = "run_id, flow, trigger, state, pipeline, trace_id, coalesce(error_message, ''), created_at, ended_at, details"
	err := h.query(ctx, files, "SELECT "+columns+" FROM ops.runs WHERE list_contains($ids, run_id) ORDER BY run_id DESC", map[string]any{"ids": ids}, func(v []any) error {
		id := v[0].(string)
		if len(states) > 0 && states[len(states)-1].RunID == id {
			return nil
		}
		s, _, err := decodeCheckpoint(v[9].([]byte), id)
		if err != nil {
			slog.WarnContext(ctx, "the details of a run in ops.runs cannot be read; telling its outline", "run", id, "error", err)
			s = outline(v)
		}
		states = append(states, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read runs from ops.runs: %w", err)
	}
	return states, nil
}

// outline is what the plain columns say of a run.
func outline(v []any) *State {
	s := NewState(v[0].(string))
	s.Submitted = &dispatchv1.RunSubmitted{Flow: v[1].(string), Trigger: v[2].(string), PipelineDigest: v[4].(string), TraceId: v[5].(string)}
	s.Phase = shoplakev1.RunState(shoplakev1.RunState_value["RUN_STATE_"+v[3].(string)])
	s.Created, _ = v[7].(time.Time)
	s.Ended, _ = v[8].(time.Time)
	if message := v[6].(string); message != "" {
		s.Failure = &Failure{Message: message}
	}
	s.Notices = []string{"its stages and tasks cannot be read: they were written by a newer version of the program, or are damaged"}
	return s
}

// Add writes runs that have ended, those that are there already left out, in one commit. It fails with lake.ErrMoved or
// lake.ErrFenced where somebody else wrote meanwhile: then nothing was added.
func (h *History) Add(ctx context.Context, epoch uint64, states []*State) error {
	if _, err := h.Lake.EnsureTable(ctx, pipeline.RunsTable, lakeSchema(opsRuns().Columns, opsRuns().Partition)); err != nil {
		return err
	}
	h.writing.Lock()
	defer h.writing.Unlock()
	// Before a file is written: see lake.RemoveOrphans.
	if err := h.Lake.Fence(ctx, pipeline.RunsTable, epoch); err != nil {
		return err
	}
	byMonth, t, err := h.months(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, s := range states {
		ids = append(ids, s.RunID)
	}
	known, err := h.has(ctx, byMonth, ids)
	if err != nil {
		return err
	}
	changes := map[string]*monthChange{}
	for _, s := range states {
		resumed, there := known[s.RunID]
		if there && resumed >= int64(s.Life) {
			continue
		}
		change := changes[monthOf(s.RunID)]
		if change == nil {
			change = &monthChange{}
			changes[monthOf(s.RunID)] = change
		}
		row, err := historyRow(s)
		if err != nil {
			return err
		}
		change.rows = append(change.rows, row)
		if there {
			change.replaced = append(change.replaced, text(s.RunID))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	commit := lake.Commit{Table: t.Name, Base: t.SnapshotID, CheckBase: true, Epoch: epoch, Token: "runs/" + ulid.Make().String()}
	for month, change := range changes {
		if len(change.replaced) == 0 {
			continue
		}
		change.files = byMonth[month]
		for _, f := range change.files {
			commit.Remove = append(commit.Remove, f.Path)
		}
	}
	if commit.Add, err = h.stage(ctx, t, changes); err != nil {
		return err
	}
	_, err = h.Lake.Commit(ctx, commit)
	return err
}

// monthChange is what becomes of a month of ops.runs.
type monthChange struct {
	// rows are added, as SQL.
	rows []string
	// replaced are the ids of rows that give way to some of these, as SQL, and files those of the month that are then written anew.
	replaced []string
	files    []lake.File
}

// query gives the rows of the file that is written.
func (c *monthChange) query() string {
	var names []string
	for _, column := range opsRuns().Columns {
		names = append(names, column.Name)
	}
	list := strings.Join(names, ", ")
	added := "SELECT * FROM (VALUES\n" + strings.Join(c.rows, ",\n") + ") AS runs(" + list + ")"
	if len(c.replaced) > 0 {
		added = "SELECT " + list + " FROM ops.runs WHERE run_id NOT IN (" + strings.Join(c.replaced, ", ") + ") UNION ALL " + added
	}
	return "SELECT * FROM (" + added + ") ORDER BY run_id"
}

// stage writes a file for each month that changes.
func (h *History) stage(ctx context.Context, t *lake.Table, changes map[string]*monthChange) ([]lake.Staged, error) {
	folder := h.Lake.Staging(t.Name, "history", ulid.Make().String())
	options := h.Engine
	options.WritePaths = append(slices.Clone(options.WritePaths), folder)
	session, err := engine.Open(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("open the engine: %w", err)
	}
	defer session.Close()
	schema := lake.Schema{Partition: t.Partition}
	var columns []engine.Column
	for _, wanted := range opsRuns().Columns {
		c := t.Columns[slices.IndexFunc(t.Columns, func(c lake.Column) bool { return c.Name == wanted.Name })]
		schema.Columns = append(schema.Columns, c)
		columns = append(columns, engine.Column{Name: c.Name, Type: c.Type, ID: c.ID, Required: c.Required})
	}
	var staged []lake.Staged
	for month, change := range changes {
		present := view(t.Name, opsRuns().Columns, change.files)
		if err := session.Table(ctx, present.name, present.columns, present.files, ""); err != nil {
			return nil, err
		}
		path := folder + "/" + month + ".parquet"
		if _, err := session.Export(ctx, change.query(), path, columns); err != nil {
			return nil, err
		}
		s, err := h.Lake.Describe(ctx, path, schema, month)
		if err != nil {
			return nil, err
		}
		staged = append(staged, s)
	}
	return staged, nil
}

// historyRow is a run's row of ops.runs, as SQL.
func historyRow(s *State) (string, error) {
	details, err := encodeCheckpoint(s)
	if err != nil {
		return "", err
	}
	run := s.Run()
	failure := s.Failure
	if failure == nil {
		failure = &Failure{}
	}
	class := ""
	if s.Failure != nil {
		class = strings.TrimPrefix(shoplakev1.ErrorClass(failure.Class).String(), "ERROR_CLASS_")
	}
	values := map[string]string{
		"run_id": text(s.RunID), "created_on": "DATE " + text(dayOf(s.RunID).Format(time.DateOnly)), "flow": text(s.Submitted.GetFlow()),
		"trigger": text(strings.TrimPrefix(s.Submitted.GetTrigger(), "TRIGGER_")), "state": text(strings.TrimPrefix(s.Phase.String(), "RUN_STATE_")),
		"dry_run": fmt.Sprint(s.Dry()), "full_refresh": fmt.Sprint(s.Submitted.GetFullRefresh()),
		"start_date": orNull(s.Submitted.GetStartDate()), "end_date": orNull(s.Submitted.GetEndDate()), "pipeline": text(s.Submitted.GetPipelineDigest()),
		"created_at": instant(s.Created), "started_at": instant(s.Started), "ended_at": instant(s.Ended),
		"published_version": fmt.Sprintf("nullif(%d, 0)", s.PublishedVersion), "stages": fmt.Sprint(run.GetCounts().GetStages()), "tasks": fmt.Sprint(run.GetCounts().GetTasks()),
		"rows_read": fmt.Sprint(run.GetCounts().GetRowsRead()), "rows_bronze": fmt.Sprint(run.GetCounts().GetRowsBronze()), "rows_quarantined": fmt.Sprint(run.GetCounts().GetRowsQuarantined()),
		"error_class": orNull(class), "error_stage": orNull(failure.Stage), "error_message": orNull(failure.Message), "trace_id": text(s.Submitted.GetTraceId()), "resumed": fmt.Sprint(s.Life),
		"details": "from_base64(" + text(base64.StdEncoding.EncodeToString(details)) + ")",
	}
	var row []string
	for _, c := range opsRuns().Columns {
		row = append(row, values[c.Name])
	}
	return "(" + strings.Join(row, ", ") + ")", nil
}

func text(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", "\uFFFD"), "'", "''") + "'"
}

func orNull(s string) string {
	if s == "" {
		return "NULL"
	}
	return text(s)
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "NULL"
	}
	return "TIMESTAMP WITH TIME ZONE " + text(t.UTC().Format("2006-01-02 15:04:05.999999+00"))
}
