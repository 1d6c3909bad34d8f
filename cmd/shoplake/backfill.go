package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newBackfill() *cobra.Command {
	type byName func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Backfill, error)
	verb := func(use, short string, f byName) *cobra.Command {
		return newBackfillVerb(use, short, func(ctx context.Context, _ *cobra.Command, c *client.Client, name string) (*shoplakev1.Backfill, error) {
			return f(ctx, c, name)
		})
	}
	return parent("backfill", "Build partitions of past days again, behind whatever is more urgent", newBackfillCreate(), newBackfillList(),
		verb("get", "Show a backfill and its intervals", func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Backfill, error) {
			return c.Backfills.GetBackfill(ctx, &shoplakev1.GetBackfillRequest{Name: name})
		}),
		newBackfillVerb("watch", "Follow a backfill until it has ended; the status is 0 only if it succeeded", watchBackfill),
		verb("pause", "Start no more intervals; the run that is under way ends", func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Backfill, error) {
			return c.Backfills.PauseBackfill(ctx, &shoplakev1.PauseBackfillRequest{Name: name})
		}),
		verb("resume", "Go on with a backfill that is paused, failed or was cancelled", func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Backfill, error) {
			return c.Backfills.ResumeBackfill(ctx, &shoplakev1.ResumeBackfillRequest{Name: name})
		}),
		verb("cancel", "Cancel the run that is under way, and start no more; what was built stays", func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Backfill, error) {
			return c.Backfills.CancelBackfill(ctx, &shoplakev1.CancelBackfillRequest{Name: name})
		}))
}

func newBackfillCreate() *cobra.Command {
	var (
		conn      connection
		out       format
		days      span
		dry       bool
		size      int32
		onFailure string
		requestID string
	)
	cmd := &cobra.Command{
		Use:   "create FLOW --from DAY --to DAY",
		Short: "Build every partition within some days again, stale or not",
		Long: `Build every partition of a flow's tables within some days again, stale or not, the oldest first. Each interval is a run of its
own, in the background: whatever is more urgent goes before, between two of its stages.

With --dry-run nothing is built: each partition is printed that would be, in the order of building, and why.`,
		Example: `  shoplake backfill create daily --from 2026-01-01 --to 2026-04-01 --dry-run
  shoplake backfill create daily --from 2026-01-01 --to 2026-04-01 --on-failure continue`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := days.check(); err != nil {
				return err
			}
			if days.from.String() == "" || days.to.String() == "" {
				return usageError{errors.New("a backfill needs --from and --to")}
			}
			policy, ok := map[string]shoplakev1.OnFailure{"stop": shoplakev1.OnFailure_ON_FAILURE_STOP, "continue": shoplakev1.OnFailure_ON_FAILURE_CONTINUE}[onFailure]
			if !ok {
				return usageError{fmt.Errorf("--on-failure is stop or continue, not %q", onFailure)}
			}
			if requestID == "" {
				requestID = uuid.NewString()
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				b, err := c.Backfills.CreateBackfill(ctx, &shoplakev1.CreateBackfillRequest{Flow: "flows/" + id(args[0]), StartDate: days.from.String(), EndDate: days.to.String(),
					OnFailure: policy, IntervalSize: size, ValidateOnly: dry, RequestId: requestID})
				if err != nil {
					return fmt.Errorf("create a backfill of %s: %w", args[0], err)
				}
				if dry {
					return printBackfillPlan(cmd, &out, b)
				}
				if out.value != "table" {
					return out.print(cmd.OutOrStdout(), backfillGrid(b))
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), b.GetName())
				fmt.Fprintf(cmd.ErrOrStderr(), "%s of %s in %s.\nWatch it with:  shoplake backfill watch %[4]s\nShould it stop: shoplake backfill resume %[4]s\n", plural(b.GetPartitionsTotal(), "partition"),
					id(b.GetFlow()), plural(int64(b.GetIntervalsTotal()), "interval"), id(b.GetName()))
				return err
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	days.flags(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print what would be built, in which order, and why")
	cmd.Flags().Int32Var(&size, "interval-size", 0, "months a run builds, or days where no table is partitioned by month (default: as many as the workers have slots)")
	cmd.Flags().StringVar(&onFailure, "on-failure", "stop", "stop at an interval that fails, or continue with the next")
	cmd.Flags().StringVar(&requestID, "request-id", "", "UUID; the same one again is the same backfill (default: a new one)")
	return cmd
}

func newBackfillList() *cobra.Command {
	var (
		conn  connection
		out   format
		limit int
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List backfills, the newest first",
		Example: "  shoplake backfill list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				all := backfillGrid()
				err := pages(limit, func(token string, size int32) (string, int, error) {
					resp, err := c.Backfills.ListBackfills(ctx, &shoplakev1.ListBackfillsRequest{PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list backfills: %w", err)
					}
					all.rows = append(all.rows, backfillGrid(resp.GetBackfills()...).rows...)
					return resp.GetNextPageToken(), len(resp.GetBackfills()), nil
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
	return cmd
}

func newBackfillVerb(verb, short string, f func(context.Context, *cobra.Command, *client.Client, string) (*shoplakev1.Backfill, error)) *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     verb + " BACKFILL",
		Short:   short,
		Example: "  shoplake backfill " + verb + " 01KAR8W9Q0ZC5R0V9M2J6T4XEB",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := nameOf("backfill", args[0])
			if err != nil {
				return err
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				b, err := f(ctx, cmd, c, name)
				if err != nil {
					return fmt.Errorf("%s backfill %s: %w", verb, id(name), err)
				}
				return errors.Join(printBackfill(cmd, &out, b), endOfBackfill(verb, b))
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

// endOfBackfill is the error of one that was watched and did not succeed.
func endOfBackfill(verb string, b *shoplakev1.Backfill) error {
	if verb != "watch" || b.GetState() == shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED {
		return nil
	}
	return fmt.Errorf("backfill %s is %s: shoplake backfill resume %[1]s lets it go on", id(b.GetName()), backfillState(b))
}

// watchPause is how often a backfill that is watched is asked after while no run of it is under way.
const watchPause = 500 * time.Millisecond

// watchBackfill follows one run of a backfill after the other until it has ended or was paused.
func watchBackfill(ctx context.Context, cmd *cobra.Command, c *client.Client, name string) (*shoplakev1.Backfill, error) {
	said := ""
	look := func() (*shoplakev1.Backfill, error) {
		b, err := c.Backfills.GetBackfill(ctx, &shoplakev1.GetBackfillRequest{Name: name})
		if err != nil {
			return nil, err
		}
		line := fmt.Sprintf("%s: %d of %d intervals, %d of %d partitions", backfillState(b), b.GetIntervalsDone(), b.GetIntervalsTotal(), b.GetPartitionsDone(), b.GetPartitionsTotal())
		if line != said {
			fmt.Fprintln(cmd.ErrOrStderr(), line)
			said = line
		}
		return b, nil
	}
	for {
		b, err := look()
		if err != nil {
			return nil, err
		}
		run := ""
		for _, v := range b.GetIntervals() {
			if v.GetState() == shoplakev1.BackfillIntervalState_BACKFILL_INTERVAL_STATE_RUNNING {
				run = v.GetRun()
			}
		}
		switch b.GetState() {
		case shoplakev1.BackfillState_BACKFILL_STATE_RUNNING, shoplakev1.BackfillState_BACKFILL_STATE_CANCELLING:
		default:
			if run == "" {
				return b, nil
			}
		}
		if run != "" {
			// Where the server does not answer just now, WaitRun goes on trying, and the next look tells.
			if err := watchInterval(ctx, c, run, func() { _, _ = look() }); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(watchPause):
		}
	}
}

// watchInterval follows the run of an interval to its end, and calls moved when a stage of it has ended.
func watchInterval(ctx context.Context, c *client.Client, run string, moved func()) error {
	ended := 0
	_, err := c.WaitRun(ctx, run, func(u client.Update) {
		now := 0
		for _, s := range u.Stages {
			if stageEnded(s.GetState()) {
				now++
			}
		}
		if now > ended {
			ended = now
			moved()
		}
	})
	var failed *client.RunFailedError
	if errors.As(err, &failed) {
		return nil
	}
	return err
}

func backfillState(b *shoplakev1.Backfill) string {
	return word(b.GetState().String(), "BACKFILL_STATE_")
}

// backfillGrid is one row a backfill.
func backfillGrid(all ...*shoplakev1.Backfill) *grid {
	g := &grid{columns: columns("backfill", "flow", "state", "start_date", "end_date", "on_failure", "intervals_done", "intervals_total", "intervals_failed",
		"partitions_done", "partitions_total", "create_time", "end_time", "notices")}
	for i, c := range g.columns {
		switch c.name {
		case "on_failure", "end_time", "notices":
			g.columns[i].only = "json,csv"
		case "intervals_failed":
			g.columns[i].sparse = true
		}
	}
	for _, b := range all {
		g.add(nonEmpty(id(b.GetName())), id(b.GetFlow()), backfillState(b), b.GetStartDate(), b.GetEndDate(), word(b.GetOnFailure().String(), "ON_FAILURE_"),
			int64(b.GetIntervalsDone()), int64(b.GetIntervalsTotal()), int64(b.GetIntervalsFailed()), b.GetPartitionsDone(), b.GetPartitionsTotal(),
			at(b.GetCreateTime()), at(b.GetEndTime()), b.GetNotices())
	}
	return g
}

// intervalGrid is one row an interval.
func intervalGrid(b *shoplakev1.Backfill) *grid {
	g := &grid{columns: columns("start_date", "end_date", "state", "partitions_done", "partitions_total", "attempts", "run", "error")}
	g.columns[len(g.columns)-1].sparse = true
	for _, v := range b.GetIntervals() {
		g.add(v.GetStartDate(), v.GetEndDate(), word(v.GetState().String(), "BACKFILL_INTERVAL_STATE_"), v.GetPartitionsDone(), v.GetPartitionsTotal(),
			int64(v.GetAttempts()), nonEmpty(id(v.GetRun())), nonEmpty(v.GetError()))
	}
	return g
}

// printBackfill shows a backfill and its intervals: JSON as one object that holds them, CSV as the intervals.
func printBackfill(cmd *cobra.Command, out *format, b *shoplakev1.Backfill) error {
	w := cmd.OutOrStdout()
	switch out.value {
	case "json":
		g := backfillGrid(b)
		g.columns = append(g.columns, column{name: "intervals"})
		g.rows[0] = append(g.rows[0], intervalGrid(b))
		return out.print(w, g)
	case "csv":
		return out.print(w, intervalGrid(b))
	}
	if _, err := fmt.Fprintf(w, "%s  %s  %s  %d of %d partitions\n", b.GetName(), b.GetFlow(), backfillState(b), b.GetPartitionsDone(), b.GetPartitionsTotal()); err != nil {
		return err
	}
	return errors.Join(out.print(w, intervalGrid(b)), printBackfillNotices(cmd, b))
}

func printBackfillNotices(cmd *cobra.Command, b *shoplakev1.Backfill) error {
	for _, n := range b.GetNotices() {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), n); err != nil {
			return err
		}
	}
	return nil
}

// printBackfillPlan shows what would be built: one row a partition, in the order of building.
func printBackfillPlan(cmd *cobra.Command, out *format, b *shoplakev1.Backfill) error {
	g := &grid{columns: []column{{name: "interval", once: true}, {name: "table", once: true}, {name: "partition"}, {name: "why", wide: true}}}
	for _, v := range b.GetIntervals() {
		name := v.GetStartDate() + " to " + v.GetEndDate()
		for _, t := range v.GetTables() {
			for _, p := range t.GetPartitions() {
				g.add(name, t.GetTable(), p.GetPartition(), p.GetReason())
			}
			if t.GetMore() != "" {
				g.add(name, t.GetTable(), "and maybe", t.GetMore())
			}
		}
	}
	if err := out.print(cmd.OutOrStdout(), g); err != nil || out.value != "table" {
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s in %s would be built.\n", plural(b.GetPartitionsTotal(), "partition"), plural(int64(b.GetIntervalsTotal()), "interval")); err != nil {
		return err
	}
	return printBackfillNotices(cmd, b)
}
