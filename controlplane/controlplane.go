// Package controlplane takes runs and answers for KPIs, tables and health. It keeps its state in JetStream and the lake:
// stop it at any moment, start it again, and the runs go on.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/metric"

	"github.com/shoplake/shoplake/controlplane/alert"
	"github.com/shoplake/shoplake/controlplane/backfill"
	"github.com/shoplake/shoplake/controlplane/dashboard"
	"github.com/shoplake/shoplake/controlplane/flow"
	"github.com/shoplake/shoplake/controlplane/health"
	"github.com/shoplake/shoplake/controlplane/kpi"
	"github.com/shoplake/shoplake/controlplane/pipeline"
	"github.com/shoplake/shoplake/controlplane/published"
	"github.com/shoplake/shoplake/controlplane/quarantine"
	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/controlplane/schedule"
	"github.com/shoplake/shoplake/controlplane/server"
	"github.com/shoplake/shoplake/controlplane/source"
	"github.com/shoplake/shoplake/controlplane/table"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	flows "github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/internal/scratch"
)

const (
	// leaseTTL is how long the coordinator's lease lasts when nobody renews it. Another has taken over a second later at most: in
	// less than 5 s, while a busy machine may miss two renewals of three.
	leaseTTL = 3 * time.Second
	// Settle is how long size and time of a landing file must have rested before it is read.
	Settle = 2 * time.Second
)

// Config is what a control plane works with.
type Config struct {
	// Listen is host:port; Insecure allows an address that other machines reach.
	Listen   string
	Insecure bool
	// TraceURL is where traces can be looked at, {trace_id} standing for the trace; empty where nobody said.
	TraceURL string
	// Bus is how NATS is reached.
	Bus bus.Config
	// Warehouse is the lake's folder, Landing the folder that holds a folder for each source, ScratchDir where the engine spills.
	Warehouse, Landing, ScratchDir string
	// Pipeline is the folder that new runs use from now on; nil keeps the active one.
	Pipeline fs.FS
	// MemoryLimit of KPI queries in bytes; the engine's default where 0.
	MemoryLimit int64
	Pool        string
	Version     string
	// Settle is how long a landing file must have rested; the default where 0.
	Settle time.Duration
	// Channels reach people when runs fail, recover or are late; nil tells nobody. PublicURL is where people reach the page.
	Channels  alert.Sender
	PublicURL string
	// Schedules says whether flows are started by their schedules, by files and by other flows; Now is their clock, the machine's
	// where nil.
	Schedules bool
	Now       func() time.Time
	// Retention says for how long logs of runs are kept.
	Retention runs.Retention
	// Metrics is served at /metrics; nil where there are none.
	Metrics http.Handler
	Log     *slog.Logger
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	runs    *runs.Log
	server  *server.Server
	bus     *bus.Bus
	lake    *lake.Lake
	kpis    *kpi.KPIs
	scratch *scratch.Folder
	stop    context.CancelFunc
	ended   chan struct{}
	done    chan struct{}
	// notifier is nil where there is nobody to tell.
	notifier *alert.Notifier
	// scheduler is nil where this control plane keeps no schedules.
	scheduler *schedule.Scheduler
	// backfills moves backfills on while this control plane coordinates.
	backfills *backfill.Driver
	leads     atomic.Bool
	// measured are the metrics, until it is closed.
	measured metric.Registration
}

// Start opens the lake, connects to NATS, takes part in the election of the coordinator, and serves.
func Start(ctx context.Context, c Config) (_ *ControlPlane, err error) {
	if c.Settle == 0 {
		c.Settle = Settle
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	cp := &ControlPlane{ended: make(chan struct{}), done: make(chan struct{})}
	var opened []func()
	defer func() {
		if err != nil {
			for i := len(opened) - 1; i >= 0; i-- {
				opened[i]()
			}
		}
	}()
	if err := os.MkdirAll(c.Landing, 0o755); err != nil {
		return nil, fmt.Errorf("make the landing folder: %w", err)
	}
	id := ulid.Make().String()
	if cp.scratch, err = scratch.Claim(ctx, c.ScratchDir, "controlplane-"+id, c.Log); err != nil {
		return nil, fmt.Errorf("make the control plane's scratch folder in %s: %w", c.ScratchDir, err)
	}
	opened = append(opened, func() { err = errors.Join(err, cp.scratch.Release()) })
	if cp.bus, err = bus.Connect(ctx, c.Bus); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	opened = append(opened, cp.bus.Close)
	if err := cp.bus.Setup(ctx); err != nil {
		return nil, fmt.Errorf("set up the streams in NATS: %w", err)
	}
	if cp.lake, err = lake.Open(ctx, lake.Config{Warehouse: c.Warehouse}); err != nil {
		return nil, fmt.Errorf("open the lake in %s: %w", c.Warehouse, err)
	}
	opened = append(opened, func() { cp.lake.Close() })
	if err := claimLake(ctx, cp.bus, cp.lake, c.Log); err != nil {
		return nil, err
	}
	store := pipelinestore.New(cp.bus)
	if c.Pipeline != nil {
		p, err := store.Put(ctx, c.Pipeline)
		if err != nil {
			return nil, err
		}
		if _, err := store.Activate(ctx, p.Digest); err != nil {
			return nil, err
		}
	}
	options := engine.Options{MemoryLimit: c.MemoryLimit, SpillDir: cp.scratch.Path, ReadPaths: []string{c.Warehouse}}
	cp.runs = runs.NewLog(cp.bus, &runs.History{Lake: cp.lake, Engine: options})
	ended := &ends{log: cp.runs, pipelines: store, more: make(chan struct{}, 1)}
	cp.backfills = backfill.NewDriver(cp.bus, backfill.Runs{Log: cp.runs, Pipelines: store}, c.Log)
	onEnded := func(s *runs.State) {
		ended.note(s)
		cp.backfills.Wake()
	}
	coordinator := runs.NewCoordinator(runs.Config{
		Bus: cp.bus, Lake: cp.lake, Pipelines: store, Landing: c.Landing, Holder: id, LeaseTTL: leaseTTL, Settle: c.Settle,
		Pool: c.Pool, Engine: options, Retention: c.Retention, OnEnded: onEnded, Log: c.Log,
	})
	if c.Channels != nil && len(c.Channels.Names()) > 0 {
		cp.notifier = alert.New(alert.Config{Runs: ended, Store: told{cp.bus}, Sender: c.Channels, PublicURL: strings.TrimSuffix(c.PublicURL, "/"), Log: c.Log})
	}
	if c.Schedules {
		cp.scheduler = cp.schedule(c, store)
	}
	if cp.server, err = server.New(server.Config{Listen: c.Listen, Insecure: c.Insecure, Log: c.Log}); err != nil {
		return nil, err
	}
	cp.register(c, coordinator, store, options)
	if cp.measured, err = health.Measure(coordinator); err != nil {
		return nil, err
	}
	opened = append(opened, func() { err = errors.Join(err, cp.measured.Unregister()) })
	paths, err := dashboard.Paths()
	if err != nil {
		return nil, err
	}
	if c.Metrics != nil {
		paths["/metrics"] = c.Metrics
	}
	if err := cp.server.Start(ctx, paths); err != nil {
		return nil, err
	}
	coordinating, stop := context.WithCancel(context.WithoutCancel(ctx))
	cp.stop = stop
	go func() {
		defer close(cp.ended)
		if err := coordinator.Run(coordinating, func(leads bool) { cp.lead(coordinating, leads) }); err != nil {
			c.Log.Error("the coordinator stopped", "error", err)
		}
	}()
	go func() {
		<-cp.server.Done()
		<-cp.ended
		close(cp.done)
	}()
	return cp, nil
}

// claimLake makes the lake the one that workers must have, or refuses another one than they had. Where NATS lost its state, or
// has an older one back, the lake's tables have seen higher epochs than elections would give: those to come are raised above them.
func claimLake(ctx context.Context, b *bus.Bus, l *lake.Lake, log *slog.Logger) error {
	known, _, err := b.Setting(ctx, bus.LakeSetting)
	if errors.Is(err, bus.ErrNotFound) {
		_, err = b.CompareAndSetSetting(ctx, bus.LakeSetting, []byte(l.ID()), 0)
		known = []byte(l.ID())
		if errors.Is(err, bus.ErrConflict) { // another control plane told it just now
			known, _, err = b.Setting(ctx, bus.LakeSetting)
		}
	}
	if err != nil {
		return fmt.Errorf("find out which lake workers use: %w", err)
	}
	if string(known) != l.ID() {
		return fmt.Errorf("this is the lake %s, but NATS holds the state of the lake %s: use the folders of one data dir together", l.ID(), known)
	}
	seen, err := l.HighestEpoch(ctx)
	if err != nil {
		return fmt.Errorf("find the highest epoch that the lake's tables have seen: %w", err)
	}
	raised, err := b.RaiseEpochs(ctx, seen)
	if raised {
		log.WarnContext(ctx, "the lake's tables have seen a higher epoch than NATS knows of: its state was lost, or is an older one; raised the epochs", "epoch", seen)
	}
	return err
}

func (cp *ControlPlane) register(c Config, coordinator *runs.Coordinator, store *pipelinestore.Store, options engine.Options) {
	reader := &published.Reader{Bus: cp.bus, Lake: cp.lake, Pipelines: store, Engine: options}
	cp.kpis = kpi.New(reader)
	on := cp.server.Registrar()
	shoplakev1.RegisterRunServiceServer(on, &runs.Handler{Coordinator: coordinator, Store: store, Runs: cp.runs})
	shoplakev1.RegisterFlowServiceServer(on, &flow.Handler{
		Pipelines: store, States: cp.bus, Runs: cp.runs, Scheduled: c.Schedules, Landing: c.Landing, Settle: c.Settle,
	})
	shoplakev1.RegisterBackfillServiceServer(on, &backfill.Handler{Bus: cp.bus, Coordinator: coordinator, Runs: cp.runs, Pipelines: store, Driver: cp.backfills, Pool: c.Pool})
	shoplakev1.RegisterPipelineServiceServer(on, &pipeline.Handler{Pipelines: store})
	shoplakev1.RegisterSourceServiceServer(on, &source.Handler{Reader: reader, Landing: c.Landing})
	shoplakev1.RegisterKpiServiceServer(on, &kpi.Handler{KPIs: cp.kpis})
	shoplakev1.RegisterTableServiceServer(on, &table.Handler{Reader: reader, Lake: cp.lake})
	shoplakev1.RegisterQuarantineServiceServer(on, &quarantine.Handler{Reader: reader, Landing: c.Landing})
	shoplakev1.RegisterHealthServiceServer(on, &health.Handler{Reader: reader, Bus: cp.bus, Runs: cp.runs, Pool: c.Pool, Version: c.Version, Leads: &cp.leads, TraceURL: c.TraceURL})
}

// lead begins and ends what only the control plane that coordinates does.
func (cp *ControlPlane) lead(ctx context.Context, leads bool) {
	cp.leads.Store(leads)
	cp.backfills.Lead(ctx, leads)
	if cp.notifier != nil {
		cp.notifier.Lead(ctx, leads)
	}
	if cp.scheduler != nil {
		cp.scheduler.Lead(ctx, leads)
	}
}

// schedule makes the scheduler, which works while this control plane leads.
func (cp *ControlPlane) schedule(c Config, store *pipelinestore.Store) *schedule.Scheduler {
	return schedule.New(schedule.Config{
		States: cp.bus, Runs: cp.runs, Pipelines: store, NewRuns: cp.bus.WatchNewRuns,
		OpenRuns: func(ctx context.Context) ([]string, error) {
			index, err := cp.bus.RunIndex(ctx)
			if err != nil {
				return nil, err
			}
			return index.Open(), nil
		},
		OnLate: func(f *flows.Flow, nominal time.Time, why string) error {
			if cp.notifier == nil {
				return nil
			}
			return cp.notifier.Late(f.Name, nominal, why, f.Notify)
		},
		Landing: c.Landing, Settle: c.Settle, Now: c.Now, Log: c.Log,
	})
}

// Address is what the server listens on.
func (cp *ControlPlane) Address() string { return cp.server.Address() }

// Done is closed when the control plane has stopped.
func (cp *ControlPlane) Done() <-chan struct{} { return cp.done }

// Close gives up the lease and stops. Open runs go on when a control plane is there again.
func (cp *ControlPlane) Close() error {
	cp.stop()
	cp.server.Close()
	<-cp.done
	cp.kpis.Close()
	cp.bus.Close()
	return errors.Join(cp.measured.Unregister(), cp.lake.Close(), cp.scratch.Release())
}
