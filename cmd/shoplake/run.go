package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// readingNote is after how long a dry run says that it reads files.
const readingNote = 2 * time.Second

func newRun() *cobra.Command {
	var (
		conn        connection
		out         format
		days        span
		wait        bool
		full, dry   bool
		requestID   string
		description = `Run a flow of the active pipeline: read new and changed files, build what is stale, and publish it.

Without --wait the run's name is printed at once and the run goes on in the server. With --wait the command shows the
stages as they go and ends when the run has; its status is 0 only if the run succeeded.

With --dry-run nothing is written: workers read the files that are new, and the command prints each partition that would be
built, and why: which input changed, by which file.`
	)
	cmd := &cobra.Command{
		Use:   "run FLOW",
		Short: "Run a flow: build what is stale and publish it",
		Long:  description,
		Example: `  shoplake run daily --wait
  shoplake run daily --wait --from 2026-01-01 --to 2026-02-01
  shoplake run daily --dry-run
  shoplake run daily --wait --full-refresh -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := days.check(); err != nil {
				return err
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				if dry {
					// Reading much takes a while, and nothing else is to be seen of it.
					reading := time.AfterFunc(readingNote, func() {
						fmt.Fprintln(cmd.ErrOrStderr(), "Reading the files that are new, to see what they touch. Nothing is written; stop it with Ctrl-C.")
					})
					defer reading.Stop()
				}
				run, err := c.Submit(ctx, args[0], client.SubmitOptions{
					From: days.from.Date, To: days.to.Date, FullRefresh: full, ValidateOnly: dry, RequestID: requestID,
				})
				if err != nil {
					return err
				}
				switch {
				case dry:
					return printPlan(cmd.OutOrStdout(), &out, run)
				case !wait:
					return printSubmitted(cmd, &out, run)
				default:
					return waitAndPrint(ctx, cmd, c, &out, run.GetName())
				}
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	days.flags(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "show progress and wait until the run has ended")
	cmd.Flags().BoolVar(&full, "full-refresh", false, "read every file again and build every table whole")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print what would be built and why")
	cmd.Flags().StringVar(&requestID, "request-id", "", "UUID; the same one again is the same run (default: a new one)")
	cmd.MarkFlagsMutuallyExclusive("wait", "dry-run")
	return cmd
}

func printSubmitted(cmd *cobra.Command, out *format, run *shoplakev1.Run) error {
	if out.value != "table" {
		return out.print(cmd.OutOrStdout(), runGrid(run))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", run.GetName())
	fmt.Fprintf(cmd.ErrOrStderr(), "Watch it with: shoplake runs watch %s\n", id(run.GetName()))
	return err
}

// waitAndPrint follows a run on stderr and prints its stages on stdout when it has ended.
func waitAndPrint(ctx context.Context, cmd *cobra.Command, c *client.Client, out *format, name string) error {
	view := newProgress(cmd.ErrOrStderr())
	run, stages, err := follow(ctx, cmd, c, name, view)
	// What is drawn would stand right above the table that says the same.
	view.close(run != nil && isTerminal(cmd.OutOrStdout()))
	if run == nil {
		return err
	}
	return errors.Join(err, printRun(cmd.OutOrStdout(), out, run, stages))
}

// follow shows a run until it has ended and returns it, and its stages. The run is nil where the command ends before it; the error
// tells why it did not succeed.
func follow(ctx context.Context, cmd *cobra.Command, c *client.Client, name string, view progress) (*shoplakev1.Run, []*shoplakev1.Stage, error) {
	// A run without workers would just stand there: the reason belongs before the progress.
	if h, err := c.Health.GetHealth(ctx, &shoplakev1.GetHealthRequest{}); err == nil && h.GetWorkers() == 0 {
		for _, reason := range h.GetReasons() {
			fmt.Fprintf(cmd.ErrOrStderr(), "Note: %s\n", reason)
		}
	}
	var stages []*shoplakev1.Stage
	run, err := c.WaitRun(ctx, name, func(u client.Update) {
		stages = u.Stages
		view.update(u)
	})
	var failed *client.RunFailedError
	switch {
	case err == nil, errors.As(err, &failed):
		return run, stages, err
	case ctx.Err() != nil:
		fmt.Fprintf(cmd.ErrOrStderr(), "The run goes on. Watch it with: shoplake runs watch %s. Stop it with: shoplake runs cancel %s\n", id(name), id(name))
		return nil, nil, silentError{}
	default:
		return nil, nil, err
	}
}

func printNotices(w io.Writer, out *format, run *shoplakev1.Run) error {
	if out.value != "table" {
		return nil
	}
	for _, n := range run.GetNotices() {
		if _, err := fmt.Fprintf(w, "Note: %s\n", n); err != nil {
			return err
		}
	}
	return nil
}

// nonEmpty is null for the empty string: what is not set is null in JSON.
func nonEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}
