package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	"github.com/shoplake/shoplake/controlplane"
	"github.com/shoplake/shoplake/controlplane/alert"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/telemetry"
	"github.com/shoplake/shoplake/worker"
)

func newServe() *cobra.Command {
	var (
		dirs     folders
		embedded embeddedFlags
		logs     logFlags
		o        serveOptions
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run everything in one process: NATS, control plane and workers",
		Long: `Run NATS, the control plane and workers in one process. Everything is kept below the data folder; stop it at any moment and
start it again. More workers, also in other processes, may join by the NATS port.`,
		Example: `  shoplake serve --data-dir /var/lib/shoplake
  shoplake serve --data-dir data --pipeline my-shop --workers 4 --worker-memory 4GiB`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := dirs.resolve(); err != nil {
				return err
			}
			t, err := logs.start(cmd.Context(), "shoplake", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			o.nats = bus.ServerConfig{StoreDir: filepath.Join(dirs.data, "nats"), Port: embedded.port, SyncAlways: embedded.syncAlways}
			house, err := startHouse(cmd.Context(), dirs, o, t)
			if err == nil {
				announce(cmd.OutOrStdout(), dirs, house)
				err = house.wait(cmd.Context())
				house.parts.close(t.Logger())
			}
			return errors.Join(err, shutdown(cmd.Context(), t))
		},
	}
	dirs.flags(cmd, "shoplake-data")
	o.flags(cmd)
	scheduleFlag(cmd, &o.schedules)
	embedded.flags(cmd)
	logs.flags(cmd)
	return cmd
}

// serveOptions are how many workers of what size serve.
type serveOptions struct {
	listen       string
	insecure     bool
	traceURL     string
	pipeline     string
	workers      int
	workerMemory bytesFlag
	queryMemory  bytesFlag
	drain        time.Duration
	settle       time.Duration
	schedules    bool
	notices      noticeFlags
	nats         bus.ServerConfig
	retention    retentionFlags
}

func (o *serveOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	listenFlags(cmd, &o.listen, &o.insecure)
	traceFlag(cmd, &o.traceURL)
	o.notices.flags(cmd)
	f.StringVar(&o.pipeline, "pipeline", "", "pipeline folder to activate (default: the one that is active, at first the shipped one)")
	f.IntVar(&o.workers, "workers", 2, "how many workers, each doing one task at a time")
	f.Var(&o.workerMemory, "worker-memory", "memory that each worker's queries may use before they spill, e.g. 4GiB (default: 55% of the machine's, divided)")
	f.Var(&o.queryMemory, "query-memory", "memory that KPIs and SQL may use (default: 15% of the machine's)")
	o.retention.flags(cmd)
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long tasks under way may take to end when the process is stopped")
}

func listenFlags(cmd *cobra.Command, listen *string, insecure *bool) {
	cmd.Flags().StringVar(listen, "listen", client.DefaultAddress, "address to serve at, host:port; port 0 for any free one")
	cmd.Flags().BoolVar(insecure, "insecure", false, "serve an address that is not loopback without TLS and tokens: whoever reaches it may do everything")
}

func scheduleFlag(cmd *cobra.Command, schedules *bool) {
	cmd.Flags().BoolVar(schedules, "schedules", true, "start flows when their schedules, new files or other flows say so; false for a server that only runs what it is asked to")
}

func traceFlag(cmd *cobra.Command, url *string) {
	cmd.Flags().StringVar(url, "trace-url", "", "where the dashboard's runs link to their traces, e.g. http://localhost:16686/trace/{trace_id}")
}

// house is everything that one process runs.
type house struct {
	control *controlplane.ControlPlane
	nats    *bus.Server
	workers []*worker.Worker
	parts   closers
}

// startHouse starts NATS, the control plane and the workers. On an error it stops what was started.
func startHouse(ctx context.Context, dirs folders, o serveOptions, t *telemetry.Telemetry) (_ *house, err error) {
	if o.workers < 1 {
		return nil, usageError{fmt.Errorf("--workers is %d: at least one is needed", o.workers)}
	}
	h := &house{}
	defer func() {
		if err != nil {
			h.parts.close(t.Logger())
		}
	}()
	if h.nats, err = bus.StartServer(ctx, o.nats); err != nil {
		return nil, err
	}
	h.parts.add(func() error { h.nats.Close(); return nil })
	connection := bus.Config{Server: h.nats, Name: "shoplake-controlplane"}
	folder, err := initialPipeline(ctx, connection, o.pipeline)
	if err != nil {
		return nil, err
	}
	release, _ := programVersion()
	channels, err := alert.NewChannels(o.notices.channels)
	if err != nil {
		return nil, err
	}
	h.control, err = controlplane.Start(ctx, controlplane.Config{
		Channels: channels, PublicURL: o.notices.publicURL,
		Listen: o.listen, Insecure: o.insecure, TraceURL: o.traceURL, Bus: connection,
		Warehouse: dirs.warehouse, Landing: dirs.landing, ScratchDir: dirs.scratch,
		Pipeline: folder, MemoryLimit: memoryFor(o.queryMemory, queriesPercent, 1), Pool: worker.DefaultPool, Version: release, Settle: o.settle, Schedules: o.schedules,
		Retention: o.retention.Retention, Metrics: t.MetricsHandler(), Log: t.Logger(),
	})
	if err != nil {
		return nil, err
	}
	h.parts.add(h.control.Close)
	stopLines, err := keepLines(ctx, connection, t)
	if err != nil {
		return nil, err
	}
	h.parts.add(stopLines)
	for range o.workers {
		w, err := worker.Start(ctx, worker.Config{
			Bus: bus.Config{Server: h.nats, Name: "shoplake-worker"}, Warehouse: dirs.warehouse, Landing: dirs.landing, ScratchDir: dirs.scratch,
			Slots: 1, MemoryLimit: memoryFor(o.workerMemory, workersPercent, o.workers), Threads: threadsFor(o.workers),
			Pool: worker.DefaultPool, Version: release, Log: t.Logger(),
		})
		if err != nil {
			return nil, err
		}
		h.workers = append(h.workers, w)
		h.parts.add(func() error { return closeWorker(ctx, w, o.drain) })
	}
	return h, nil
}

// closeWorker lets the tasks under way end, for as long as drain.
func closeWorker(ctx context.Context, w *worker.Worker, drain time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return w.Close(ctx)
}

// wait returns nil when the process is asked to stop, and an error when a part of the house stops by itself.
func (h *house) wait(ctx context.Context) error {
	stopped := make(chan string, 1+len(h.workers))
	watch := func(name string, done <-chan struct{}) {
		go func() { <-done; stopped <- name }()
	}
	watch("control plane", h.control.Done())
	for _, w := range h.workers {
		watch("worker "+w.ID, w.Done())
	}
	select {
	case <-ctx.Done():
		return nil
	case name := <-stopped:
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("the %s stopped by itself: the log says why; start again", name)
	}
}

// announce says where things are.
func announce(w io.Writer, dirs folders, h *house) {
	fmt.Fprintf(w, `Serving at %[1]s
Drop files under %[2]s, then:
  shoplake run daily --wait --server %[1]s
More workers, on this machine:
  shoplake worker --nats %[3]s --nats-credentials %[4]s --data-dir %[5]s
`, h.control.Address(), filepath.Join(dirs.landing, "<source>"), h.nats.URL(), h.nats.WorkerCredentialsFile(), dirs.data)
}
