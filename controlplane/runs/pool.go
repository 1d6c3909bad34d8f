package runs

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// poolSlots is how many tasks the workers of each pool together do at a time.
type poolSlots struct {
	mu     sync.RWMutex
	byPool map[string]int
}

// of is 1 at least: what is released to a pool without workers waits for one to come.
func (p *poolSlots) of(pool string) int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return max(1, p.byPool[pool])
}

// there says whether a pool has workers.
func (p *poolSlots) there(pool string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byPool[pool] > 0
}

func (p *poolSlots) set(byPool map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byPool = byPool
}

// names are the pools that have workers, sorted.
func (p *poolSlots) names() []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Sorted(maps.Keys(p.byPool))
}

// poolOf is the pool of workers that does a stage's tasks.
func (l *planner) poolOf(st *Stage) string { return cmp.Or(st.Planned.GetPool(), l.Pool) }

// tasksAtOnce is how many tasks of a stage the workers of its pool do at a time.
func (l *planner) tasksAtOnce(plan *dispatchv1.StagePlan) int {
	return max(1, l.slots.of(cmp.Or(plan.GetPool(), l.Pool))/max(1, int(plan.GetSlots())))
}

// lookAtWorkers counts what workers can do, and stops what they do in vain.
func (l *leader) lookAtWorkers(ctx context.Context) {
	workers, err := l.Bus.Workers(ctx)
	if err != nil {
		l.Log.WarnContext(ctx, "could not count the workers; keeping the last count", "error", err)
		return
	}
	l.countSlots(workers)
	if err := l.stopLeftovers(ctx, workers); err != nil {
		l.Log.WarnContext(ctx, "tasks that nobody waits for may still be done; trying again", "error", err)
	}
}

func (l *leader) countSlots(workers []*dispatchv1.WorkerStatus) {
	slots := map[string]int{}
	for _, w := range workers {
		pool := w.GetPool()
		if pool == "" {
			pool = l.Pool
		}
		if !w.GetDraining() {
			slots[pool] += int(w.GetSlots())
		}
	}
	l.slots.set(slots)
	l.countLoad()
}

// stopLeftovers stops the tasks that workers still do for runs and stages that have ended: nobody waits for them, and others may wait
// for their slots. A worker that was not reached when they were cancelled is told here, until it has heard.
func (l *leader) stopLeftovers(ctx context.Context, workers []*dispatchv1.WorkerStatus) error {
	told := map[bus.Cancelled]bool{}
	for _, w := range workers {
		for _, name := range w.GetTasks() {
			runID, rest, _ := strings.Cut(strings.TrimPrefix(name, "runs/"), "/stages/")
			table, _, _ := strings.Cut(rest, "/tasks/")
			c, err := l.leftover(ctx, runID, table)
			if err != nil {
				return err
			}
			if c.RunID == "" || told[c] {
				continue
			}
			if err := l.Bus.PublishCancel(ctx, c); err != nil {
				return err
			}
			told[c] = true
		}
	}
	return nil
}

// leftover is what is to be cancelled where nobody waits for the tasks of a run's stage; nothing where somebody does.
func (l *leader) leftover(ctx context.Context, runID, table string) (c bus.Cancelled, err error) {
	look := func(s *State) error {
		switch st := s.Stage(table); {
		case s.Terminal():
			c = bus.Cancelled{RunID: runID, Life: s.Life}
		case st != nil && st.Terminal():
			c = bus.Cancelled{RunID: runID, Life: s.Life, Stage: table}
		}
		return nil
	}
	if r := l.runs[runID]; r != nil {
		return c, look(r.state)
	}
	if err = l.log.View(ctx, runID, look); errors.Is(err, ErrNotFound) {
		err = nil // another one's: its log was lost
	}
	return c, err
}
