package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/internal/telemetry"
	"github.com/shoplake/shoplake/pipelines"
)

// folders are where a server keeps things: DIR/lake, DIR/landing/<source>, DIR/nats and DIR/scratch unless told otherwise.
type folders struct {
	data, warehouse, landing, scratch string
}

func (f *folders) flags(cmd *cobra.Command, data string) {
	cmd.Flags().StringVar(&f.data, "data-dir", data, "folder that holds everything: lake/, landing/, nats/, scratch/")
	cmd.Flags().StringVar(&f.warehouse, "warehouse", "", "folder of the tables (default: lake in the data folder)")
	cmd.Flags().StringVar(&f.landing, "landing", "", "folder with a folder of files for each source (default: landing in the data folder)")
	cmd.Flags().StringVar(&f.scratch, "scratch-dir", "", "folder for what queries spill; may be lost (default: scratch in the data folder)")
}

// resolve makes every path absolute.
func (f *folders) resolve() (err error) {
	if f.data, err = filepath.Abs(f.data); err != nil {
		return fmt.Errorf("resolve the data folder: %w", err)
	}
	for name, p := range map[string]*string{"lake": &f.warehouse, "landing": &f.landing, "scratch": &f.scratch} {
		if *p == "" {
			*p = filepath.Join(f.data, name)
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return fmt.Errorf("resolve the folder %s: %w", name, err)
		}
	}
	return nil
}

// natsFlags are how an external NATS server is reached.
type natsFlags struct {
	url, credentials, ca, cert, key string
	replicas                        int
}

func (n *natsFlags) flags(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.StringVar(&n.url, "nats", "", "NATS server or servers, nats://host:4222,... or tls://...; "+what)
	f.StringVar(&n.credentials, "nats-credentials", "", "credentials file: a .creds file, or the one that an embedded server wrote (DATA-DIR/nats/worker.json)")
	f.StringVar(&n.ca, "nats-ca", "", "PEM file of the authorities to trust for NATS (default: the system's)")
	f.StringVar(&n.cert, "nats-cert", "", "PEM file of the client's certificate for NATS")
	f.StringVar(&n.key, "nats-key", "", "PEM file of the client's key for NATS")
}

func (n *natsFlags) config(name string) bus.Config {
	return bus.Config{
		URL: n.url, CredentialsFile: n.credentials, TLSCA: n.ca, TLSCert: n.cert, TLSKey: n.key, Name: name, Replicas: n.replicas,
	}
}

// embeddedFlags are how the embedded NATS server runs.
type embeddedFlags struct {
	port       int
	syncAlways bool
}

func (e *embeddedFlags) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&e.port, "nats-port", 4222, "loopback port of the embedded NATS server, for workers in other processes; -1 for any free one")
	cmd.Flags().BoolVar(&e.syncAlways, "sync-always", false, "flush each write of the embedded NATS server: nothing acknowledged is lost in a power cut, at about a fifth of the rate")
}

// noticeFlags are how people hear of failures.
type noticeFlags struct {
	channels  []string
	publicURL string
}

func (n *noticeFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&n.channels, "channel", nil, `where people hear that a flow failed, recovered or is late: name=URL, with a URL of shoutrrr's, as
ops=slack://token@channel; may be given more than once. It holds a secret: better in the settings file or in the
environment, SHOPLAKE_CHANNEL, with spaces between`)
	f.StringVar(&n.publicURL, "public-url", "", "where people reach this server, as https://shoplake.example.com: for the links in what they are told")
}

// retentionFlags are for how long logs of runs are kept.
type retentionFlags struct {
	runs.Retention
}

func (r *retentionFlags) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&r.Runs, "keep-runs", runs.KeepRuns, "how many of the newest runs that have ended keep their logs in NATS; all are kept in the table ops.runs")
	cmd.Flags().DurationVar(&r.Time, "keep-runs-for", runs.KeepRunsTime, "for how long at least a run keeps its log after it has ended; never less than two days")
}

// logFlags are how a server logs; traces and metrics follow the OTEL_ environment variables.
type logFlags struct {
	format choiceFlag
	level  choiceFlag
}

func (l *logFlags) flags(cmd *cobra.Command) {
	l.format = choiceFlag{value: "text", choices: []string{"text", "json"}}
	l.level = choiceFlag{value: "info", choices: []string{"debug", "info", "warn", "error"}}
	cmd.Flags().Var(&l.format, "log-format", "how logs are written")
	cmd.Flags().Var(&l.level, "log-level", "least level that is logged")
}

func (l *logFlags) start(ctx context.Context, service string, out io.Writer) (*telemetry.Telemetry, error) {
	release, _ := programVersion()
	return telemetry.Start(ctx, telemetry.Options{
		Service: service, Version: release, LogFormat: l.format.value, LogLevel: l.level.value, LogOutput: out, Metrics: true,
	})
}

// initialPipeline is the folder that new runs use from now on: the given one, else the active one (nil), else the shipped one.
func initialPipeline(ctx context.Context, c bus.Config, dir string) (fs.FS, error) {
	if dir != "" {
		return openFolder(dir)
	}
	b, err := bus.Connect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	defer b.Close()
	if err := b.Setup(ctx); err != nil {
		return nil, fmt.Errorf("set up the streams in NATS: %w", err)
	}
	_, err = pipelinestore.New(b).Active(ctx)
	if errors.Is(err, pipelinestore.ErrNotFound) {
		return pipelines.Ecommerce, nil
	}
	return nil, err
}

// Shares of the machine's memory that queries may use where no limit is given; the rest is for readers, NATS and the files' cache.
const (
	workersPercent = 55
	queriesPercent = 15
)

// memoryFor is a limit that was given, or a share of what the machine has; 0 where that is not known.
func memoryFor(given bytesFlag, percent, among int) int64 {
	if given > 0 {
		return int64(given)
	}
	return machineMemory() / 100 * int64(percent) / int64(max(1, among))
}

// threadsFor divides the processors among workers.
func threadsFor(among int) int { return max(1, runtime.GOMAXPROCS(0)/max(1, among)) }

// closers are what was started, to be stopped in the opposite order.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close(log *slog.Logger) {
	for i := len(c) - 1; i >= 0; i-- {
		if err := c[i](); err != nil {
			log.Error("could not stop cleanly", "error", err)
		}
	}
}

// shutdownTimeout bounds what is waited for at the end: traces that are not sent yet.
const shutdownTimeout = 5 * time.Second

func shutdown(ctx context.Context, t *telemetry.Telemetry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return t.Shutdown(ctx)
}
