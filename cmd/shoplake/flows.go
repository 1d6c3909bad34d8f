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
	return parent("flows", "List the flows, and show what one builds", newFlowsList(), newFlowsGraph())
}

func newFlowsList() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the flows of the active pipeline",
		Example: "  shoplake flows list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				g := &grid{columns: columns("flow", "title", "description", "tables")}
				err := pages(0, func(token string, size int32) (string, int, error) {
					resp, err := c.Flows.ListFlows(ctx, &shoplakev1.ListFlowsRequest{PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list flows: %w", err)
					}
					for _, f := range resp.GetFlows() {
						g.add(id(f.GetName()), nonEmpty(f.GetTitle()), nonEmpty(f.GetDescription()), f.GetTables())
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
