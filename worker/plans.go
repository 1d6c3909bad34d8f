package worker

import (
	"context"
	"fmt"
	"path"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// plans are the plans of stages that were read last: a plan names all tasks of its stage, which may be 100,000, and to read it for each
// of them would take longer the more there are.
type plans struct {
	read func(ctx context.Context, path, sha string, plan *dispatchv1.StagePlan) error

	mu     sync.Mutex
	latest *lru.Cache[string, *stagePlan]
}

// stagePlan is a plan, which several attempts share: nobody changes it.
type stagePlan struct {
	*dispatchv1.StagePlan
	tasks map[string]*dispatchv1.TaskPlan
}

// newPlans keeps so many plans.
func newPlans(n int, read func(ctx context.Context, path, sha string, plan *dispatchv1.StagePlan) error) (*plans, error) {
	latest, err := lru.New[string, *stagePlan](n)
	if err != nil {
		return nil, fmt.Errorf("make room for the plans of stages: %w", err)
	}
	return &plans{read: read, latest: latest}, nil
}

// of gives the plan of a task's stage, and the task's part of it.
func (p *plans) of(ctx context.Context, t *dispatchv1.Task) (*dispatchv1.StagePlan, *dispatchv1.TaskPlan, error) {
	plan, err := p.get(ctx, t)
	if err != nil {
		return nil, nil, fmt.Errorf("read the plan of %s: %w", t.GetStage(), err)
	}
	task := plan.tasks[t.GetTaskId()]
	if task == nil {
		return nil, nil, fmt.Errorf("the plan %s has no task %q", t.GetPlanPath(), t.GetTaskId())
	}
	return plan.StagePlan, task, nil
}

func (p *plans) get(ctx context.Context, t *dispatchv1.Task) (*stagePlan, error) {
	p.mu.Lock() // while it is read too: others that begin wait for the same
	defer p.mu.Unlock()
	key := path.Join(t.GetPlanPath(), t.GetPlanSha256())
	if plan, ok := p.latest.Get(key); ok {
		return plan, nil
	}
	plan := &stagePlan{StagePlan: &dispatchv1.StagePlan{}, tasks: map[string]*dispatchv1.TaskPlan{}}
	if err := p.read(ctx, t.GetPlanPath(), t.GetPlanSha256(), plan.StagePlan); err != nil {
		return nil, err
	}
	for _, task := range plan.GetTasks() {
		plan.tasks[task.GetTaskId()] = task
	}
	p.latest.Add(key, plan)
	return plan, nil
}
