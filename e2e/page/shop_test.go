// Package page drives the dashboard in a real Chromium, as a person would, against a real Shoplake.
package page

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/sample"
	"github.com/shoplake/shoplake/pipelines"
	"github.com/shoplake/shoplake/worker"
)

// shop is a Shoplake with sample data.
type shop struct {
	t       *testing.T
	dir     string
	nats    *bus.Server
	control *controlplane.ControlPlane
	address string
	// schedules says whether flows start by themselves.
	schedules bool
	conn      *grpc.ClientConn
	log       *slog.Logger
}

// scheduled is a shop whose flows start by themselves.
func scheduled(s *shop) { s.schedules = true }

// open makes data up, where it is to have days, and starts everything but the worker.
func open(t *testing.T, data sample.Config, options ...func(*shop)) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir(), address: "127.0.0.1:0", log: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(s)
	}
	if data.Days > 0 {
		s.make(data)
	}
	var err error
	if s.nats, err = bus.StartServer(t.Context(), bus.ServerConfig{StoreDir: filepath.Join(s.dir, "nats"), InProcessOnly: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nats.Close)
	s.start()
	t.Cleanup(func() { s.stop() })
	if s.conn, err = grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// make adds sample data to the landing folder. Each call needs a folder of its own to make them in.
func (s *shop) make(data sample.Config) {
	s.t.Helper()
	data.Out = s.t.TempDir()
	if _, err := sample.Generate(s.t.Context(), data); err != nil {
		s.t.Fatal(err)
	}
	s.land(data.Out, func(string) bool { return true })
}

// land copies sample data into the landing folder, as far as they are not there: the files whose paths are picked.
func (s *shop) land(from string, picks func(path string) bool) {
	s.t.Helper()
	made := os.DirFS(filepath.Join(from, "landing"))
	err := fs.WalkDir(made, ".", func(path string, entry fs.DirEntry, err error) error {
		to := filepath.Join(s.dir, "landing", path)
		if err != nil || entry.IsDir() {
			return errors.Join(err, os.MkdirAll(to, 0o755))
		}
		if _, err := os.Stat(to); err == nil || !picks(path) {
			return nil // there already: a week's file that an earlier day of the week made
		}
		content, err := fs.ReadFile(made, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// start starts the control plane, at the same address as before.
func (s *shop) start() {
	s.t.Helper()
	var err error
	s.control, err = controlplane.Start(s.t.Context(), controlplane.Config{
		Listen: s.address, Bus: bus.Config{Server: s.nats}, Warehouse: filepath.Join(s.dir, "lake"), Landing: filepath.Join(s.dir, "landing"),
		ScratchDir: filepath.Join(s.dir, "scratch"), Pipeline: pipelines.Ecommerce, Pool: worker.DefaultPool, Settle: time.Nanosecond, MemoryLimit: 1 << 30, Schedules: s.schedules,
		TraceURL: "http://localhost:16686/trace/{trace_id}", Log: s.log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = s.control.Address()
}

func (s *shop) stop() {
	if s.control == nil {
		return
	}
	if err := s.control.Close(); err != nil {
		s.t.Error(err)
	}
	s.control = nil
}

// work starts a worker; the function that it returns stops it.
func (s *shop) work() (stop func()) {
	s.t.Helper()
	w, err := worker.Start(s.t.Context(), worker.Config{
		Bus: bus.Config{Server: s.nats}, Warehouse: filepath.Join(s.dir, "lake"), Landing: filepath.Join(s.dir, "landing"),
		ScratchDir: filepath.Join(s.dir, "scratch"), MemoryLimit: 1 << 30, Log: s.log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 10*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			s.t.Error(err)
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// run runs a flow to its end, whatever that is.
func (s *shop) run(request *shoplakev1.SubmitRunRequest) *shoplakev1.Run {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	runs := shoplakev1.NewRunServiceClient(s.conn)
	run, err := runs.SubmitRun(ctx, request)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: run.GetName()})
	if err != nil {
		s.t.Fatal(err)
	}
	for run.GetEndTime() == nil {
		change, err := stream.Recv()
		if err != nil {
			s.t.Fatal(err)
		}
		run = change.GetRun()
	}
	return run
}

// cell asks a KPI and returns a column of the row of a currency.
func (s *shop) cell(request *shoplakev1.QueryKpiRequest, currency, column string) string {
	s.t.Helper()
	answer := s.answer(request)
	for _, row := range answer.GetRowSet().GetRows() {
		if row.GetFields()["currency"].GetStringValue() == currency {
			return row.GetFields()[column].GetStringValue()
		}
	}
	s.t.Fatalf("%s has no row in %s: %v", request.GetName(), currency, answer)
	return ""
}

// logged writes a line of a run's log, and waits until the API has it.
func (s *shop) logged(run, message string) {
	s.t.Helper()
	b, err := bus.Connect(s.t.Context(), bus.Config{Server: s.nats})
	if err != nil {
		s.t.Fatal(err)
	}
	defer b.Close()
	if err := b.LogLine(&dispatchv1.RunLogLine{RunId: run, Time: timestamppb.Now(), Level: slog.LevelInfo.String(), Message: message}); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	lines, err := shoplakev1.NewRunServiceClient(s.conn).WatchRunLogs(ctx, &shoplakev1.WatchRunLogsRequest{Parent: "runs/" + run})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := lines.Recv(); err != nil {
		s.t.Fatal(err)
	}
}

// activate makes new runs use the shipped pipeline with some files more, or others in their place.
func (s *shop) activate(files map[string]string) {
	s.t.Helper()
	all := maps.Clone(files)
	if all == nil {
		all = map[string]string{}
	}
	err := fs.WalkDir(pipelines.Ecommerce, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || all[path] != "" {
			return err
		}
		content, err := fs.ReadFile(pipelines.Ecommerce, path)
		all[path] = string(content)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	request := &shoplakev1.CreatePipelineRequest{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		request.Files = append(request.Files, &shoplakev1.PipelineFile{Path: path, Content: []byte(all[path])})
	}
	service := shoplakev1.NewPipelineServiceClient(s.conn)
	made, err := service.CreatePipeline(s.t.Context(), request)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := service.ActivatePipeline(s.t.Context(), &shoplakev1.ActivatePipelineRequest{Name: made.GetName()}); err != nil {
		s.t.Fatal(err)
	}
}

// answer asks a KPI.
func (s *shop) answer(request *shoplakev1.QueryKpiRequest) *shoplakev1.QueryKpiResponse {
	s.t.Helper()
	answer, err := shoplakev1.NewKpiServiceClient(s.conn).QueryKpi(s.t.Context(), request)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// recent is a range of the days up to the last that has data, as presets of the page count them.
func (s *shop) recent(days int) (from, to string) {
	s.t.Helper()
	listed, err := shoplakev1.NewKpiServiceClient(s.conn).ListKpis(s.t.Context(), &shoplakev1.ListKpisRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	last, err := time.Parse(time.DateOnly, listed.GetLastDate())
	if err != nil {
		s.t.Fatal(err)
	}
	return last.AddDate(0, 0, 1-days).Format(time.DateOnly), last.AddDate(0, 0, 1).Format(time.DateOnly)
}

// shipped is a file of the shipped pipeline.
func shipped(t *testing.T, path string) string {
	t.Helper()
	content, err := fs.ReadFile(pipelines.Ecommerce, path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
