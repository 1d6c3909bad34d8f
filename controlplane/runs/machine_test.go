package runs

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// graph is a small diamond: two sources, a join, a leaf.
var graph = []*dispatchv1.StageNode{
	{Table: "bronze.a"}, {Table: "bronze.b"},
	{Table: "silver.ab", DependsOn: []string{"bronze.a", "bronze.b"}},
	{Table: "gold.a", DependsOn: []string{"bronze.a"}},
	{Table: "gold.ab", DependsOn: []string{"gold.a", "silver.ab"}},
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

// Where a worker finds other files than were planned the stage is planned again, but not for ever.
func TestStageIsPlannedAgainWhereItsInputIsAnother(t *testing.T) {
	t.Parallel()
	s := NewState("r")
	apply := func(e *dispatchv1.RunEvent) {
		t.Helper()
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{}}})
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: graph[:1]}}})
	st := s.Stage("bronze.a")
	for plan := uint32(1); plan <= maxPlans; plan++ {
		if actions := Next(s); len(actions) != 1 || actions[0].Kind != Plan || actions[0].PlanNumber != plan {
			t.Fatalf("before plan %d the next is %v", plan, actions)
		}
		sha := fmt.Sprint("plan ", plan)
		apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: "bronze.a", PlanNumber: plan, PlanSha256: sha, TaskIds: []string{"1", "2"}, Attempts: 1}}})
		apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: &dispatchv1.TaskReport{Stage: "bronze.a", TaskId: "2", AttemptId: sha, Release: 1, PlanSha256: sha,
			Outcome: &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: "b.csv is another", PlanAgain: true}}}}})
		if plan < maxPlans && (st.State != shoplakev1.StageState_STAGE_STATE_WAITING || st.Reason != "b.csv is another") {
			t.Errorf("after plan %d the stage is %v: %s", plan, st.State, st.Reason)
		}
	}
	if st.State != shoplakev1.StageState_STAGE_STATE_FAILED || st.Failure.Message != "b.csv is another" {
		t.Errorf("after the last plan the stage is %v: %v", st.State, st.Failure)
	}
}

// A task that its worker gave back is released again at once and loses none of its attempts; a report of before changes nothing.
func TestHandedBack(t *testing.T) {
	t.Parallel()
	s := NewState("01")
	apply := func(e *dispatchv1.RunEvent) {
		t.Helper()
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	apply(submitted("daily"))
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: graph[:1]}}})
	apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: "bronze.a", PlanNumber: 1, PlanSha256: "x", TaskIds: []string{"1"}, Attempts: 1}}})
	report := func(attempt string, release uint32, failed *dispatchv1.TaskFailed) {
		t.Helper()
		r := &dispatchv1.TaskReport{Stage: "bronze.a", TaskId: "1", AttemptId: attempt, Release: release, PlanSha256: "x", Outcome: &dispatchv1.TaskReport_Started{}}
		apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: r}})
		r = proto.CloneOf(r)
		r.EndTime, r.Outcome = timestamppb.Now(), &dispatchv1.TaskReport_Failed{Failed: failed}
		apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: r}})
	}
	const transient = dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT
	task := s.Stage("bronze.a").Task("1")
	for release := uint32(1); release <= 3; release++ {
		report(fmt.Sprint(release), release, &dispatchv1.TaskFailed{Class: transient, Message: "stopped", HandedBack: true})
		if next := Next(s); len(next) != 1 || next[0].Kind != Release || next[0].ReleaseNumber != release+1 || task.Failures != 0 || task.due("01", "bronze.a").After(task.QueuedAt) {
			t.Fatalf("release %d was given back, next is %v, and the task is %+v", release, next, task)
		}
		report(fmt.Sprint(release), release, &dispatchv1.TaskFailed{Class: transient, Message: "stopped", HandedBack: true})
	}
	report("4", 4, &dispatchv1.TaskFailed{Class: transient, Message: "boom"})
	if st := s.Stage("bronze.a"); st.State != shoplakev1.StageState_STAGE_STATE_FAILED || st.Failure.Message != "boom" {
		t.Errorf("its one attempt failed, and the stage is %v: %v", st.State, st.Failure)
	}
	if _, n := s.Stage("bronze.a").failures(); n != 4 {
		t.Errorf("%d attempts came to nothing, want 4", n)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	run := &shoplakev1.Run{State: shoplakev1.RunState_RUN_STATE_FAILED, Flow: "flows/daily", Trigger: shoplakev1.Trigger_TRIGGER_MANUAL}
	for filter, want := range map[string]bool{
		"": true, "state = FAILED": true, "state != FAILED": false, `flow = "flows/daily" AND state = FAILED`: true, `flow="flows/weekly"`: false, "trigger = MANUAL": true,
		"flow = daily": true, `flow != "daily"`: false, "state = failed": true, "dry_run = true": false, "dry_run != true": true,
	} {
		match, err := parseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		} else if match(run) != want {
			t.Errorf("%s matches: %v, want %v", filter, !want, want)
		}
	}
	for _, filter := range []string{"status = x", "state FAILED", "state = FAILED OR flow = x", "'; DROP TABLE",
		"state = FAILD", "trigger != TIMER", "dry_run = yes", "state = UNSPECIFIED", "state = FAILED and flow = daily"} {
		if _, err := parseFilter(filter); !errors.Is(err, ErrFilter) {
			t.Errorf("%q was taken: %v", filter, err)
		}
	}
	const want = `filter cannot be read: state is never "FAILD", but one of QUEUED, RUNNING, CANCELLING, SUCCEEDED, FAILED, CANCELLED`
	if _, err := parseFilter("state = FAILD"); err == nil || err.Error() != want {
		t.Errorf("it is refused by %v, want %s", err, want)
	}
}
