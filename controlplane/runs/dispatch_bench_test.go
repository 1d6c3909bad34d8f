package runs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/bench/machine"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/bus/bare"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// noPipelines is a store that has none: the runs of the benchmarks are planned already.
type noPipelines struct{}

func (noPipelines) Get(context.Context, string) (*pipeline.Pipeline, error) {
	return nil, errors.New("none")
}

// benchSlots is how many tasks the workers of the benchmarks do at a time.
const benchSlots = 16

// workshop is a NATS server on a socket, as workers of other processes reach it, a coordinator that leads, and workers whose tasks
// are empty.
type workshop struct {
	b      *testing.B
	server *bus.Server
	bus    *bus.Bus
	log    *Log
	// pause is held by whoever does a task; who takes it whole has the machine to himself.
	pause sync.RWMutex
	// reported counts the tasks whose result was reported.
	reported atomic.Int64
}

func newWorkshop(b *testing.B) *workshop {
	b.Helper()
	ctx := b.Context()
	server, err := bus.StartServer(ctx, bus.ServerConfig{StoreDir: b.TempDir(), Port: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	w := &workshop{b: b, server: server}
	if w.bus, err = bus.Connect(ctx, bus.Config{URL: server.URL(), CredentialsFile: server.CredentialsFile()}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.bus.Close)
	if err := w.bus.Setup(ctx); err != nil {
		b.Fatal(err)
	}
	w.log = NewLog(w.bus, nil)
	return w
}

// open writes the log of a run with a stage of n tasks, planned and not released, and stages that follow it.
func (w *workshop) open(id string, n int, more ...*dispatchv1.StageNode) *State {
	w.b.Helper()
	planned := &dispatchv1.StagePlanned{Stage: "silver.a", PlanNumber: 1, PlanSha256: "x"}
	for i := range n {
		planned.TaskIds = append(planned.TaskIds, strconv.Itoa(i+1))
	}
	s := NewState(id)
	for _, e := range []*dispatchv1.RunEvent{
		{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: "daily", PipelineDigest: "none"}}},
		{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: append([]*dispatchv1.StageNode{{Table: "silver.a"}}, more...)}}},
		{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: planned}},
	} {
		if err := w.log.append(w.b.Context(), s, 0, e); err != nil {
			w.b.Fatal(err)
		}
	}
	return s
}

// lead lets a coordinator lead until the function that it returns is called.
func (w *workshop) lead() (stop func()) {
	w.b.Helper()
	ctx, cancel := context.WithCancel(w.b.Context())
	// What the tasks wrote is asked for when all are done; there is nothing, but that comes after what is measured.
	tables, err := lake.Open(ctx, lake.Config{Warehouse: w.b.TempDir()})
	if err != nil {
		w.b.Fatal(err)
	}
	c := NewCoordinator(Config{Bus: w.bus, Lake: tables, Pipelines: noPipelines{}, Holder: "bench", LeaseTTL: 10 * time.Second, Pool: "default", Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx, func(bool) {}); err != nil {
			w.b.Error(err)
		}
	}()
	return func() { cancel(); <-done; tables.Close() }
}

// work lets workers do empty tasks, as worker.do does them: begun, done, acknowledged.
func (w *workshop) work() (stop func()) {
	w.b.Helper()
	ctx, cancel := context.WithCancel(w.b.Context())
	b, err := bus.Connect(ctx, bus.Config{URL: w.server.URL(), CredentialsFile: w.server.WorkerCredentialsFile()})
	if err != nil {
		w.b.Fatal(err)
	}
	alive := func() error {
		return b.Heartbeat(ctx, &dispatchv1.WorkerStatus{WorkerId: "bench", Slots: benchSlots, Pool: "default", StartTime: timestamppb.Now(), Time: timestamppb.Now()})
	}
	if err := alive(); err != nil {
		w.b.Fatal(err)
	}
	source, err := b.Tasks(ctx, "default", bus.TaskOptions{AckWait: time.Minute})
	if err != nil {
		w.b.Fatal(err)
	}
	var slots sync.WaitGroup
	slots.Go(func() {
		for tick := time.Tick(2 * time.Second); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
				if err := alive(); err != nil && ctx.Err() == nil {
					w.b.Error(err)
				}
			}
		}
	})
	for range benchSlots {
		slots.Go(func() {
			for ctx.Err() == nil {
				w.pause.RLock()
				w.one(ctx, b, source)
				w.pause.RUnlock()
			}
		})
	}
	return func() { cancel(); slots.Wait(); b.Close() }
}

// one does a task.
func (w *workshop) one(ctx context.Context, b *bus.Bus, source *bus.TaskSource) {
	d, err := source.Next(ctx)
	if err != nil {
		return
	}
	report := &dispatchv1.TaskReport{RunId: d.Task.GetRunId(), Stage: d.Task.GetStage(), TaskId: d.Task.GetTaskId(), Release: d.Task.GetRelease(),
		PlanSha256: d.Task.GetPlanSha256(), AttemptId: d.Task.GetTaskId() + "/" + strconv.Itoa(int(d.Task.GetRelease())), Worker: "bench",
		ReleaseTime: d.Task.GetReleaseTime(), StartTime: timestamppb.Now(), Outcome: &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}}}
	if err := b.Report(ctx, report); err != nil {
		return
	}
	report.EndTime = timestamppb.Now()
	report.Outcome = &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{}}
	if err := b.Report(ctx, report); err != nil {
		return
	}
	w.reported.Add(1)
	if err := d.Ack(ctx); err != nil && ctx.Err() == nil {
		w.b.Error(err)
	}
}

// results waits until so many tasks of a run have their result in the log. After each tenth of them the workers pause, while bare
// JetStream does as much: what else the machine does disturbs both alike. What was begun before a pause is done, and its result in
// the log, before bare JetStream begins: all of it counts.
func (w *workshop) results(s *State, n int) (took, bareTook time.Duration) {
	w.b.Helper()
	ctx, cancel := context.WithTimeout(w.b.Context(), 10*time.Minute)
	defer cancel()
	entries, err := w.bus.WatchRun(ctx, s.RunID, s.Seq)
	if err != nil {
		w.b.Fatal(err)
	}
	done := 0
	until := func(want int) {
		for done < want {
			entry, ok := <-entries
			if !ok {
				w.b.Fatalf("%d of %d results are in the log", done, n)
			}
			for _, e := range entry.Events.GetEvents() {
				if e.GetTask().GetSucceeded() != nil {
					done++
				}
			}
		}
	}
	begin, tenth := time.Now(), n/10
	for next := tenth; next < n; next += tenth {
		until(next)
		w.pause.Lock()
		until(int(w.reported.Load()))
		took += time.Since(begin)
		bareTook += w.bare(tenth)
		begin = time.Now()
		w.pause.Unlock()
	}
	until(n)
	return took + time.Since(begin), bareTook
}

const (
	// leastOfBare is how much of the rate of bare JetStream is promised, in percent.
	leastOfBare = 25
	// growth is by how much time and memory a task may differ between runs of any size: measuring the same twice differs as much.
	growth = 1.3
)

// BenchmarkDispatch measures the rate of empty tasks, from released to result in the run's log, beside that of bare JetStream: a
// message published, fetched, acknowledged and answered by another that is published. Time and memory a task must not grow with
// the number of tasks in a run.
func BenchmarkDispatch(b *testing.B) {
	var seconds, bytes float64 // a task, at most in smaller runs
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var all, bareAll time.Duration
			var held uint64
			watch := machine.Begin()
			for b.Loop() {
				w := newWorkshop(b)
				s := w.open(runID(1), n)
				stopWork := w.work()
				before := heap()
				stopLead := w.lead()
				one, bareOne := w.results(s, n)
				after := heap()
				stopLead()
				stopWork()
				all, bareAll = all+one, bareAll+bareOne+w.bare(n/10)
				held += after - min(before, after)
			}
			tasks := float64(n) * float64(b.N)
			took, size, ofBare := all.Seconds()/tasks, float64(held)/tasks, bareAll.Seconds()/all.Seconds()*100
			b.ReportMetric(1/took, "tasks/s")
			b.ReportMetric(tasks/bareAll.Seconds(), "bare/s")
			b.ReportMetric(ofBare, "%ofbare")
			b.ReportMetric(size, "B/task")
			watch.Judge(b, ofBare >= leastOfBare, "an empty task has %.1f %% of the rate of bare JetStream, promised are %d %%", ofBare, leastOfBare)
			if seconds > 0 {
				watch.Judge(b, took <= growth*seconds, "in a run of %d tasks each took %.0f µs, in a smaller one %.0f µs", n, took*1e6, seconds*1e6)
				watch.Judge(b, size <= growth*bytes, "in a run of %d tasks each took %.0f bytes, in a smaller one %.0f", n, size, bytes)
			}
			seconds, bytes = max(seconds, took), max(bytes, size)
		})
	}
}

// bare is how long bare JetStream takes for so many messages, while no worker does anything.
func (w *workshop) bare(n int) time.Duration {
	w.b.Helper()
	rate, err := bare.Rate(w.b.Context(), w.server.URL(), w.server.CredentialsFile(), n, benchSlots)
	if err != nil {
		w.b.Fatal(err)
	}
	return time.Duration(float64(n) / rate * float64(time.Second))
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
