// Package e2e runs the whole of Shoplake: a control plane and workers on an embedded NATS server, a real lake, and
// clients that speak the API.
package e2e

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shoplake/shoplake/controlplane"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/worker"
)

// shop is a Shoplake for one test.
type shop struct {
	t       *testing.T
	dir     string
	log     *slog.Logger
	nats    *bus.Server
	conn    *grpc.ClientConn
	runs    shoplakev1.RunServiceClient
	kpis    shoplakev1.KpiServiceClient
	tables  shoplakev1.TableServiceClient
	sources shoplakev1.SourceServiceClient
	rows    shoplakev1.QuarantineServiceClient
	health  shoplakev1.HealthServiceClient
}

// setup starts a control plane and some workers on a folder of their own.
func setup(t *testing.T, pipeline fs.FS, workers int) *shop {
	t.Helper()
	return setupWith(t, pipeline, workers, func(*controlplane.Config) {})
}

// setupWith is setup with a control plane that is configured in another way.
func setupWith(t *testing.T, pipeline fs.FS, workers int, change func(*controlplane.Config)) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir()}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var err error
	if s.nats, err = bus.StartServer(t.Context(), bus.ServerConfig{StoreDir: s.path("nats"), InProcessOnly: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nats.Close)
	config := controlplane.Config{
		Listen: "127.0.0.1:0", Bus: bus.Config{Server: s.nats}, Warehouse: s.path("lake"), Landing: s.path("landing"), ScratchDir: s.path("scratch"),
		Pipeline: pipeline, Pool: worker.DefaultPool, Settle: time.Nanosecond, Log: log, MemoryLimit: 1 << 30,
	}
	change(&config)
	cp, err := controlplane.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Close(); err != nil {
			t.Error(err)
		}
	})
	s.log = log
	for range workers {
		s.startWorker()
	}
	if s.conn, err = grpc.NewClient(cp.Address(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	s.runs, s.kpis, s.tables = shoplakev1.NewRunServiceClient(s.conn), shoplakev1.NewKpiServiceClient(s.conn), shoplakev1.NewTableServiceClient(s.conn)
	s.sources, s.rows, s.health = shoplakev1.NewSourceServiceClient(s.conn), shoplakev1.NewQuarantineServiceClient(s.conn), shoplakev1.NewHealthServiceClient(s.conn)
	return s
}

// startWorker starts a worker in this process.
func (s *shop) startWorker() {
	s.t.Helper()
	s.startWorkerAs(worker.Config{MemoryLimit: 1 << 30})
}

// startWorkerAs starts a worker that is configured in another way.
func (s *shop) startWorkerAs(c worker.Config) *worker.Worker {
	s.t.Helper()
	c.Bus, c.Warehouse, c.Landing, c.ScratchDir, c.Log = bus.Config{Server: s.nats}, s.path("lake"), s.path("landing"), s.path("scratch"), s.log
	w, err := worker.Start(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 10*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			s.t.Error(err)
		}
	})
	return w
}

// path is a folder or file of the shop.
func (s *shop) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// drop writes a landing file.
func (s *shop) drop(source, name, content string) {
	s.t.Helper()
	path := s.path("landing", source, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path+".part", []byte(content), 0o644); err != nil { // which nobody reads: flows may start when files arrive
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		s.t.Fatal(err)
	}
}

// run submits a run and watches it to its end.
func (s *shop) run(request *shoplakev1.SubmitRunRequest) (*shoplakev1.Run, map[string]*shoplakev1.Stage) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	run, err := s.runs.SubmitRun(ctx, request)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.toEnd(ctx, run.GetName())
}

// toEnd watches a run to its end.
func (s *shop) toEnd(ctx context.Context, name string) (run *shoplakev1.Run, stages map[string]*shoplakev1.Stage) {
	s.t.Helper()
	stages = map[string]*shoplakev1.Stage{}
	stream, err := s.runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	for run.GetEndTime() == nil {
		change, err := stream.Recv()
		if err != nil {
			s.t.Fatal(err)
		}
		run = change.GetRun()
		for _, stage := range change.GetStages() {
			stages[stage.GetTable()] = stage
		}
	}
	return run, stages
}

// testWriter sends the logs of a shop to its test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(p))
	}
	return len(p), nil
}
