package runs

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// floor is a workshop of runs under a clock that ticks once a task: what the leader, its queue and the workers do with them, the
// lake left out. Every stage commits at once.
type floor struct {
	t     interface{ Fatalf(string, ...any) }
	slots int
	open  []*running
	clock float64
	tick  int
	// checks says that a check follows the tasks of each stage.
	checks bool
	// slow says that the start of a run takes a while, in which others come.
	slow     bool
	starting []floorStart
	// queue are tasks in the order of their release; at most slots of the first are being done.
	queue []floorTask
	// began is when each run's first task was begun, ended when it ended.
	began, ended map[string]int
	// overtook counts how often a run went before another that had begun.
	overtook int
}

type floorTask struct {
	run *running
	a   Action
}

// floorStart is a run whose start was begun at a tick.
type floorStart struct {
	floorTask
	tick int
}

func (f *floor) add(id string, trigger shoplakev1.Trigger, tables ...string) *running {
	r := newRunning(id)
	r.tables = tableSet(tables)
	if r.rank = ordinary; trigger == shoplakev1.Trigger_TRIGGER_BACKFILL {
		r.rank = background
	}
	f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: "daily", Trigger: trigger.String()}}})
	f.open = append(f.open, r)
	return r
}

func (f *floor) apply(r *running, e *dispatchv1.RunEvent) {
	e.Time = timestamppb.Now()
	if err := r.state.Apply(e); err != nil {
		f.t.Fatalf("%v", err)
	}
}

// advance does what the leader does, until there is nothing more to be done at once. tasks is how many each stage has.
func (f *floor) advance(tasks func(r *running, table string) int) {
	for again := true; again; {
		again = false
		slices.SortFunc(f.open, inTurn)
		hold(f.open)
		granted := grant(f.open, f.slots, &f.clock)
		for _, r := range slices.Clone(f.open) {
			released := 0
			for _, a := range r.todo(&released, granted[r]) {
				switch a.Kind {
				case Start:
					ok, overtaken := admit(f.open, nil, r)
					if !ok {
						continue
					}
					for _, o := range overtaken {
						f.overtook++
						f.apply(o, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Suspended{Suspended: &dispatchv1.RunSuspended{By: r.state.RunID}}})
					}
				case Plan, Resume:
					if held(f.open, r) {
						continue
					}
				}
				if again = true; a.Kind == Start && f.slow {
					r.begins(a)
					f.starting = append(f.starting, floorStart{floorTask{r, a}, f.tick})
					continue
				}
				f.do(r, a, tasks)
			}
		}
		f.open = slices.DeleteFunc(f.open, func(r *running) bool { return r.state.Terminal() })
		f.check()
	}
}

func (f *floor) do(r *running, a Action, tasks func(*running, string) int) {
	switch a.Kind {
	case Start:
		started := &dispatchv1.RunStarted{}
		before := []string{}
		for _, table := range []string{"bronze.a", "silver.a", "gold.a", "bronze.b", "silver.b"} {
			if r.tables[table] {
				started.Stages = append(started.Stages, &dispatchv1.StageNode{Table: table, DependsOn: slices.Clone(before)})
				before = []string{table}
			}
		}
		f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: started}})
	case Plan:
		planned := &dispatchv1.StagePlanned{Stage: a.Stage, PlanNumber: a.PlanNumber, PlanSha256: a.Stage}
		for i := range tasks(r, a.Stage) {
			planned.TaskIds = append(planned.TaskIds, strconv.Itoa(i))
		}
		f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: planned}})
	case Release:
		r.begins(a)
		f.queue = append(f.queue, floorTask{r, a})
	case Resume:
		f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Resumed{Resumed: &dispatchv1.RunResumed{}}})
	case Gather:
		if f.checks {
			f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageChecking{StageChecking: &dispatchv1.StageChecking{Stage: a.Stage, PlanSha256: a.Stage}}})
			return
		}
		f.apply(r, committing(a.Stage, 1, "", ""))
	case CommitStage:
		f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageCommitted{StageCommitted: &dispatchv1.StageCommitted{Stage: a.Stage}}})
	case Announce:
		if a.Stage != "" {
			f.apply(r, committing(a.Stage, 1, "", ""))
			return
		}
		f.apply(r, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Publishing{Publishing: &dispatchv1.RunPublishing{}}})
	case Publish:
		f.ended[r.state.RunID] = f.tick
		f.apply(r, finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, 1, nil))
	default:
		f.t.Fatalf("nothing in this floor asks for %v", a)
	}
}

// work lets the workers do the first tasks of the queue: one a slot.
func (f *floor) work() {
	f.tick++
	n := min(f.slots, len(f.queue))
	for _, task := range f.queue[:n] {
		id := task.run.state.RunID
		if _, ok := f.began[id]; !ok {
			f.began[id] = f.tick - 1
		}
		f.apply(task.run, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: &dispatchv1.TaskReport{Stage: task.a.Stage, TaskId: task.a.Task,
			Release: task.a.ReleaseNumber, AttemptId: fmt.Sprint(id, task.a), PlanSha256: task.a.Stage, StartTime: timestamppb.Now(), EndTime: timestamppb.Now(),
			Outcome: &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{}}}}})
	}
	f.queue = slices.Clone(f.queue[n:])
	f.starting = slices.DeleteFunc(f.starting, func(start floorStart) bool {
		if start.tick == f.tick-1 { // just now: others come meanwhile
			return false
		}
		start.run.ended(outcome{run: start.run, action: start.a})
		f.do(start.run, start.a, nil)
		return true
	})
}

// check: a table has one writing stage at a time, and of two runs that write the same tables one alone is under way.
func (f *floor) check() {
	for i, a := range f.open {
		for _, b := range f.open[i+1:] {
			if a.begun() && b.begun() && !a.state.Suspended && !b.state.Suspended && a.overlaps(b) {
				f.t.Fatalf("runs %s and %s write the same tables at once", a.state.RunID, b.state.RunID)
			}
		}
	}
	if len(f.queue) > releasedPerSlot*f.slots {
		f.t.Fatalf("%d tasks are out for %d slots", len(f.queue), f.slots)
	}
}

func newFloor(t interface{ Fatalf(string, ...any) }, slots int) *floor {
	return &floor{t: t, slots: slots, began: map[string]int{}, ended: map[string]int{}}
}

var everything = []string{"bronze.a", "silver.a", "gold.a"}

// A backfill of a thousand tasks, cut into runs whose stages have no more tasks than there are slots, delays a fresh run by no more
// than one task's time: until the first task of the fresh run begins, no slot does more than what it had begun. A check is a task.
func TestABackfillDelaysAFreshRunByOneTask(t *testing.T) {
	t.Parallel()
	for _, checks := range []bool{false, true} {
		delaysByOneTask(t, checks)
	}
}

func delaysByOneTask(t *testing.T, checks bool) {
	t.Helper()
	stage := 1 // what the tasks of a stage take, one a slot
	if checks {
		stage = 2
	}
	for at := range 40 { // the fresh run comes at any moment
		f := newFloor(t, 4)
		f.checks = checks
		const chunks = 84 // of 3 stages with 4 tasks each: 1,008
		for i := range chunks {
			f.add(fmt.Sprintf("%026d", i), shoplakev1.Trigger_TRIGGER_BACKFILL, everything...)
		}
		tasks := func(*running, string) int { return 4 }
		for range at {
			f.advance(tasks)
			f.work()
		}
		f.advance(tasks)
		fresh := f.add("fresh", shoplakev1.Trigger_TRIGGER_SCHEDULE, everything...)
		for range 2000 {
			f.advance(tasks)
			if len(f.open) == 0 {
				break
			}
			f.work()
		}
		if len(f.ended) != chunks+1 {
			t.Fatalf("fresh run at %d (checks: %t): %d of %d runs ended", at, checks, len(f.ended), chunks+1)
		}
		if waited := f.began[fresh.state.RunID] - at; waited > 1 {
			t.Errorf("fresh run at %d (checks: %t): it waited for %d tasks", at, checks, waited)
		}
		if took := f.ended[fresh.state.RunID] - f.began[fresh.state.RunID]; took > 3*stage {
			t.Errorf("fresh run at %d (checks: %t): its three stages took %d tasks' time", at, checks, took)
		}
	}
}

// Of runs that write other tables each has its part, by weight, and none waits for another's end.
func TestRunsShareWorkersByWeight(t *testing.T) {
	t.Parallel()
	f := newFloor(t, 2)
	f.add("a", shoplakev1.Trigger_TRIGGER_MANUAL, "silver.a")
	f.add("b", shoplakev1.Trigger_TRIGGER_MANUAL, "silver.b")
	f.add("c", shoplakev1.Trigger_TRIGGER_BACKFILL, "gold.a")
	done := map[string]int{}
	tasks := func(*running, string) int { return 1000 }
	for range 300 {
		f.advance(tasks)
		for _, task := range f.queue[:min(2, len(f.queue))] {
			done[task.run.state.RunID]++
		}
		f.work()
	}
	if d := done["a"] - done["b"]; d < -4 || d > 4 || done["c"] < 20 || done["c"] > 40 {
		t.Errorf("of 600 tasks the equal runs had %d and %d, the backfill %d", done["a"], done["b"], done["c"])
	}
}

// TestFloor lets chance submit runs of any urgency over any tables: each ends, and the rules of check hold at every moment.
func TestFloor(t *testing.T) {
	t.Parallel()
	overtaken := 0
	rapid.Check(t, func(t *rapid.T) {
		f := newFloor(t, rapid.IntRange(1, 3).Draw(t, "slots"))
		f.checks, f.slow = rapid.Bool().Draw(t, "checks"), rapid.Bool().Draw(t, "slow")
		sizes := map[string]int{}
		tasks := func(r *running, table string) int {
			key := r.state.RunID + table
			if _, ok := sizes[key]; !ok {
				sizes[key] = rapid.IntRange(0, 5).Draw(t, "tasks")
			}
			return sizes[key]
		}
		sets := [][]string{everything, {"silver.a", "gold.a"}, {"bronze.b", "silver.b"}, {"silver.b"}, {"bronze.a", "silver.a", "gold.a", "bronze.b", "silver.b"}}
		n := rapid.IntRange(1, 8).Draw(t, "runs")
		for i, steps := 0, 0; i < n || len(f.open) > 0; steps++ {
			if steps > 2000 {
				t.Fatalf("%d runs do not end", len(f.open))
			}
			for i < n && rapid.IntRange(0, 2).Draw(t, "submit") == 0 {
				f.add(fmt.Sprintf("%02d", i), rapid.SampledFrom([]shoplakev1.Trigger{shoplakev1.Trigger_TRIGGER_MANUAL, shoplakev1.Trigger_TRIGGER_BACKFILL}).Draw(t, "trigger"),
					rapid.SampledFrom(sets).Draw(t, "tables")...)
				i++
			}
			f.advance(tasks)
			f.work()
		}
		if len(f.ended) != n {
			t.Fatalf("%d of %d runs ended", len(f.ended), n)
		}
		overtaken += f.overtook
	})
	if overtaken == 0 {
		t.Error("no run ever overtook another: this shows less than it should")
	}
}

// A task that failed waits a while, longer each time, and not as long as others that failed at the same moment.
func TestBackoff(t *testing.T) {
	t.Parallel()
	waits := map[string]bool{}
	for id := range 50 {
		for failures := 1; failures < 12; failures++ {
			task := &Task{ID: strconv.Itoa(id), Failures: failures}
			wait := task.due("run", "silver.a").Sub(task.QueuedAt)
			whole := min(firstBackoff<<(failures-1), longestBackoff)
			if wait < whole/2 || wait > whole {
				t.Fatalf("after %d failures a task waits %v, want %v to %v", failures, wait, whole/2, whole)
			}
			if again := task.due("run", "silver.a").Sub(task.QueuedAt); again != wait {
				t.Fatalf("two coordinators find %v and %v", wait, again)
			}
			if failures == 3 {
				waits[wait.String()] = true
			}
		}
	}
	if len(waits) < 25 {
		t.Errorf("50 tasks that failed together come again at %d moments", len(waits))
	}
}

// A task that brings down each worker that has it is given up in the end; one whose worker is heard of is not.
func TestATaskThatNobodyHearsTheEndOf(t *testing.T) {
	t.Parallel()
	s := NewState("run")
	apply := func(e *dispatchv1.RunEvent) {
		e.Time = timestamppb.Now()
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{}}})
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: []*dispatchv1.StageNode{{Table: "silver.a"}}}}})
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: "silver.a", PlanNumber: 1, PlanSha256: "x", TaskIds: []string{"1"}}}})
	for n := range maxLost + 1 {
		if s.Stage("silver.a").State != shoplakev1.StageState_STAGE_STATE_RUNNING {
			t.Fatalf("the stage is %v after %d attempts", s.Stage("silver.a").State, n)
		}
		apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: &dispatchv1.TaskReport{Stage: "silver.a", TaskId: "1", Release: 1, PlanSha256: "x",
			AttemptId: fmt.Sprint(n), StartTime: timestamppb.Now(), Outcome: &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}}}}})
	}
	if st := s.Stage("silver.a"); st.State != shoplakev1.StageState_STAGE_STATE_FAILED || st.Failure == nil {
		t.Errorf("the stage is %v after %d attempts that nobody heard the end of", st.State, maxLost+1)
	}
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	r := newRunning("run")
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	planned := &dispatchv1.StagePlanned{StageTimeout: durationpb.New(time.Hour)}
	r.state.Stages = []*Stage{
		{Table: "silver.a", State: shoplakev1.StageState_STAGE_STATE_RUNNING, Planned: planned, Started: begun},
		{Table: "silver.b", State: shoplakev1.StageState_STAGE_STATE_COMMITTING, Planned: planned, Started: begun}, // its tasks are done
		{Table: "silver.c", State: shoplakev1.StageState_STAGE_STATE_RUNNING, Planned: &dispatchv1.StagePlanned{}, Started: begun},
	}
	if events := r.overdue(begun.Add(time.Hour)); len(events) > 0 {
		t.Errorf("in time, but %v", events)
	}
	if events := r.overdue(begun.Add(time.Hour + 1)); len(events) != 1 || events[0].GetStageFailed().GetStage() != "silver.a" {
		t.Errorf("got %v", events)
	}
}
