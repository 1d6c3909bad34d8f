package worker

import (
	"context"
	"errors"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// A plan is read once for all tasks of its stage, again where others came between, and again where it could not be read.
func TestPlansAreReadOnce(t *testing.T) {
	t.Parallel()
	var reads []string
	broken := true
	p, err := newPlans(2, func(_ context.Context, path, _ string, plan *dispatchv1.StagePlan) error {
		reads = append(reads, path)
		if path == "broken" && broken {
			return errors.New("away")
		}
		plan.Stage, plan.Tasks = path, []*dispatchv1.TaskPlan{{TaskId: "1"}, {TaskId: "2"}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, task string
		reads      int
	}{
		{"a", "1", 1}, {"a", "2", 1}, {"b", "1", 2}, {"a", "1", 2}, {"c", "1", 3}, {"a", "2", 3}, {"b", "2", 4},
	} {
		plan, task, err := p.of(t.Context(), &dispatchv1.Task{PlanPath: c.path, PlanSha256: "x", TaskId: c.task})
		if err != nil {
			t.Fatal(err)
		}
		if plan.GetStage() != c.path || task.GetTaskId() != c.task || len(reads) != c.reads {
			t.Errorf("task %s of %s: got %v of %v, after reading %v", c.task, c.path, task, plan, reads)
		}
	}
	for _, again := range []bool{true, false} {
		broken = again
		if _, _, err := p.of(t.Context(), &dispatchv1.Task{PlanPath: "broken", TaskId: "1"}); (err != nil) != again {
			t.Errorf("broken: %t, read: %v", again, err)
		}
	}
	if _, _, err := p.of(t.Context(), &dispatchv1.Task{PlanPath: "broken", TaskId: "3"}); err == nil {
		t.Error("a task that the plan does not have was found")
	}
}
