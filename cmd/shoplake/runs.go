package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newRuns() *cobra.Command {
	return parent("runs", "List, show, watch, cancel and resume runs", newRunsList(), newRunsGet(), newRunsWatch(), newRunsLogs(), newRunsCancel(), newRunsResume())
}

func newRunsList() *cobra.Command {
	var (
		conn   connection
		out    format
		limit  int
		filter string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, the newest first",
		Example: `  shoplake runs list
  shoplake runs list --filter 'state = FAILED' -o json
  shoplake runs list --filter 'dry_run = true'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				all := runGrid()
				err := pages(limit, func(token string, size int32) (string, int, error) {
					resp, err := c.Runs.ListRuns(ctx, &shoplakev1.ListRunsRequest{PageSize: size, PageToken: token, Filter: filter})
					if err != nil {
						return "", 0, fmt.Errorf("list runs: %w", err)
					}
					all.rows = append(all.rows, runGrid(resp.GetRuns()...).rows...)
					return resp.GetNextPageToken(), len(resp.GetRuns()), nil
				})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), all)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0 for all")
	cmd.Flags().StringVar(&filter, "filter", "", `only these, as in 'state = FAILED AND flow = "flows/daily"'`)
	return cmd
}

func newRunsGet() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "get RUN",
		Short:   "Show a run and its stages",
		Example: "  shoplake runs get 01KAR8W9Q0ZC5R0V9M2J6T4XEB",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := runName(args[0])
			if err != nil {
				return err
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				run, err := c.Runs.GetRun(ctx, &shoplakev1.GetRunRequest{Name: name})
				if err != nil {
					return fmt.Errorf("get %s: %w", name, err)
				}
				stages, err := c.Runs.ListStages(ctx, &shoplakev1.ListStagesRequest{Parent: name})
				if err != nil {
					return fmt.Errorf("list the stages of %s: %w", name, err)
				}
				return printRun(cmd.OutOrStdout(), &out, run, stages.GetStages())
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func newRunsWatch() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:   "watch RUN",
		Short: "Follow a run until it has ended; the status is 0 only if it succeeded",
		Long: `Follow a run until it has ended. The status is 0 only if it succeeded.

On a terminal the run's stages are drawn as a tree, each below the one that it waits for, with its state, how many of its tasks
are done, how long they waited for a worker (queued) and worked (running), summed over the tasks, and why attempts failed. Elsewhere each
change is a line. In the end the run is printed as "shoplake runs get" does it.

With -o json each change is one JSON object in one line: event is run, stage, attempt (one that failed), notice or connection_lost; the
other fields are those of "shoplake runs get -o json". The last line is the run as it ended, with its stages.`,
		Example: `  shoplake runs watch 01KAR8W9Q0ZC5R0V9M2J6T4XEB
  shoplake runs watch 01KAR8W9Q0ZC5R0V9M2J6T4XEB -o json | jq 'select(.event == "attempt")'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := runName(args[0])
			if err != nil {
				return err
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				if out.value == "json" {
					view := &events{w: cmd.OutOrStdout(), clock: time.Now}
					_, _, err := follow(ctx, cmd, c, name, view)
					return errors.Join(err, view.err)
				}
				return waitAndPrint(ctx, cmd, c, &out, name)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

// runName takes a run's id with or without the collection before it.
func runName(s string) (string, error) { return nameOf("run", s) }

// nameOf is the name of a run or a backfill, of which the id is enough.
func nameOf(what, s string) (string, error) {
	id, err := ulid.ParseStrict(strings.ToUpper(strings.TrimPrefix(s, what+"s/")))
	if err != nil {
		verb := map[string]string{"run": "runs", "backfill": "backfill"}[what]
		return "", fmt.Errorf("%q is not the id of a %s, which has 26 letters and digits; the list is: shoplake %s list", s, what, verb)
	}
	return what + "s/" + id.String(), nil
}

// runGrid is one row a run.
func runGrid(runs ...*shoplakev1.Run) *grid {
	g := &grid{columns: columns("run", "flow", "state", "trigger", "create_time", "start_time", "end_time", "duration_seconds", "stages_done", "stages_total",
		"rows_read", "rows_bronze", "rows_quarantined", "published_version", "start_date", "end_date", "full_refresh", "pipeline", "trace_id",
		"error_class", "error_stage", "error", "notices")}
	for i, c := range g.columns {
		switch c.name {
		case "start_time", "end_time", "published_version", "start_date", "end_date", "full_refresh", "pipeline", "trace_id",
			"error_class", "error_stage", "notices":
			g.columns[i].only = "json,csv"
		case "error":
			g.columns[i].sparse = true
		}
	}
	for _, r := range runs {
		n, e := r.GetCounts(), r.GetError()
		g.add(id(r.GetName()), id(r.GetFlow()), runState(r.GetState()), word(r.GetTrigger().String(), "TRIGGER_"),
			at(r.GetCreateTime()), at(r.GetStartTime()), at(r.GetEndTime()), took(r.GetStartTime(), r.GetEndTime()),
			int64(n.GetStagesDone()), int64(n.GetStages()), n.GetRowsRead(), n.GetRowsBronze(), n.GetRowsQuarantined(), r.GetPublishedVersion(),
			nonEmpty(r.GetStartDate()), nonEmpty(r.GetEndDate()), r.GetFullRefresh(), nonEmpty(id(r.GetPipeline())), nonEmpty(r.GetTraceId()),
			nonEmpty(word(e.GetClass().String(), "ERROR_CLASS_")), nonEmpty(e.GetStage()), nonEmpty(e.GetMessage()), r.GetNotices())
	}
	return g
}

// stageGrid is one row a stage.
func stageGrid(stages []*shoplakev1.Stage) *grid {
	g := &grid{columns: columns("stage", "state", "partitions", "rows_in", "rows_out", "rows_quarantined", "bytes_out:bytes", "tasks_done", "tasks",
		"attempts", "files_compacted", "snapshots_expired", "orphans_removed", "bytes_removed:bytes", "queued_seconds", "running_seconds", "start_time", "end_time", "snapshot_id", "depends_on", "reason", "error",
		"failed_attempts")}
	for i, c := range g.columns {
		switch c.name {
		case "failed_attempts":
			g.columns[i].only = "json"
		case "tasks_done", "start_time", "end_time", "snapshot_id", "depends_on":
			g.columns[i].only = "json,csv"
		case "rows_quarantined", "files_compacted", "snapshots_expired", "orphans_removed", "bytes_removed", "reason", "error":
			g.columns[i].sparse = true
		}
	}
	for _, s := range stages {
		var snapshot any
		if s.GetSnapshotId() != 0 {
			snapshot = s.GetSnapshotId()
		}
		compacted, expired, orphans, removed := maintained(s.GetMaintenance())
		g.add(s.GetTable(), stageState(s.GetState()), s.GetPartitions(), s.GetRowsIn(), s.GetRowsOut(), s.GetRowsQuarantined(), s.GetBytesOut(),
			int64(s.GetTasksDone()), int64(s.GetTasks()), int64(s.GetAttempts()), compacted, expired, orphans, removed, s.GetQueued().AsDuration(), s.GetRunning().AsDuration(),
			at(s.GetStartTime()), at(s.GetEndTime()), snapshot, s.GetDependsOn(), nonEmpty(s.GetReason()), nonEmpty(s.GetError().GetMessage()),
			attemptGrid(s.GetTable(), s.GetFailedAttempts()...))
	}
	return g
}

// attemptGrid is one row an attempt that failed.
func attemptGrid(stage string, attempts ...*shoplakev1.Attempt) *grid {
	g := &grid{columns: columns("stage", "task", "worker", "release", "start_time", "end_time", "duration_seconds", "class", "cause")}
	for i, c := range g.columns {
		switch c.name {
		case "release", "end_time":
			g.columns[i].only = "json"
		case "cause":
			g.columns[i].wide = true
		}
	}
	for _, a := range attempts {
		g.add(stage, a.GetTask(), a.GetWorker(), int64(a.GetRelease()), at(a.GetStartTime()), at(a.GetEndTime()), took(a.GetStartTime(), a.GetEndTime()),
			word(a.GetError().GetClass().String(), "ERROR_CLASS_"), a.GetError().GetMessage())
	}
	return g
}

// printFailures shows why attempts failed, also of stages that went well in the end.
func printFailures(w io.Writer, out *format, run *shoplakev1.Run, stages []*shoplakev1.Stage) error {
	all, more := attemptGrid(""), int32(0)
	for _, s := range stages {
		all.rows = append(all.rows, attemptGrid(s.GetTable(), s.GetFailedAttempts()...).rows...)
		more += s.GetFailedAttemptsTotal() - int32(len(s.GetFailedAttempts()))
	}
	if len(all.rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, "\nAttempts that failed:"); err != nil {
		return err
	}
	if err := out.print(w, all); err != nil || more == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "%s more failed before: shoplake runs logs %s --level warn\n", plural(int64(more), "attempt"), id(run.GetName()))
	return err
}

// maintained is what maintenance did, null where the stage was of none.
func maintained(m *shoplakev1.StageMaintenance) (compacted, expired, orphans, removed any) {
	if m == nil {
		return nil, nil, nil, nil
	}
	return m.GetFilesCompacted(), m.GetSnapshotsExpired(), m.GetOrphansRemoved(), m.GetBytesRemoved()
}

// printRun shows a run with its stages: JSON as one object that holds them, CSV as the stages.
func printRun(w io.Writer, out *format, run *shoplakev1.Run, stages []*shoplakev1.Stage) error {
	switch out.value {
	case "json":
		g := runGrid(run)
		g.columns = append(g.columns, column{name: "stages"})
		g.rows[0] = append(g.rows[0], stageGrid(stages))
		return out.print(w, g)
	case "csv":
		return out.print(w, stageGrid(stages))
	}
	n := run.GetCounts()
	head := fmt.Sprintf("%s  %s  %s", run.GetName(), run.GetFlow(), runState(run.GetState()))
	if d, ok := took(run.GetStartTime(), run.GetEndTime()).(time.Duration); ok {
		head += "  " + duration(d)
	}
	if run.GetTraceId() != "" {
		head += "  trace " + run.GetTraceId()
	}
	if _, err := fmt.Fprintln(w, head); err != nil {
		return err
	}
	if len(stages) > 0 {
		if err := out.print(w, stageGrid(stages)); err != nil {
			return err
		}
		if err := printFailures(w, out, run, stages); err != nil {
			return err
		}
	}
	if n.GetRowsRead() > 0 {
		if _, err := fmt.Fprintf(w, "Rows read %d = bronze %d + quarantine %d\n", n.GetRowsRead(), n.GetRowsBronze(), n.GetRowsQuarantined()); err != nil {
			return err
		}
	}
	if msg := run.GetError().GetMessage(); msg != "" {
		if _, err := fmt.Fprintf(w, "%s (%s) %s\n", word(run.GetError().GetClass().String(), "ERROR_CLASS_"), run.GetError().GetStage(), msg); err != nil {
			return err
		}
	}
	return printNotices(w, out, run)
}

func runState(s shoplakev1.RunState) string     { return word(s.String(), "RUN_STATE_") }
func stageState(s shoplakev1.StageState) string { return word(s.String(), "STAGE_STATE_") }

// word is an enum's name without its prefix; empty for the zero value.
func word(name, prefix string) string {
	w := strings.TrimPrefix(name, prefix)
	if w == "UNSPECIFIED" {
		return ""
	}
	return w
}

// at is a time, or null where it is not set.
func at(t *timestamppb.Timestamp) any {
	if t == nil {
		return nil
	}
	return t.AsTime()
}

// took is the time between two instants, or null where one is missing.
func took(from, to *timestamppb.Timestamp) any {
	if from == nil || to == nil {
		return nil
	}
	return to.AsTime().Sub(from.AsTime())
}

// pages calls fetch until there is no further page or limit items (0 for all) have come.
func pages(limit int, fetch func(token string, size int32) (next string, n int, err error)) error {
	const largest = 1000
	token, got := "", 0
	for {
		size := largest
		if limit > 0 {
			size = min(size, limit-got)
		}
		next, n, err := fetch(token, int32(size))
		if err != nil {
			return err
		}
		got += n
		if next == "" || (limit > 0 && got >= limit) {
			return nil
		}
		token = next
	}
}
