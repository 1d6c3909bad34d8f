package runs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// model plays coordinator, workers and users against the state machine: it keeps the events of a run, and what would be
// in flight.
type model struct {
	t        *rapid.T
	state    *State
	log      []*dispatchv1.RunEvent
	released map[string]*dispatchv1.TaskReport
	commits  map[string]int
	now      time.Time
}

func newModel(t *rapid.T) *model {
	m := &model{t: t, state: NewState("01J00000000000000000000000"), released: map[string]*dispatchv1.TaskReport{}, commits: map[string]int{}, now: time.Unix(1_800_000_000, 0)}
	m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: "daily"}}})
	return m
}

func (m *model) apply(e *dispatchv1.RunEvent) {
	m.now = m.now.Add(time.Second)
	e.Time = timestamppb.New(m.now)
	m.log = append(m.log, e)
	if err := m.state.Apply(e); err != nil {
		m.t.Fatal(err)
	}
}

// graph is a small diamond: two sources, a join, a leaf.
var graph = []*dispatchv1.StageNode{
	{Table: "bronze.a"}, {Table: "bronze.b"},
	{Table: "silver.ab", DependsOn: []string{"bronze.a", "bronze.b"}},
	{Table: "gold.a", DependsOn: []string{"bronze.a"}},
	{Table: "gold.ab", DependsOn: []string{"gold.a", "silver.ab"}},
}

// do does an action as the coordinator would, with an outcome that chance decides.
func (m *model) do(a Action) {
	table := a.Stage
	switch a.Kind {
	case Start:
		m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Epoch: 1, Stages: graph}}})
	case Plan:
		switch rapid.IntRange(0, 9).Draw(m.t, "plan") {
		case 0:
			m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageUpToDate{StageUpToDate: &dispatchv1.StageUpToDate{Stage: table}}})
		case 1:
			m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: table, Message: "no plan"}}})
		default:
			plan := &dispatchv1.StagePlanned{Stage: table, PlanNumber: a.PlanNumber, PlanSha256: fmt.Sprint(table, a.PlanNumber), HasChecks: table == "silver.ab"}
			for i := range rapid.IntRange(0, 3).Draw(m.t, "tasks") {
				plan.TaskIds = append(plan.TaskIds, fmt.Sprint(i+1))
			}
			m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: plan}})
		}
	case Release:
		sha := m.state.Stage(table).Planned.GetPlanSha256()
		if a.Task == checkTask {
			sha = m.state.Stage(table).Checking.GetPlanSha256()
		}
		m.released[a.Key()] = &dispatchv1.TaskReport{Stage: table, TaskId: a.Task, Release: a.ReleaseNumber, PlanSha256: sha, ReleaseTime: timestamppb.New(m.now), StartTime: timestamppb.New(m.now)}
	case Gather:
		if m.state.Stage(table).Planned.GetHasChecks() {
			m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageChecking{StageChecking: &dispatchv1.StageChecking{Stage: table, PlanSha256: "check of " + m.state.Stage(table).Planned.GetPlanSha256()}}})
		} else {
			m.apply(committing(table, 1, "", ""))
		}
	case Announce:
		m.apply(committing(table, 1, "", ""))
	case CommitStage:
		if rapid.IntRange(0, 9).Draw(m.t, "moved") == 0 {
			m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageReset{StageReset: &dispatchv1.StageReset{Stage: table}}})
			return
		}
		m.commits[table]++
		m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageCommitted{StageCommitted: &dispatchv1.StageCommitted{Stage: table, Snapshots: map[string]int64{table: 7}}}})
	case Fail:
		m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: table, Message: a.Message}}})
	case Publish:
		m.apply(finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, 1, nil))
	case Finish:
		m.apply(finished(a.State, 0, nil))
	}
}

// report lets a worker say something of a release: it began, it is done, it failed, the same again, or too late.
func (m *model) report() {
	keys := make([]string, 0, len(m.released))
	for k := range m.released {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	key := rapid.SampledFrom(keys).Draw(m.t, "release")
	r := dispatchv1.TaskReport{}
	base := m.released[key]
	r.Stage, r.TaskId, r.Release, r.PlanSha256, r.ReleaseTime, r.StartTime = base.Stage, base.TaskId, base.Release, base.PlanSha256, base.ReleaseTime, base.StartTime
	r.AttemptId = fmt.Sprint(rapid.IntRange(1, 3).Draw(m.t, "attempt"), key)
	switch rapid.IntRange(0, 5).Draw(m.t, "outcome") {
	case 0:
		r.Outcome = &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}}
	case 1:
		class := rapid.SampledFrom([]dispatchv1.ErrorClass{dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, dispatchv1.ErrorClass_ERROR_CLASS_BAD_DATA}).Draw(m.t, "class")
		r.EndTime = timestamppb.New(m.now)
		r.Outcome = &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: class, Message: "boom"}}
	default:
		done := &dispatchv1.TaskSucceeded{}
		if r.TaskId == checkTask && rapid.IntRange(0, 3).Draw(m.t, "found") == 0 {
			done.CheckFailures = []*dispatchv1.CheckFailure{{Check: "key", Severity: "error", Rows: 1}}
		}
		r.EndTime = timestamppb.New(m.now)
		r.Outcome = &dispatchv1.TaskReport_Succeeded{Succeeded: done}
	}
	m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: &r}})
}

// check holds the state against what must always be so.
func (m *model) check() {
	for _, st := range m.state.Stages {
		for _, d := range st.DependsOn {
			begun := st.Planned != nil || st.State == shoplakev1.StageState_STAGE_STATE_SUCCEEDED
			if begun && !m.state.Stage(d).Good() {
				m.t.Fatalf("%s began though %s is %v", st.Table, d, m.state.Stage(d).State)
			}
		}
		if m.commits[st.Table] > 1 {
			m.t.Fatalf("%s was committed %d times", st.Table, m.commits[st.Table])
		}
		if st.State == shoplakev1.StageState_STAGE_STATE_SUCCEEDED && m.commits[st.Table] != 1 {
			m.t.Fatalf("%s succeeded without a commit", st.Table)
		}
	}
	if m.state.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		for _, st := range m.state.Stages {
			if !st.Good() {
				m.t.Fatalf("the run succeeded, but %s is %v", st.Table, st.State)
			}
		}
	}
}

func TestEveryRunEndsWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		busy := map[string]bool{}
		for step := 0; !m.state.Terminal(); step++ {
			if step > 2000 {
				t.Fatalf("the run does not end; its stages: %v", states(m.state))
			}
			if rapid.IntRange(0, 200).Draw(t, "cancel") == 0 {
				m.apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}})
			}
			if rapid.IntRange(0, 30).Draw(t, "takeover") == 0 {
				// Another coordinator folds the log and begins everything again.
				again := NewState(m.state.RunID)
				for _, e := range m.log {
					if err := again.Apply(e); err != nil {
						t.Fatal(err)
					}
				}
				m.state, busy = again, map[string]bool{}
			}
			var todo []Action
			for _, a := range Next(m.state) {
				if !busy[a.Key()] {
					todo = append(todo, a)
				}
			}
			if len(todo) > 0 && (len(m.released) == 0 || rapid.Bool().Draw(t, "act")) {
				a := todo[rapid.IntRange(0, len(todo)-1).Draw(t, "action")]
				busy[a.Key()] = a.Kind == Release
				m.do(a)
			} else if len(m.released) > 0 {
				m.report()
			}
			m.check()
		}
		if len(Next(m.state)) != 0 {
			t.Fatal("a run that has ended still wants something done")
		}
	})
}

func TestFirstResultWins(t *testing.T) {
	t.Parallel()
	s := NewState("r")
	apply := func(e *dispatchv1.RunEvent) {
		t.Helper()
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	report := func(attempt, output string) *dispatchv1.RunEvent {
		return &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: &dispatchv1.TaskReport{Stage: "bronze.a", TaskId: "1", AttemptId: attempt, Release: 1, PlanSha256: "p",
			Outcome: &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{OutputPath: output}}}}}
	}
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{}}})
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: graph[:1]}}})
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: "bronze.a", PlanSha256: "p", TaskIds: []string{"1", "2"}}}})
	apply(report("first", "a"))
	apply(report("second", "b"))
	task := s.Stage("bronze.a").Task("1")
	if task.Done.GetOutputPath() != "a" || task.Attempts != 2 {
		t.Errorf("the result is %q of %d attempts, want the first one's of two", task.Done.GetOutputPath(), task.Attempts)
	}
	old := report("third", "c")
	old.GetTask().TaskId, old.GetTask().PlanSha256 = "2", "another plan"
	apply(old)
	if s.Stage("bronze.a").Task("2").Done != nil {
		t.Error("a result of another plan was taken")
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	run := &shoplakev1.Run{State: shoplakev1.RunState_RUN_STATE_FAILED, Flow: "flows/daily", Trigger: shoplakev1.Trigger_TRIGGER_MANUAL}
	for filter, want := range map[string]bool{
		"": true, "state = FAILED": true, "state != FAILED": false, `flow = "flows/daily" AND state = FAILED`: true, `flow="flows/weekly"`: false, "trigger = MANUAL": true,
	} {
		match, err := parseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		} else if match(run) != want {
			t.Errorf("%s matches: %v, want %v", filter, !want, want)
		}
	}
	for _, filter := range []string{"status = x", "state FAILED", "state = FAILED OR flow = x", "'; DROP TABLE"} {
		if _, err := parseFilter(filter); err == nil {
			t.Errorf("%q was taken", filter)
		}
	}
}
