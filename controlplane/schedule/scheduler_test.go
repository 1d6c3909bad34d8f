package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// bench is a scheduler on a real bus, with a clock that the test sets and runs that the test ends.
type bench struct {
	t *testing.T
	*Scheduler
	bus *bus.Bus
	now time.Time
	// pipeline is the active one.
	pipeline *pipeline.Pipeline
	// late is what people were told.
	late []string
}

func (b *bench) Active(context.Context) (*pipeline.Pipeline, error) { return b.pipeline, nil }

func setup(t *testing.T, flows ...*pipeline.Flow) *bench {
	t.Helper()
	server, err := bus.StartServer(t.Context(), bus.ServerConfig{StoreDir: t.TempDir(), InProcessOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b := &bench{t: t, now: monday}
	if b.bus, err = bus.Connect(t.Context(), bus.Config{Server: server}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.bus.Close)
	if err := b.bus.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.activate(flows...)
	b.Scheduler = b.another()
	return b
}

// activate makes a pipeline of these flows the active one.
func (b *bench) activate(flows ...*pipeline.Flow) {
	b.pipeline = &pipeline.Pipeline{Digest: fmt.Sprintf("%p", flows), Flows: flows, Sources: []*pipeline.Source{
		{Name: "orders", Contract: &pipeline.Contract{}}, {Name: "inventory", Contract: &pipeline.Contract{}},
	}}
}

// another is a scheduler that has just begun to lead.
func (b *bench) another() *Scheduler {
	b.t.Helper()
	landing := b.t.TempDir()
	if b.Scheduler != nil {
		landing = b.Landing
	}
	s := New(Config{
		States: b.bus, Runs: runs.NewLog(b.bus, nil), Pipelines: b, NewRuns: b.bus.WatchNewRuns, OpenRuns: b.bus.Runs, Landing: landing, Settle: 2 * time.Second,
		Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler),
		OnLate: func(f *pipeline.Flow, nominal time.Time, why string) error {
			b.late = append(b.late, f.Name+" "+nominal.Format(time.DateTime)+": "+why)
			return nil
		},
	})
	if err := s.open(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.landing.close)
	return s
}

// at ticks at a time, with all that happened known.
func (b *bench) at(now time.Time) time.Time {
	b.t.Helper()
	b.now = now
	b.landing.forget()
	for _, r := range b.all() {
		if _, err := b.book.look(b.t.Context(), r.id); err != nil {
			b.t.Fatal(err)
		}
	}
	next, err := b.Tick(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return next
}

type run struct {
	id        string
	submitted *dispatchv1.RunSubmitted
	phase     shoplakev1.RunState
	notices   []string
}

// all are the runs, the oldest first.
func (b *bench) all() []run {
	b.t.Helper()
	var list []run
	err := runs.NewLog(b.bus, nil).List(b.t.Context(), "", func(s *runs.State) bool {
		list = append(list, run{s.RunID, s.Submitted, s.Phase, s.Notices})
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// nominal are the times that the runs of a flow are for.
func (b *bench) nominal(flow string) []string {
	b.t.Helper()
	var times []string
	for _, r := range b.all() {
		if r.submitted.GetFlow() == flow {
			times = append(times, r.submitted.GetNominalTime().AsTime().Format("01-02 15:04"))
		}
	}
	slices.Sort(times) // runs of one millisecond have ids in any order
	return times
}

func (b *bench) expect(what, flow string, want ...string) {
	b.t.Helper()
	if got := b.nominal(flow); !slices.Equal(got, want) {
		b.t.Errorf("%s: %s ran for %v, want %v", what, flow, got, want)
	}
}

// end ends every open run of a flow.
func (b *bench) end(flow string, phase shoplakev1.RunState) {
	b.t.Helper()
	for _, r := range b.all() {
		if r.submitted.GetFlow() != flow || r.phase != shoplakev1.RunState_RUN_STATE_QUEUED && r.phase != shoplakev1.RunState_RUN_STATE_CANCELLING {
			continue
		}
		b.finish(r.id, phase)
	}
}

// finish ends a run.
func (b *bench) finish(id string, phase shoplakev1.RunState) {
	b.t.Helper()
	log, err := b.bus.ReadRun(b.t.Context(), id, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	finished := &dispatchv1.RunEvent{Time: timestamppb.New(b.now), Kind: &dispatchv1.RunEvent_Finished{Finished: &dispatchv1.RunFinished{State: phase.String()}}}
	_, err = b.bus.AppendRun(b.t.Context(), id, log[len(log)-1].Seq, &dispatchv1.RunEvents{Events: []*dispatchv1.RunEvent{finished}})
	if err != nil {
		b.t.Fatal(err)
	}
}

const (
	good   = shoplakev1.RunState_RUN_STATE_SUCCEEDED
	failed = shoplakev1.RunState_RUN_STATE_FAILED
)

func flow(name string, change func(*pipeline.Flow)) *pipeline.Flow {
	f := &pipeline.Flow{Name: name, Select: []string{"*"}}
	change(f)
	return f
}

func dailyFlow(change func(*pipeline.Schedule)) *pipeline.Flow {
	return flow("daily", func(f *pipeline.Flow) {
		f.Schedule = daily(pipeline.CatchUpLatest)
		if change != nil {
			change(f.Schedule)
		}
	})
}

func TestSchedulerRunsWhenItIsTime(t *testing.T) {
	t.Parallel()
	b := setup(t, dailyFlow(nil))
	if next := b.at(monday); !next.Equal(monday.Add(4 * time.Hour)) {
		t.Errorf("looks again at %v", next)
	}
	b.at(monday.Add(4*time.Hour - time.Second))
	b.expect("a second before", "daily")
	next := b.at(monday.Add(4 * time.Hour))
	b.expect("in time", "daily", "03-01 04:00")
	if !next.Equal(monday.Add(24*time.Hour)) && !next.Equal(monday.Add(28*time.Hour)) {
		t.Errorf("looks again at %v", next)
	}
	r := b.all()[0]
	if r.submitted.GetTrigger() != "TRIGGER_SCHEDULE" || r.submitted.GetScheduleKey() != "schedule/2021-03-01T04:00:00Z" ||
		r.submitted.GetRequestId() != RequestID("daily", at(monday.Add(4*time.Hour))) || r.submitted.GetPipelineDigest() != b.pipeline.Digest || r.submitted.GetTraceId() == "" {
		t.Errorf("submitted %v", r.submitted)
	}
	b.at(monday.Add(28 * time.Hour))
	b.expect("while the first is going", "daily", "03-01 04:00")
	b.end("daily", failed)
	b.Scheduler = b.another()
	b.at(monday.Add(29 * time.Hour))
	b.expect("when it has ended, by another leader", "daily", "03-01 04:00", "03-02 04:00")
	b.at(monday.Add(3 * time.Hour))
	b.expect("after the clock went back", "daily", "03-01 04:00", "03-02 04:00")
}

// breaking is a bus whose next write of a flow's state fails: before it was made, or after, as when the process dies.
type breaking struct {
	States
	in    int
	after bool
}

var errDied = errors.New("died")

func (s *breaking) MoveFlowState(ctx context.Context, flow string, next *dispatchv1.FlowState, revision uint64) (uint64, error) {
	if s.in--; s.in != 0 {
		return s.States.MoveFlowState(ctx, flow, next, revision)
	}
	if s.after {
		if _, err := s.States.MoveFlowState(ctx, flow, next, revision); err != nil {
			return 0, err
		}
	}
	return 0, errDied
}

// Wherever a leader dies between deciding, submitting and remembering, the next one neither loses the run nor starts it twice,
// even where the server has forgotten the request.
func TestSchedulerDies(t *testing.T) {
	t.Parallel()
	for _, policy := range []pipeline.Overlap{pipeline.OverlapQueue, pipeline.OverlapSkip, pipeline.OverlapCancelRunning} {
		for _, died := range []breaking{{in: 1}, {in: 1, after: true}, {in: 2}, {in: 2, after: true}} {
			t.Run(fmt.Sprintf("%s write %d after %t", policy, died.in, died.after), func(t *testing.T) {
				t.Parallel()
				b := setup(t, dailyFlow(func(s *pipeline.Schedule) { s.OnOverlap = policy }))
				b.at(monday)
				died.States = b.bus
				b.States = &died
				b.now = monday.Add(4 * time.Hour)
				if _, err := b.Tick(t.Context()); !errors.Is(err, errDied) {
					t.Fatalf("the tick: %v", err)
				}
				b.Scheduler = b.another()
				b.at(monday.Add(4*time.Hour + 10*time.Second))
				b.expect("after it died", "daily", "03-01 04:00")
				if r := b.all()[0]; r.phase != shoplakev1.RunState_RUN_STATE_QUEUED {
					t.Errorf("its run is %v", r.phase)
				}
				st, _, err := Read(t.Context(), b.bus, "daily")
				if err != nil || len(st.Submitting) > 0 || len(st.Waiting) > 0 {
					t.Errorf("state %+v: %v", st, err)
				}
			})
		}
	}
	t.Run("forgotten request", func(t *testing.T) {
		t.Parallel()
		b := setup(t, dailyFlow(nil))
		occurrence := at(monday.Add(4 * time.Hour))
		// Submitted under another request: the server knows nothing of the one that follows from the occurrence.
		_, err := b.Runs.Submit(t.Context(), &dispatchv1.RunSubmitted{Flow: "daily", RequestId: "other", ScheduleKey: occurrence.Key})
		if err != nil {
			t.Fatal(err)
		}
		b.book.started[RequestID("daily", occurrence)] = b.all()[0].id
		st := State{Schedule: *daily(pipeline.CatchUpLatest), Through: occurrence.Nominal, Submitting: []Occurrence{occurrence}}
		if err := keep(t.Context(), b.bus, "daily", State{}, st, 0); err != nil {
			t.Fatal(err)
		}
		b.at(monday.Add(100 * time.Hour))
		if n := len(b.all()); n != 1 { // the times since wait for it
			t.Errorf("%d runs", n)
		}
	})
}

func TestSchedulerPausesAndResumes(t *testing.T) {
	t.Parallel()
	b := setup(t, dailyFlow(nil))
	b.at(monday)
	if err := Move(t.Context(), b.bus, "daily", Pause); err != nil {
		t.Fatal(err)
	}
	b.at(monday.Add(30 * time.Hour))
	b.expect("while paused", "daily")
	if err := Move(t.Context(), b.bus, "daily", func(st State) State { return Resume(st, b.now) }); err != nil {
		t.Fatal(err)
	}
	b.at(monday.Add(31 * time.Hour))
	b.expect("resumed", "daily", "03-02 04:00")
}

func TestSchedulerCancelsAndSkips(t *testing.T) {
	t.Parallel()
	b := setup(t, dailyFlow(func(s *pipeline.Schedule) { s.OnOverlap = pipeline.OverlapCancelRunning }))
	b.at(monday)
	b.at(monday.Add(4 * time.Hour))
	b.at(monday.Add(28 * time.Hour))
	b.expect("while the first is being cancelled", "daily", "03-01 04:00")
	if r := b.all()[0]; r.phase != shoplakev1.RunState_RUN_STATE_CANCELLING {
		t.Errorf("the first is %v", r.phase)
	}
	b.end("daily", shoplakev1.RunState_RUN_STATE_CANCELLED)
	b.at(monday.Add(28*time.Hour + time.Minute))
	b.expect("when it was cancelled", "daily", "03-01 04:00", "03-02 04:00")

	b.activate(dailyFlow(func(s *pipeline.Schedule) { s.OnOverlap = pipeline.OverlapSkip }))
	b.at(monday.Add(52 * time.Hour))
	b.end("daily", good)
	b.at(monday.Add(53 * time.Hour))
	b.expect("a time is skipped", "daily", "03-01 04:00", "03-02 04:00")
	b.at(monday.Add(76 * time.Hour))
	b.expect("the next is not", "daily", "03-01 04:00", "03-02 04:00", "03-04 04:00")
}

func TestSchedulerAfterFlows(t *testing.T) {
	t.Parallel()
	upstream, follower := dailyFlow(nil), flow("report", func(f *pipeline.Flow) { f.After = []string{"daily"} })
	b := setup(t, upstream)
	b.at(monday)
	b.at(monday.Add(4 * time.Hour))
	b.end("daily", good)
	b.activate(upstream, follower)
	b.at(monday.Add(5 * time.Hour))
	b.expect("of what ended before it was there", "report")
	b.at(monday.Add(28 * time.Hour))
	b.end("daily", failed)
	b.at(monday.Add(29 * time.Hour))
	b.expect("after a failure", "report")
	b.at(monday.Add(52 * time.Hour))
	b.end("daily", good)
	b.Scheduler = b.another()
	b.at(monday.Add(53 * time.Hour))
	b.at(monday.Add(54 * time.Hour))
	b.expect("after a success", "report", "03-03 05:00")
	if r := b.all(); r[len(r)-1].submitted.GetTrigger() != "TRIGGER_EVENT" {
		t.Errorf("submitted %v", r[len(r)-1].submitted)
	}
	b.activate(upstream)
	b.at(monday.Add(55 * time.Hour))
	st, _, err := Read(t.Context(), b.bus, "report")
	if err != nil || len(st.After) > 0 {
		t.Errorf("of a flow that is gone, %+v is kept (%v)", st, err)
	}
}

// A run that was submitted earlier and succeeds later than another one of its flow starts what follows it, once, whoever looks.
func TestSchedulerAfterAnOlderRun(t *testing.T) {
	t.Parallel()
	b := setup(t, flow("daily", func(*pipeline.Flow) {}), flow("report", func(f *pipeline.Flow) { f.After = []string{"daily"} }))
	b.at(monday)
	var ids []string
	for _, request := range []string{"older", "newer"} {
		id, err := b.Runs.Submit(t.Context(), &dispatchv1.RunSubmitted{Flow: "daily", RequestId: request})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	b.at(monday.Add(time.Hour))
	b.finish(ids[1], good)
	b.at(monday.Add(2 * time.Hour))
	b.end("report", good)
	b.expect("after the newer", "report", "03-01 02:00")
	b.finish(ids[0], good)
	b.at(monday.Add(3 * time.Hour))
	b.end("report", good)
	b.expect("after the older", "report", "03-01 02:00", "03-01 03:00")
	b.Scheduler = b.another()
	b.at(monday.Add(4 * time.Hour))
	b.expect("with nothing new", "report", "03-01 02:00", "03-01 03:00")
}

func TestSchedulerMindsNoDryRunsAndBackfills(t *testing.T) {
	t.Parallel()
	b := setup(t, dailyFlow(func(s *pipeline.Schedule) { s.OnOverlap = pipeline.OverlapCancelRunning }), flow("report", func(f *pipeline.Flow) { f.After = []string{"daily"} }))
	b.at(monday)
	for i, other := range []*dispatchv1.RunSubmitted{{DryRun: true}, {Backfill: "1"}} {
		other.Flow, other.RequestId = "daily", fmt.Sprint(i)
		if _, err := b.Runs.Submit(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	b.end("daily", good)
	for i, other := range []*dispatchv1.RunSubmitted{{DryRun: true}, {Backfill: "1"}} {
		other.Flow, other.RequestId = "daily", fmt.Sprint("again", i)
		if _, err := b.Runs.Submit(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	b.at(monday.Add(4 * time.Hour))
	b.expect("after runs that do not count", "report")
	if n := len(b.all()); n != 5 {
		t.Errorf("%d runs: the schedule's waits for others", n)
	}
	b.end("daily", good)
	b.at(monday.Add(5 * time.Hour))
	b.expect("after one that counts", "report", "03-01 05:00")
}

// drop writes a landing file that has this time.
func (b *bench) drop(name string, modified time.Time) {
	b.t.Helper()
	path := filepath.Join(b.Landing, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	written := path + ".part" // which the scheduler does not see: with its time set, a file would be another one
	if err := os.WriteFile(written, []byte(name), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chtimes(written, modified, modified); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(written, path); err != nil {
		b.t.Fatal(err)
	}
}

func TestSchedulerOnFiles(t *testing.T) {
	t.Parallel()
	b := setup(t, flow("live", func(f *pipeline.Flow) { f.OnFiles, f.FileSources = true, []string{"orders"} }))
	b.at(monday)
	b.drop("inventory/1.csv", monday)
	b.drop("orders/.hidden.csv", monday)
	b.drop("orders/deep/1.csv", monday.Add(9*time.Second))
	if next := b.at(monday.Add(10 * time.Second)); !next.Equal(monday.Add(11 * time.Second)) {
		t.Errorf("looks for the file that rests again at %v", next)
	}
	b.expect("while it is written", "live")
	b.at(monday.Add(time.Minute))
	b.at(monday.Add(2 * time.Minute))
	b.expect("one file", "live", "03-01 00:01")
	for i := range 3 { // three more while the first run is going: one run for them all
		b.drop(fmt.Sprintf("orders/more%d.csv", i), monday.Add(time.Duration(i)*time.Minute))
		b.at(monday.Add(time.Duration(3+i) * time.Minute))
	}
	b.end("live", failed)
	b.at(monday.Add(7 * time.Minute))
	b.expect("three more", "live", "03-01 00:01", "03-01 00:03")
	b.end("live", good)
	b.Scheduler = b.another()
	b.at(monday.Add(8 * time.Minute))
	b.expect("by another leader nothing", "live", "03-01 00:01", "03-01 00:03")
	if err := os.Remove(filepath.Join(b.Landing, "orders/more1.csv")); err != nil {
		t.Fatal(err)
	}
	b.at(monday.Add(9 * time.Minute))
	b.expect("a file that goes away is no new one", "live", "03-01 00:01", "03-01 00:03")
	b.drop("orders/more0.csv", monday.Add(10*time.Minute))
	b.at(monday.Add(11 * time.Minute))
	b.expect("a file that is replaced is", "live", "03-01 00:01", "03-01 00:03", "03-01 00:11")
}

func TestSchedulerIsLate(t *testing.T) {
	t.Parallel()
	b := setup(t, flow("weekly", func(f *pipeline.Flow) {
		f.Schedule = daily(pipeline.CatchUpLatest)
		f.Schedule.Cron = "30 5 * * 1"
		f.Late = &pipeline.Late{Source: "inventory", After: 12 * time.Hour}
	}))
	b.drop("inventory/old.csv", monday.AddDate(0, 0, -10))
	due := monday.Add(5*time.Hour + 30*time.Minute)
	b.at(monday)
	b.at(due)
	if next := b.at(due.Add(time.Minute)); !next.Equal(due.Add(12 * time.Hour)) {
		t.Errorf("looks again at %v", next)
	}
	b.expect("without the week's file", "weekly")
	st, _, err := Read(t.Context(), b.bus, "weekly")
	if err != nil {
		t.Fatal(err)
	}
	if late, err := Lateness(b.pipeline, b.pipeline.Flows[0], st, b.Landing, b.Settle, b.now); err != nil || !strings.Contains(late, "no file of inventory has landed since 2021-02-22 05:30 UTC") {
		t.Errorf("it is late: %q, %v", late, err)
	}
	b.drop("inventory/new.csv", due.Add(time.Hour))
	b.at(due.Add(2 * time.Hour))
	b.expect("when it came", "weekly", "03-01 05:30")
	b.end("weekly", good)
	b.at(due.AddDate(0, 0, 7).Add(12 * time.Hour))
	b.expect("a week without", "weekly", "03-01 05:30", "03-08 05:30")
	for i, want := range []string{"landed at 2021-03-01 06:30 UTC", "began without"} {
		if n := b.all()[i].notices; len(n) != 1 || !strings.Contains(n[0], want) {
			t.Errorf("run %d has the notices %v, want %q", i, n, want)
		}
	}
	if len(b.late) != 2 || !strings.HasPrefix(b.late[0], "weekly 2021-03-01 05:30:00: no file of inventory") || !strings.HasPrefix(b.late[1], "weekly 2021-03-08") {
		t.Errorf("people were told %q", b.late)
	}
	b.end("weekly", good)
	b.drop("inventory/early.csv", due.AddDate(0, 0, 9))
	b.at(due.AddDate(0, 0, 14))
	b.expect("in time", "weekly", "03-01 05:30", "03-08 05:30", "03-15 05:30")
	if n := b.all()[2].notices; len(n) != 0 {
		t.Errorf("notices %v", n)
	}
}

// The loop itself, with the system's clock: a file that lands starts a run, and the end of one what follows it.
func TestSchedulerLeads(t *testing.T) {
	t.Parallel()
	b := setup(t,
		flow("live", func(f *pipeline.Flow) { f.OnFiles, f.FileSources = true, []string{"orders"} }),
		flow("report", func(f *pipeline.Flow) { f.After = []string{"live"} }))
	news, err := b.bus.WatchNewRuns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.at(monday) // what succeeds before a flow is first seen does not start it
	s := b.another()
	s.Now, s.Settle = time.Now, time.Millisecond
	for range 3 {
		s.Lead(t.Context(), true)
		s.Lead(t.Context(), false)
	}
	s.Lead(t.Context(), true)
	defer s.Lead(t.Context(), false)
	b.drop("orders/1.csv", time.Now())
	<-news
	b.end("live", good)
	<-news
	for len(b.nominal("report")) == 0 {
		<-news
	}
	if n := len(b.all()); n != 2 {
		t.Errorf("%d runs", n)
	}
}
