package runs

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// TestDryRunWritesNothing lets chance drive dry runs: whatever is planned, fails, is cancelled or taken over, the machine asks
// for nothing that commits, checks or publishes, and the run ends.
func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state := NewState("01J00000000000000000000000")
		var log []*dispatchv1.RunEvent
		apply := func(e *dispatchv1.RunEvent) {
			log = append(log, e)
			if err := state.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: "daily", DryRun: true}}})
		failures := map[string]bool{}
		for step := 0; !state.Terminal(); step++ {
			if step > 1000 {
				t.Fatalf("the dry run does not end; its stages: %v", states(state))
			}
			if rapid.IntRange(0, 100).Draw(t, "cancel") == 0 {
				apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}})
			}
			if rapid.IntRange(0, 20).Draw(t, "takeover") == 0 {
				again := NewState(state.RunID)
				for _, e := range log {
					if err := again.Apply(e); err != nil {
						t.Fatal(err)
					}
				}
				state = again
			}
			todo := Next(state)
			if state.Terminal() || len(todo) == 0 {
				t.Fatalf("nothing is to be done in a run that is %v; its stages: %v", state.Phase, states(state))
			}
			a := todo[rapid.IntRange(0, len(todo)-1).Draw(t, "action")]
			switch st := state.Stage(a.Stage); a.Kind {
			case Start:
				apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Epoch: 1, Stages: graph}}})
			case Plan:
				if rapid.IntRange(0, 3).Draw(t, "plan") == 0 {
					apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageUpToDate{StageUpToDate: &dispatchv1.StageUpToDate{Stage: a.Stage}}})
					break
				}
				plan := &dispatchv1.StagePlanned{Stage: a.Stage, PlanNumber: a.PlanNumber, PlanSha256: a.Stage}
				for i := range rapid.IntRange(0, 2).Draw(t, "tasks") {
					plan.TaskIds = append(plan.TaskIds, fmt.Sprint(i+1))
				}
				apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: plan}})
			case Release:
				report := &dispatchv1.TaskReport{Stage: a.Stage, TaskId: a.Task, Release: a.ReleaseNumber, PlanSha256: st.Planned.GetPlanSha256(), EndTime: timestamppb.Now(),
					AttemptId: a.Key(), Outcome: &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{}}}
				if rapid.IntRange(0, 3).Draw(t, "failed") == 0 {
					report.Outcome = &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: "boom"}}
				}
				apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: report}})
			case Preview:
				if slices.ContainsFunc(st.Tasks, func(t *Task) bool { return t.Done == nil }) {
					t.Fatalf("%s is previewed before its files are read", a.Stage)
				}
				apply(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePreviewed{StagePreviewed: &dispatchv1.StagePreviewed{Stage: a.Stage, StagedPath: "staged of " + a.Stage}}})
			case Finish:
				apply(finished(a.State, 0, nil))
			default:
				t.Fatalf("a dry run asks for step %d of %q", a.Kind, a.Stage)
			}
			for _, st := range state.Stages {
				failures[st.Table] = failures[st.Table] || st.State == shoplakev1.StageState_STAGE_STATE_FAILED
				if st.Planned != nil && slices.ContainsFunc(st.DependsOn, func(d string) bool { return !state.Stage(d).Good() }) {
					t.Fatalf("%s was planned before what it reads", st.Table)
				}
			}
		}
		if state.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED && slices.ContainsFunc(state.Stages, func(st *Stage) bool { return !st.Good() || failures[st.Table] }) {
			t.Fatalf("the dry run succeeded, its stages: %v", states(state))
		}
		if state.PublishedVersion != 0 || state.Publishing {
			t.Fatal("a dry run published")
		}
	})
}
