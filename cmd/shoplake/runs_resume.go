package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// runsVerb is something that is done to runs, by their ids or by a filter.
type runsVerb struct {
	verb, done, short, long, example string
	one                              func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Run, error)
	all                              func(ctx context.Context, c *client.Client, filter string, dry bool) ([]*shoplakev1.Run, []*shoplakev1.RefusedRun, error)
}

func newRunsCancel() *cobra.Command {
	return runsVerb{
		verb: "cancel", done: "cancelled",
		short: "Stop runs; what they have not committed leaves no trace",
		long:  "Stop runs, within about two seconds. What they have not committed leaves no trace; `shoplake runs resume` does what is left.",
		example: `  shoplake runs cancel 01KAR8W9Q0ZC5R0V9M2J6T4XEB
  shoplake runs cancel --filter 'trigger = BACKFILL' --dry-run`,
		one: func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Run, error) {
			return c.Runs.CancelRun(ctx, &shoplakev1.CancelRunRequest{Name: name})
		},
		all: func(ctx context.Context, c *client.Client, filter string, dry bool) ([]*shoplakev1.Run, []*shoplakev1.RefusedRun, error) {
			r, err := c.Runs.CancelRuns(ctx, &shoplakev1.CancelRunsRequest{Filter: filter, ValidateOnly: dry})
			return r.GetRuns(), r.GetRefused(), err
		},
	}.command()
}

func newRunsResume() *cobra.Command {
	return runsVerb{
		verb: "resume", done: "resumed",
		short: "Let runs that failed or were cancelled go on",
		long: "Let runs that failed or were cancelled go on: they do what failed and what depends on it, on the inputs that they had pinned. " +
			"Where another run has changed their tables since that is refused: `shoplake run` then builds just what is stale.",
		example: `  shoplake runs resume 01KAR8W9Q0ZC5R0V9M2J6T4XEB
  shoplake runs resume --filter 'state = FAILED AND flow = "flows/daily"' --dry-run`,
		one: func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Run, error) {
			return c.Runs.ResumeRun(ctx, &shoplakev1.ResumeRunRequest{Name: name})
		},
		all: func(ctx context.Context, c *client.Client, filter string, dry bool) ([]*shoplakev1.Run, []*shoplakev1.RefusedRun, error) {
			r, err := c.Runs.ResumeRuns(ctx, &shoplakev1.ResumeRunsRequest{Filter: filter, ValidateOnly: dry})
			return r.GetRuns(), r.GetRefused(), err
		},
	}.command()
}

func (v runsVerb) command() *cobra.Command {
	var (
		conn   connection
		out    format
		filter string
		dry    bool
	)
	cmd := &cobra.Command{
		Use: v.verb + " RUN...", Short: v.short, Long: v.long, Example: v.example,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case filter == "" && len(args) == 0:
				return fmt.Errorf("name runs, or pick them by --filter; the list is: shoplake runs list")
			case filter != "" && len(args) > 0:
				return errors.New("name runs or pick them by --filter, not both")
			case filter == "" && dry:
				return errors.New("--dry-run is for --filter: it says which runs the filter picks")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				runs, refused, err := v.do(ctx, c, args, filter, dry)
				if err != nil && len(runs)+len(refused) == 0 {
					return err
				}
				if err := errors.Join(out.print(cmd.OutOrStdout(), runGrid(runs...)), v.printRefused(cmd, refused)); err != nil {
					return err
				}
				if err != nil {
					return err
				}
				if len(refused) > 0 && !dry {
					return fmt.Errorf("%d of %d runs could not be %s", len(refused), len(runs)+len(refused), v.done)
				}
				return nil
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&filter, "filter", "", `all of these, as in 'flow = "flows/daily" AND trigger = BACKFILL'`)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say which runs the filter picks")
	return cmd
}

func (v runsVerb) printRefused(cmd *cobra.Command, refused []*shoplakev1.RefusedRun) error {
	for _, r := range refused {
		state := ""
		if r.GetState() != shoplakev1.RunState_RUN_STATE_UNSPECIFIED {
			state = " (" + runState(r.GetState()) + ")"
		}
		if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s%s can't be %s: %s\n", r.GetRun(), state, v.done, r.GetReason()); err != nil {
			return err
		}
	}
	return nil
}

func (v runsVerb) do(ctx context.Context, c *client.Client, ids []string, filter string, dry bool) (runs []*shoplakev1.Run, refused []*shoplakev1.RefusedRun, err error) {
	if filter != "" {
		if runs, refused, err = v.all(ctx, c, filter, dry); err != nil {
			return nil, nil, fmt.Errorf("%s runs: %w", v.verb, err)
		}
		return runs, refused, nil
	}
	names := make([]string, 0, len(ids))
	for _, arg := range ids {
		name, err := runName(arg)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, name)
	}
	for _, name := range names {
		run, err := v.one(ctx, c, name)
		switch code := status.Code(err); {
		case err == nil:
			runs = append(runs, run)
		case len(names) > 1 && (code == codes.NotFound || code == codes.FailedPrecondition): // the others are done all the same
			refused = append(refused, &shoplakev1.RefusedRun{Run: name, Reason: status.Convert(err).Message()})
		default:
			return runs, refused, fmt.Errorf("%s %s: %w", v.verb, name, err)
		}
	}
	return runs, refused, nil
}
