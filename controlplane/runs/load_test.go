package runs

import (
	"maps"
	"testing"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	task := func(state shoplakev1.TaskState, queued time.Duration) *Task {
		return &Task{State: state, QueuedAt: at.Add(queued)}
	}
	const queued, running, done = shoplakev1.TaskState_TASK_STATE_QUEUED, shoplakev1.TaskState_TASK_STATE_RUNNING, shoplakev1.TaskState_TASK_STATE_SUCCEEDED
	open := &State{Phase: shoplakev1.RunState_RUN_STATE_RUNNING, Stages: []*Stage{
		{State: shoplakev1.StageState_STAGE_STATE_RUNNING, Tasks: []*Task{task(done, 0), task(running, time.Second), task(queued, 3*time.Second), task(queued, 2*time.Second)}},
		{State: shoplakev1.StageState_STAGE_STATE_CHECKING, Tasks: []*Task{task(done, 0)}, Check: task(queued, 5*time.Second)},
		{State: shoplakev1.StageState_STAGE_STATE_FAILED, Tasks: []*Task{task(queued, 0)}}, // nobody will do it
	}}
	cancelling := &State{Phase: shoplakev1.RunState_RUN_STATE_CANCELLING, Stages: open.Stages}
	open.Stages[0].Planned = &dispatchv1.StagePlanned{Pool: "large"}
	got := loadOf([]*State{open, cancelling, {Submitted: &dispatchv1.RunSubmitted{}}}, func(st *Stage) string { return st.Planned.GetPool() })
	want := map[string]Load{"large": {Waiting: 2, Running: 1, Oldest: at.Add(2 * time.Second)}, "": {Waiting: 1, Oldest: at.Add(5 * time.Second)}}
	if !maps.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
