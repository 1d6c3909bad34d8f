package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/controlplane"
	"github.com/shoplake/shoplake/controlplane/alert"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/telemetry"
	"github.com/shoplake/shoplake/worker"
)

func newControlplane() *cobra.Command {
	c := &controlplaneVerb{}
	cmd := &cobra.Command{
		Use:   "controlplane",
		Short: "Run the control plane alone; workers are processes of their own",
		Long: `Run the control plane without workers. NATS is embedded, on loopback, unless --nats names a server or a cluster. The lake's folder
must be the same, at the same path, for the control plane and its workers.`,
		Example: `  shoplake controlplane --data-dir /mnt/shoplake
  shoplake controlplane --data-dir /mnt/shoplake --nats tls://nats-1:4222,tls://nats-2:4222 --nats-credentials coordinator.creds --nats-replicas 3`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.dirs.resolve(); err != nil {
				return err
			}
			t, err := c.logs.start(cmd.Context(), "shoplake-controlplane", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return errors.Join(c.run(cmd, t), shutdown(cmd.Context(), t))
		},
	}
	c.dirs.flags(cmd, "shoplake-data")
	listenFlags(cmd, &c.listen, &c.insecure)
	scheduleFlag(cmd, &c.schedules)
	traceFlag(cmd, &c.traceURL)
	c.notices.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&c.pipeline, "pipeline", "", "pipeline folder to activate (default: the one that is active, at first the shipped one)")
	f.StringVar(&c.pool, "pool", worker.DefaultPool, "pool of workers that gets the tasks")
	f.Var(&c.memory, "query-memory", "memory that KPIs and SQL may use (default: 15% of the machine's)")
	c.nats.flags(cmd, "embedded where none is given")
	f.IntVar(&c.nats.replicas, "nats-replicas", 0, "copies of each stream in a cluster, 1 to 5 (default: as they are, 1 for new ones)")
	c.embedded.flags(cmd)
	c.keep.flags(cmd)
	c.logs.flags(cmd)
	return cmd
}

type controlplaneVerb struct {
	dirs     folders
	listen   string
	insecure bool
	traceURL string
	// schedules says whether flows are started when it is time.
	schedules bool
	pipeline  string
	pool      string
	memory    bytesFlag
	nats      natsFlags
	embedded  embeddedFlags
	notices   noticeFlags
	keep      retentionFlags
	logs      logFlags
}

func (c *controlplaneVerb) run(cmd *cobra.Command, t *telemetry.Telemetry) error {
	ctx := cmd.Context()
	connection := c.nats.config("shoplake-controlplane")
	if c.nats.url == "" {
		server, err := bus.StartServer(ctx, bus.ServerConfig{
			StoreDir: filepath.Join(c.dirs.data, "nats"), Port: c.embedded.port, SyncAlways: c.embedded.syncAlways,
		})
		if err != nil {
			return err
		}
		defer server.Close()
		connection.Server = server
		fmt.Fprintf(cmd.OutOrStdout(), "Workers join with:\n  shoplake worker --nats %s --nats-credentials %s --data-dir %s\n",
			server.URL(), server.WorkerCredentialsFile(), c.dirs.data)
	}
	folder, err := initialPipeline(ctx, connection, c.pipeline)
	if err != nil {
		return err
	}
	release, _ := programVersion()
	channels, err := alert.NewChannels(c.notices.channels)
	if err != nil {
		return err
	}
	control, err := controlplane.Start(ctx, controlplane.Config{
		Channels: channels, PublicURL: c.notices.publicURL,
		Listen: c.listen, Insecure: c.insecure, TraceURL: c.traceURL, Bus: connection,
		Warehouse: c.dirs.warehouse, Landing: c.dirs.landing, ScratchDir: c.dirs.scratch,
		Pipeline: folder, MemoryLimit: memoryFor(c.memory, queriesPercent, 1), Pool: c.pool, Version: release, Schedules: c.schedules, Retention: c.keep.Retention,
		Metrics: t.MetricsHandler(), Log: t.Logger(),
	})
	if err != nil {
		return err
	}
	stopLines, err := keepLines(ctx, connection, t)
	if err != nil {
		return errors.Join(err, control.Close())
	}
	defer stopLines()
	fmt.Fprintf(cmd.OutOrStdout(), "Serving at %s\n", control.Address())
	return until(ctx, t.Logger(), "control plane", control.Done(), control.Close)
}

// until waits until the process is asked to stop or a part stops by itself, and closes the part.
func until(ctx context.Context, log *slog.Logger, name string, done <-chan struct{}, closePart func() error) error {
	select {
	case <-ctx.Done():
		log.Info("stopping", "part", name)
		return closePart()
	case <-done:
		return errors.Join(fmt.Errorf("the %s stopped by itself: the log says why; start again", name), closePart())
	}
}
