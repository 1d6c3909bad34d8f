package runs

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
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
