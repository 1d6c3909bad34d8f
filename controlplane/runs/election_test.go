package runs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
)

// newCoordinator is a coordinator on a NATS server and a lake of its own, which nobody runs.
func newCoordinator(t *testing.T) *Coordinator {
	t.Helper()
	server, err := bus.StartServer(t.Context(), bus.ServerConfig{StoreDir: t.TempDir(), InProcessOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b, err := bus.Connect(t.Context(), bus.Config{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables, err := lake.Open(t.Context(), lake.Config{Warehouse: filepath.Join(t.TempDir(), "lake")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tables.Close() })
	return NewCoordinator(Config{Bus: b, Lake: tables, Log: slog.New(slog.DiscardHandler), Engine: engine.Options{MemoryLimit: 256 << 20,
		SpillDir: t.TempDir(), ReadPaths: []string{tables.Warehouse()}}})
}

// takeOver makes the coordinator a leader as an election would, up to the first decision.
func (c *Coordinator) takeOver(t *testing.T) *leader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	l := &leader{Coordinator: c, epoch: 1, runs: map[string]*running{}, done: make(chan outcome), ctx: ctx}
	if err := l.loadOpenRuns(ctx); err != nil {
		t.Fatal(err)
	}
	return l
}

// write appends events to the log of a run, each as a message of its own.
func (l *Log) write(t *testing.T, id string, events ...*dispatchv1.RunEvent) *State {
	t.Helper()
	s := NewState(id)
	if err := l.fold(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := l.append(t.Context(), s, 0, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func submitted(flow string) *dispatchv1.RunEvent {
	return &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: flow}}}
}

// runID is an id that sorts as its number does.
func runID(n int) string { return fmt.Sprintf("01J%023d", n) }

// Whoever takes over reads the logs of open runs alone, and of these what came after their checkpoints.
func TestTakeoverReadsOpenRunsOnly(t *testing.T) {
	t.Parallel()
	const ended, open, events = 5000, 3, 200
	c := newCoordinator(t)
	succeeded := finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, 1, nil)
	end := func(from, to int) {
		for n := from; n < to; n++ {
			s := c.log.write(t, runID(n), submitted("daily"), succeeded)
			if err := c.Bus.MarkEnded(t.Context(), s.RunID, s.Messages); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads := func() uint64 {
		before := c.Bus.Received()
		l := c.takeOver(t)
		if len(l.runs) != open {
			t.Fatalf("%d runs are open, want %d", len(l.runs), open)
		}
		for id, r := range l.runs {
			if r.state.Messages != events+2 || len(r.state.Notices) != events+1 {
				t.Errorf("run %s was folded from %d messages to %d notices", id, r.state.Messages, len(r.state.Notices))
			}
		}
		return c.Bus.Received() - before
	}
	for n := range open {
		s := c.log.write(t, runID(1_000_000+n), submitted("daily"), &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: graph, Notices: []string{"x"}}}})
		for range events {
			reset := &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: "bronze.a", Notices: []string{"x"}}}}
			if err := c.log.append(t.Context(), s, 0, reset); err != nil {
				t.Fatal(err)
			}
		}
	}
	without := reads()
	for n := range open {
		c.log.keepCheckpoint(t.Context(), c.log.write(t, runID(1_000_000+n)))
	}
	few := reads()
	if few+open*events > without {
		t.Errorf("%d messages were read with checkpoints, %d without", few, without)
	}
	end(0, ended)
	if many := reads(); many > few {
		t.Errorf("%d messages were read beside %d runs that have ended, %d without them", many, ended, few)
	}
	// One that ended without a mark is read once, and marked.
	c.log.write(t, runID(ended), submitted("daily"), succeeded)
	reads()
	if index, err := c.Bus.RunIndex(t.Context()); err != nil || !index.HasEnded(runID(ended)) {
		t.Errorf("run %s is not marked as ended: %v", runID(ended), err)
	}
}

// A power cut may take the end of a log and leave the checkpoint, or the mark, that was made of it.
func TestLogThatLostItsEnd(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	s := c.log.write(t, runID(1), submitted("daily"))
	lost := NewState(runID(1))
	lost.Submitted, lost.Phase, lost.Seq, lost.Messages = s.Submitted, shoplakev1.RunState_RUN_STATE_SUCCEEDED, s.Seq+5, s.Messages+5
	l := &leader{Coordinator: c}
	if err := l.noteEnd(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	r := c.takeOver(t).runs[runID(1)]
	if r == nil || r.state.Phase != shoplakev1.RunState_RUN_STATE_QUEUED || r.state.Seq != s.Seq {
		t.Fatalf("the run that goes on is %+v", r)
	}
	if err := c.log.append(t.Context(), r.state, 0, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}}); err != nil {
		t.Fatal(err)
	}
	if r := c.takeOver(t).runs[runID(1)]; r == nil || r.state.Phase != shoplakev1.RunState_RUN_STATE_CANCELLING || r.state.Messages != 2 {
		t.Errorf("the run that goes on is %+v", r)
	}
}

// A checkpoint that is damaged, or that a newer program wrote, is as good as none.
func TestCheckpointIsLeftAside(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	s := c.log.write(t, runID(1), submitted("daily"), submitted("weekly"))
	s.Notices = []string{"only the checkpoint says this"}
	good, err := encodeCheckpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"newer": newer(t, good), "damaged": append(good[:len(good)-1:len(good)-1], good[len(good)-1]^1)} {
		if err := c.Bus.PutCheckpoint(t.Context(), runID(1), data); err != nil {
			t.Fatal(err)
		}
		if s := c.log.write(t, runID(1)); s.Messages != 2 || len(s.Notices) > 0 || s.Submitted.GetFlow() != "weekly" {
			t.Errorf("%s: the run is folded to %+v", name, s)
		}
	}
	if err := c.Bus.PutCheckpoint(t.Context(), runID(1), good); err != nil {
		t.Fatal(err)
	}
	if s := c.log.write(t, runID(1)); len(s.Notices) != 1 {
		t.Error("a good checkpoint is not read")
	}
}

func plannedAs(table string) *dispatchv1.RunEvent {
	return &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: table, PlanNumber: 1, PlanPath: "plans/gone.pb", PlanSha256: "0"}}}
}

// Who slept while another one took over decides nothing more, also of a run whose log it has read to its end.
func TestDeposedLeaderDecidesNothing(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	id := runID(1)
	c.log.write(t, id, submitted("daily"), &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{
		Epoch: 5, Stages: []*dispatchv1.StageNode{{Table: "bronze.a"}, {Table: "bronze.b"}}}}}, plannedAs("bronze.a"), plannedAs("bronze.b"))
	leads := func(epoch uint64) *leader {
		l := c.takeOver(t)
		l.epoch, l.jobs = epoch, map[string]int{}
		return l
	}
	announce := func(l *leader, table string) error {
		return l.onOutcome(t.Context(), outcome{run: l.runs[id], action: Action{Kind: Gather, Stage: table, PlanNumber: 1},
			events: []*dispatchv1.RunEvent{committing(table, l.epoch, "staged", "0")}})
	}
	sleeper, successor := leads(5), leads(6)
	if err := announce(successor, "bronze.a"); err != nil {
		t.Fatal(err)
	}
	if err := announce(sleeper, "bronze.b"); !errors.Is(err, errFenced) {
		t.Errorf("the sleeper goes on: %v", err)
	}
	s := c.log.write(t, id)
	if a, b := s.Stage("bronze.a").State, s.Stage("bronze.b").State; a != shoplakev1.StageState_STAGE_STATE_COMMITTING || b == a {
		t.Errorf("bronze.a is %v and bronze.b %v", a, b)
	}
}

// Who slept while another one laid out a run takes no report of it out of the queue before it stands in the log.
func TestReportOfARunThatAnotherLaidOut(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	id := runID(1)
	c.log.write(t, id, submitted("daily"))
	sleeper := c.takeOver(t)
	plan := plannedAs("bronze.a")
	plan.GetStagePlanned().TaskIds = []string{"1"}
	c.log.write(t, id, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{
		Stages: []*dispatchv1.StageNode{{Table: "bronze.a"}}}}}, plan)
	acknowledged := false
	err := sleeper.onReports(t.Context(), []bus.ReportDelivery{{
		Report: &dispatchv1.TaskReport{RunId: id, Stage: "bronze.a", TaskId: "1", AttemptId: "a", Release: 1, PlanSha256: plan.GetStagePlanned().GetPlanSha256(),
			Outcome: &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{}}},
		Ack: func() error { acknowledged = true; return nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if done := c.log.write(t, id).Stage("bronze.a").Task("1").Done; acknowledged && done == nil {
		t.Error("a result was acknowledged that no log has")
	}
}

// Who removes a plan, or a table, or writes over a plan, has a stage planned again, and keeps nobody from coordinating.
func TestTakeoverWithoutThePlan(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, c *Coordinator) error{
		"removed": func(*testing.T, *Coordinator) error { return nil },
		"altered": func(t *testing.T, c *Coordinator) error {
			return c.Lake.WriteObject(t.Context(), "plans/gone.pb", []byte("something else"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCoordinator(t)
			if err := spoil(t, c); err != nil {
				t.Fatal(err)
			}
			c.wantTakeoverWithoutThePlan(t)
		})
	}
}

func (c *Coordinator) wantTakeoverWithoutThePlan(t *testing.T) {
	t.Helper()
	c.log.write(t, runID(1), submitted("daily"), &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{
		Stages: []*dispatchv1.StageNode{{Table: "silver.a"}}}}}, plannedAs("silver.a"), committing("silver.a", 1, "staged", "0"))
	table := lake.Schema{Columns: []lake.Column{{Name: "id", Type: "VARCHAR"}}}
	if _, err := c.Lake.EnsureTable(t.Context(), "silver.a", table); err != nil {
		t.Fatal(err)
	}
	l := c.takeOver(t)
	l.epoch = 7
	if err := l.fenceCommits(t.Context()); err != nil {
		t.Fatal(err)
	}
	if epoch, err := c.Lake.HighestEpoch(t.Context()); epoch != l.epoch || err != nil {
		t.Errorf("the table that may be written has seen epoch %d (%v)", epoch, err)
	}
	if _, err := l.commit(t.Context(), gatherFacts(l.runs[runID(1)].state, "silver.a")); !errors.Is(err, errStagedGone) {
		t.Errorf("the commit ends with %v, and the stage is not planned again", err)
	}
}

// A table that another program changes before each commit is not planned for ever.
func TestMovedAgainAndAgain(t *testing.T) {
	t.Parallel()
	r := newRunning("run")
	apply := func(events ...*dispatchv1.RunEvent) {
		for _, e := range events {
			if err := r.state.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(submitted("daily"), &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: []*dispatchv1.StageNode{{Table: "silver.a"}}}}})
	for n := uint32(1); ; n++ {
		plan := plannedAs("silver.a")
		plan.GetStagePlanned().PlanNumber = n
		apply(plan, committing("silver.a", 1, "staged", "0"))
		events, err := r.decide(outcome{run: r, action: Action{Kind: CommitStage, Stage: "silver.a", PlanNumber: n}, err: lake.ErrMoved})
		if err != nil || len(events) != 1 {
			t.Fatalf("plan %d: %v, %v", n, events, err)
		}
		apply(events...)
		if failed := events[0].GetStageFailed(); failed != nil {
			if n != maxPlans || r.state.Stage("silver.a").State != shoplakev1.StageState_STAGE_STATE_FAILED {
				t.Errorf("plan %d ended the stage as %v: %s", n, r.state.Stage("silver.a").State, failed.GetMessage())
			}
			return
		}
		if n == maxPlans {
			t.Fatal("it is planned once more")
		}
	}
}
