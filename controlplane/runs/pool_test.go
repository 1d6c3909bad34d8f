package runs

import (
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// A worker that was cut off when a run was cancelled or a stage failed is told again, as long as it says that it does their tasks;
// what somebody waits for goes on.
func TestLeftoversAreStopped(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := newCoordinator(t)
	cancels, err := c.Bus.WatchCancels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	started := &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: graph}}}
	plan := func(stage string) *dispatchv1.RunEvent {
		return &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: stage, PlanNumber: 1, PlanSha256: "x", TaskIds: []string{"1"}}}}
	}
	open, ended, unknown := runID(1), runID(2), runID(3)
	c.log.write(t, open, submitted("daily"), started, plan("bronze.a"), plan("bronze.b"),
		&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: "bronze.a", Message: "x"}}})
	c.log.write(t, ended, submitted("daily"), started, plan("bronze.a"),
		&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}},
		finished(shoplakev1.RunState_RUN_STATE_CANCELLED, 0, nil))
	status := &dispatchv1.WorkerStatus{WorkerId: "w", Slots: 4}
	for _, of := range []string{open + "/stages/bronze.b", unknown + "/stages/bronze.a", open + "/stages/bronze.a", ended + "/stages/bronze.a"} {
		status.Tasks = append(status.Tasks, "runs/"+of+"/tasks/1")
	}
	if err := c.Bus.Heartbeat(ctx, status); err != nil {
		t.Fatal(err)
	}
	l := c.takeOver(t)
	for range 2 { // until the worker says that it has stopped
		l.lookAtWorkers(ctx)
		for _, want := range []bus.Cancelled{{RunID: open, Stage: "bronze.a"}, {RunID: ended}} {
			if got := <-cancels; got != want {
				t.Errorf("workers are told to stop %+v, want %+v", got, want)
			}
		}
	}
}
