package runs

import (
	"strings"
	"testing"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func TestAttemptsHaveCauses(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	second := func(n int) time.Time { return at.Add(time.Duration(n) * time.Second) }
	const transient, bug = dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, dispatchv1.ErrorClass_ERROR_CLASS_BUG
	st := &Stage{Table: "silver.orders", State: shoplakev1.StageState_STAGE_STATE_RUNNING, Tasks: []*Task{
		{ID: "2026-01", State: shoplakev1.TaskState_TASK_STATE_RUNNING, StartedAt: second(20), Tries: []*Attempt{
			{ID: "a", Worker: "w1", Release: 1, Started: second(1), Ended: second(9), Error: "a full disk", Class: transient},
			{ID: "b", Worker: "w2", Release: 2, Started: second(10)}, // killed
			{ID: "c", Worker: "w3", Release: 2, Started: second(20)},
		}},
		{ID: "2026-02", State: shoplakev1.TaskState_TASK_STATE_RUNNING, StartedAt: second(24), Tries: []*Attempt{{ID: "d", Worker: "w1", Release: 1, Started: second(24)}}},
		{ID: "2026-03", State: queued, QueuedAt: second(5), Tries: []*Attempt{
			{ID: "e", Worker: "w1", Release: 1, Started: second(2), Ended: second(5), Error: strings.Repeat("ä", 1200), Class: bug},
		}},
		{ID: "2026-04", State: queued, QueuedAt: second(3)},
	}}
	v := st.present("01")
	var got []string
	for _, a := range v.GetFailedAttempts() {
		got = append(got, a.GetTask()+" "+a.GetWorker()+" "+a.GetError().GetClass().String()+" "+a.GetError().GetMessage())
	}
	want := []string{
		"2026-03 w1 ERROR_CLASS_BUG " + strings.Repeat("ä", 999) + "…",
		"2026-01 w1 ERROR_CLASS_TRANSIENT a full disk",
		"2026-01 w2 ERROR_CLASS_TRANSIENT " + silence,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || v.GetFailedAttemptsTotal() != 3 {
		t.Errorf("%d failed attempts:\n%s\nwant\n%s", v.GetFailedAttemptsTotal(), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v.GetTasksRunning() != 2 || !v.GetRunningSince().AsTime().Equal(second(22)) || !v.GetQueuedSince().AsTime().Equal(second(3)) {
		t.Errorf("%d tasks run since %v, others wait since %v", v.GetTasksRunning(), v.GetRunningSince().AsTime(), v.GetQueuedSince().AsTime())
	}
	tries := st.TaskViews("01", nil)[0].GetTries()
	if len(tries) != 3 || tries[1].GetRelease() != 2 || tries[1].GetEndTime() != nil || tries[2].GetError() != nil || tries[2].GetWorker() != "w3" {
		t.Errorf("the tries at the first task are %v", tries)
	}

	// A stage that fails on and on shows the latest only, and nothing runs of one that has ended.
	flaky := &Task{ID: "all", State: shoplakev1.TaskState_TASK_STATE_RUNNING}
	for i := range 25 {
		flaky.Tries = append(flaky.Tries, &Attempt{Started: second(i), Ended: second(i + 1), Class: transient})
	}
	v = (&Stage{Table: "silver.orders", State: shoplakev1.StageState_STAGE_STATE_FAILED, Tasks: []*Task{flaky}}).present("01")
	if n := len(v.GetFailedAttempts()); n != shownFailures || v.GetFailedAttemptsTotal() != 25 || !v.GetFailedAttempts()[n-1].GetEndTime().AsTime().Equal(second(25)) {
		t.Errorf("%d of %d failed attempts are shown: %v", n, v.GetFailedAttemptsTotal(), v.GetFailedAttempts())
	}
	if v.GetTasksRunning() != 0 || v.GetRunningSince() != nil {
		t.Errorf("a stage that has ended runs %d tasks", v.GetTasksRunning())
	}
}
