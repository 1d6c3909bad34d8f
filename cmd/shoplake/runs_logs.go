package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newRunsLogs() *cobra.Command {
	var (
		conn         connection
		out          format
		stage, level string
		follow       bool
		limit        int
	)
	cmd := &cobra.Command{
		Use:   "logs RUN",
		Short: "Show what the control plane and the workers logged about a run",
		Long: `Show what the control plane and the workers logged about a run, the oldest line first. Lines are kept for 30 days, the latest
5,000 of a run.`,
		Example: `  shoplake runs logs 01KAR8W9Q0ZC5R0V9M2J6T4XEB --stage silver.orders
  shoplake runs logs 01KAR8W9Q0ZC5R0V9M2J6T4XEB --level warn
  shoplake runs logs 01KAR8W9Q0ZC5R0V9M2J6T4XEB --follow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			parent, err := runName(args[0])
			if err != nil {
				return err
			}
			if stage != "" {
				parent += "/stages/" + stage
			}
			value, ok := shoplakev1.LogLevel_value["LOG_LEVEL_"+strings.ToUpper(level)]
			if !ok {
				return usageError{fmt.Errorf("--level %q is not known: use debug, info, warn or error", level)}
			}
			lowest := shoplakev1.LogLevel(value)
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				if follow {
					return followLines(ctx, cmd.OutOrStdout(), c, &out, parent, lowest)
				}
				all := lineGrid()
				err := pages(limit, func(token string, size int32) (string, int, error) {
					resp, err := c.Runs.ListRunLogs(ctx, &shoplakev1.ListRunLogsRequest{Parent: parent, PageSize: size, PageToken: token, MinLevel: lowest})
					if err != nil {
						return "", 0, fmt.Errorf("list the lines of %s: %w", parent, err)
					}
					all.rows = append(all.rows, lineGrid(resp.GetLines()...).rows...)
					return resp.GetNextPageToken(), len(resp.GetLines()), nil
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
	cmd.Flags().StringVar(&stage, "stage", "", "only the lines of this stage (a table), as silver.orders")
	cmd.Flags().StringVar(&level, "level", "debug", "the lowest level to show: debug, info, warn or error")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run has ended")
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most; 0 for all")
	return cmd
}

// followLines prints lines as they come.
func followLines(ctx context.Context, w io.Writer, c *client.Client, out *format, parent string, lowest shoplakev1.LogLevel) error {
	if out.value != "" && out.value != "table" {
		return usageError{errors.New("--follow prints lines as they come: leave --output out")}
	}
	stream, err := c.Runs.WatchRunLogs(ctx, &shoplakev1.WatchRunLogsRequest{Parent: parent, MinLevel: lowest})
	for err == nil {
		var resp *shoplakev1.WatchRunLogsResponse
		if resp, err = stream.Recv(); err == nil {
			_, err = fmt.Fprintln(w, lineText(resp.GetLine()))
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("watch the lines of %s: %w", parent, err)
}

func lineText(l *shoplakev1.LogLine) string {
	parts := []string{l.GetTime().AsTime().Local().Format("15:04:05.000"), fmt.Sprintf("%-5s", logLevel(l))}
	for _, part := range []string{l.GetStage(), l.GetTask(), l.GetWorker()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.TrimSpace(strings.Join(append(parts, l.GetMessage(), attributesOf(l)), "  "))
}

func logLevel(l *shoplakev1.LogLine) string { return word(l.GetLevel().String(), "LOG_LEVEL_") }

// attributesOf are name=value, in the order of the names.
func attributesOf(l *shoplakev1.LogLine) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(l.GetAttributes())) {
		list = append(list, name+"="+l.GetAttributes()[name])
	}
	return strings.Join(list, " ")
}

// lineGrid is one row a line.
func lineGrid(lines ...*shoplakev1.LogLine) *grid {
	g := &grid{columns: columns("time", "level", "stage", "task", "worker", "message", "attributes")}
	for i, c := range g.columns {
		g.columns[i].sparse = c.name == "stage" || c.name == "task" || c.name == "worker"
	}
	for _, l := range lines {
		g.add(at(l.GetTime()), logLevel(l), nonEmpty(l.GetStage()), nonEmpty(l.GetTask()), nonEmpty(l.GetWorker()), l.GetMessage(), attributesOf(l))
	}
	return g
}
