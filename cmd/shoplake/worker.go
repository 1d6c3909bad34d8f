package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/internal/telemetry"
	"github.com/shoplake/shoplake/worker"
)

func newWorker() *cobra.Command {
	v := &workerVerb{}
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker that does the control plane's tasks",
		Long: `Run a worker. It takes tasks from NATS, reads and writes the lake's folder, and commits nothing: kill it at any moment and
another one does its tasks. On SIGTERM it takes no more and ends what it has begun, for as long as --drain.`,
		Example: `  shoplake worker --nats nats://127.0.0.1:4222 --nats-credentials data/nats/worker.json --data-dir data --slots 2`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v.nats.url == "" {
				return usageError{errors.New("--nats is missing: a control plane with embedded NATS prints its address when it starts")}
			}
			if v.slots < 1 {
				return usageError{fmt.Errorf("--slots is %d: at least one is needed", v.slots)}
			}
			if v.ackWait < time.Second {
				return usageError{fmt.Errorf("--ack-wait is %v: give at least 1s", v.ackWait)}
			}
			if err := v.dirs.resolve(); err != nil {
				return err
			}
			t, err := v.logs.start(cmd.Context(), "shoplake-worker", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return errors.Join(v.run(cmd, t), shutdown(cmd.Context(), t))
		},
	}
	v.dirs.flags(cmd, "shoplake-data")
	v.nats.flags(cmd, "required")
	f := cmd.Flags()
	f.IntVar(&v.slots, "slots", 1, "how many tasks it does at a time")
	f.Var(&v.memory, "worker-memory", "memory that its queries may use before they spill, e.g. 4GiB (default: 55% of the machine's)")
	f.IntVar(&v.threads, "threads", 0, "threads of each task (default: all processors, divided by the slots)")
	f.StringVar(&v.pool, "pool", worker.DefaultPool, "pool that it belongs to")
	f.StringVar(&v.id, "id", "", "name of the worker (default: made up)")
	f.DurationVar(&v.drain, "drain", 30*time.Second, "how long tasks under way may take to end when the process is stopped")
	f.DurationVar(&v.ackWait, "ack-wait", worker.DefaultAckWait, "how long a task may go without a sign of life of its worker before another one gets it; one value a pool")
	if err := f.MarkHidden("ack-wait"); err != nil {
		panic(err) // it was defined in the line above
	}
	f.StringVar(&v.listen, "listen", "", "address, host:port, to serve /healthz (is it alive?) and /metrics at, for supervisors (default: none)")
	v.logs.flags(cmd)
	return cmd
}

type workerVerb struct {
	dirs    folders
	nats    natsFlags
	slots   int
	memory  bytesFlag
	threads int
	pool    string
	id      string
	drain   time.Duration
	ackWait time.Duration
	listen  string
	logs    logFlags
}

func (v *workerVerb) run(cmd *cobra.Command, t *telemetry.Telemetry) error {
	ctx := cmd.Context()
	release, _ := programVersion()
	threads := v.threads
	if threads < 1 {
		threads = threadsFor(v.slots)
	}
	w, err := worker.Start(ctx, worker.Config{
		ID: v.id, Bus: v.nats.config("shoplake-worker"), Warehouse: v.dirs.warehouse, Landing: v.dirs.landing, ScratchDir: v.dirs.scratch,
		Slots: v.slots, AckWait: v.ackWait, MemoryLimit: memoryFor(v.memory, workersPercent, 1), Threads: threads, Pool: v.pool, Version: release, Log: t.Logger(),
	})
	if err != nil {
		return err
	}
	stopLines, err := keepLines(ctx, v.nats.config("shoplake-worker"), t)
	if err != nil {
		return errors.Join(err, w.Close(ctx))
	}
	defer stopLines()
	if v.listen != "" {
		stop, err := serveProbes(ctx, v.listen, w.Alive, t)
		if err != nil {
			return errors.Join(err, w.Close(ctx))
		}
		defer stop()
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Worker %s takes tasks of the pool %s.\n", w.ID, v.pool)
	return until(ctx, t.Logger(), "worker", w.Done(), func() error { return closeWorker(ctx, w, v.drain) })
}
