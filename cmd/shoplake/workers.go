package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newWorkers() *cobra.Command {
	return parent("workers", "List the workers", newWorkersList())
}

func newWorkersList() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the workers that are alive, and what each does now",
		Example: `  shoplake workers list
  shoplake workers list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				workers, err := c.Health.ListWorkers(ctx, &shoplakev1.ListWorkersRequest{})
				if err != nil {
					return fmt.Errorf("list the workers: %w", err)
				}
				return out.print(cmd.OutOrStdout(), workerGrid(workers.GetWorkers()))
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

// workerGrid is one row a worker.
func workerGrid(workers []*shoplakev1.Worker) *grid {
	g := &grid{columns: columns("worker", "pool", "state", "host", "pid", "slots", "memory_limit_bytes:bytes", "tasks_done", "tasks", "version", "start_time", "heartbeat_time")}
	for _, k := range workers {
		g.add(id(k.GetName()), k.GetPool(), word(k.GetState().String(), "WORKER_STATE_"), k.GetHost(), int64(k.GetPid()), int64(k.GetSlots()), k.GetMemoryLimitBytes(),
			k.GetTasksDone(), k.GetTasks(), k.GetVersion(), at(k.GetStartTime()), at(k.GetHeartbeatTime()))
	}
	return g
}
