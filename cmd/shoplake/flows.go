package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newFlows() *cobra.Command {
	return parent("flows", "List the flows and when they run, show what one builds, pause and resume them", newFlowsList(), newFlowsGraph(),
		newFlowsMove("pause", "Keep a flow from being started by its schedule, by files and by other flows",
			func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Flow, error) {
				return c.Flows.PauseFlow(ctx, &shoplakev1.PauseFlowRequest{Name: name})
			}),
		newFlowsMove("resume", "End a pause; what was missed is made up for as the schedule's catch_up says",
			func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Flow, error) {
				return c.Flows.ResumeFlow(ctx, &shoplakev1.ResumeFlowRequest{Name: name})
			}))
}

func newFlowsList() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the flows of the active pipeline, with their next and last runs",
		Example: "  shoplake flows list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				g := flowsGrid()
				err := pages(0, func(token string, size int32) (string, int, error) {
					resp, err := c.Flows.ListFlows(ctx, &shoplakev1.ListFlowsRequest{PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list flows: %w", err)
					}
					for _, f := range resp.GetFlows() {
						addFlow(g, f)
					}
					return resp.GetNextPageToken(), len(resp.GetFlows()), nil
				})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), g)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func flowsGrid() *grid {
	g := &grid{columns: columns("flow", "title", "starts", "next_run", "last_run", "last_state", "last_time", "paused", "waiting", "late", "description", "tables")}
	for i := range g.columns {
		switch c := &g.columns[i]; c.name {
		case "paused", "late", "waiting":
			c.sparse = true
		case "description", "tables":
			c.only = "json csv"
		}
	}
	return g
}

func addFlow(g *grid, f *shoplakev1.Flow) {
	var lastRun, lastState, paused, waiting any
	if r := f.GetLastRun(); r != nil {
		lastRun, lastState = id(r.GetRun()), runState(r.GetState())
	}
	if f.GetPaused() {
		paused = true
	}
	if n := f.GetWaiting(); n > 0 {
		waiting = int64(n)
	}
	g.add(id(f.GetName()), nonEmpty(f.GetTitle()), nonEmpty(starts(f)), at(f.GetNextRunTime()), lastRun, lastState, at(f.GetLastRun().GetCreateTime()), paused, waiting, nonEmpty(f.GetLate()),
		nonEmpty(f.GetDescription()), f.GetTables())
}

// starts says what starts a flow.
func starts(f *shoplakev1.Flow) string {
	var by []string
	if s := f.GetSchedule(); s != nil {
		by = append(by, s.GetCron()+" "+s.GetTimeZone())
	}
	if len(f.GetFileSources()) > 0 {
		by = append(by, "files of "+strings.ReplaceAll(strings.Join(f.GetFileSources(), ", "), "sources/", ""))
	}
	if len(f.GetAfter()) > 0 {
		by = append(by, "after "+strings.ReplaceAll(strings.Join(f.GetAfter(), ", "), "flows/", ""))
	}
	return strings.Join(by, "; ")
}

// newFlowsMove is a verb that changes whether a flow is started, and shows the flow as it is then.
func newFlowsMove(verb, what string, move func(ctx context.Context, c *client.Client, name string) (*shoplakev1.Flow, error)) *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     verb + " FLOW",
		Short:   what,
		Example: "  shoplake flows " + verb + " daily",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				name := "flows/" + strings.TrimPrefix(args[0], "flows/")
				flow, err := move(ctx, c, name)
				if err != nil {
					return fmt.Errorf("%s %s: %w", verb, name, err)
				}
				g := flowsGrid()
				addFlow(g, flow)
				return out.print(cmd.OutOrStdout(), g)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func newFlowsGraph() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "graph FLOW",
		Short:   "Show the tables of a flow and what each reads",
		Example: "  shoplake flows graph daily",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				name := "flows/" + strings.TrimPrefix(args[0], "flows/")
				graph, err := c.Flows.GetFlowGraph(ctx, &shoplakev1.GetFlowGraphRequest{Name: name})
				if err != nil {
					return fmt.Errorf("get the graph of %s: %w", name, err)
				}
				g := &grid{columns: columns("table", "inputs")}
				for _, n := range graph.GetNodes() {
					g.add(n.GetTable(), n.GetInputs())
				}
				return out.print(cmd.OutOrStdout(), g)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}
