package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newHealth() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Tell how the server, its workers and the flows are",
		Long:    "Tell how the server, its workers and the flows are. The status is 0 unless the server says that it is down.",
		Example: "  shoplake health -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				h, err := c.Health.GetHealth(ctx, &shoplakev1.GetHealthRequest{})
				if err != nil {
					return fmt.Errorf("get the health: %w", err)
				}
				workers, err := c.Health.ListWorkers(ctx, &shoplakev1.ListWorkersRequest{})
				if err != nil {
					return fmt.Errorf("list the workers: %w", err)
				}
				if err := printHealth(cmd.OutOrStdout(), &out, h, workers.GetWorkers()); err != nil {
					return err
				}
				if h.GetStatus() == shoplakev1.HealthStatus_HEALTH_STATUS_DOWN {
					return silentError{}
				}
				return nil
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func printHealth(w io.Writer, out *format, h *shoplakev1.Health, list []*shoplakev1.Worker) error {
	g := &grid{columns: columns("status", "reasons", "version", "pipeline", "published_version", "publish_time", "coordinator", "workers", "runs_open",
		"tasks_waiting", "tasks_running", "workers_detail", "flows", "storage")}
	for i := 11; i < len(g.columns); i++ {
		g.columns[i].only = "json"
	}
	workers := workerGrid(list)
	flows := &grid{columns: columns("flow", "last_run", "last_state", "last_end_time")}
	for _, f := range h.GetFlows() {
		flows.add(id(f.GetFlow()), nonEmpty(id(f.GetLastRun())), nonEmpty(word(f.GetLastState(), "RUN_STATE_")), at(f.GetLastEndTime()))
	}
	storage := &grid{columns: columns("layer", "tables", "rows", "size_bytes:bytes")}
	for _, s := range h.GetStorage() {
		storage.add(s.GetLayer(), int64(s.GetTables()), s.GetRows(), s.GetSizeBytes())
	}
	g.add(word(h.GetStatus().String(), "HEALTH_STATUS_"), h.GetReasons(), h.GetVersion(), nonEmpty(id(h.GetPipeline())), h.GetPublishedVersion(),
		at(h.GetPublishTime()), h.GetCoordinator(), int64(h.GetWorkers()), int64(h.GetRunsOpen()), h.GetTasksWaiting(), h.GetTasksRunning(), workers, flows, storage)
	if out.value != "table" {
		return out.print(w, g)
	}
	if err := printFacts(w, g, 0); err != nil {
		return err
	}
	for _, part := range []*grid{workers, flows, storage} {
		if len(part.rows) == 0 {
			continue
		}
		if err := out.print(w, part); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}
