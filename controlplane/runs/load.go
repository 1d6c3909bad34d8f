package runs

import (
	"time"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Load is what waits for workers: what an autoscaler goes by.
type Load struct {
	// Waiting counts the tasks that could run now if a worker were free, released or not; Running those that a worker has.
	Waiting, Running int
	// Oldest is since when the task that has waited longest waits; zero where none does.
	Oldest time.Time
	// Slots is how many tasks all workers together do at a time.
	Slots int
}

// loadOf counts the tasks of open runs, by pool.
func loadOf(states []*State, poolOf func(*Stage) string) map[string]Load {
	loads := map[string]Load{}
	for _, s := range states {
		if s.Phase != shoplakev1.RunState_RUN_STATE_RUNNING {
			continue
		}
		for _, st := range s.Stages {
			if st.State != shoplakev1.StageState_STAGE_STATE_RUNNING && st.State != shoplakev1.StageState_STAGE_STATE_CHECKING {
				continue
			}
			l := loads[poolOf(st)]
			for _, t := range st.all() {
				switch t.State {
				case shoplakev1.TaskState_TASK_STATE_RUNNING:
					l.Running++
				case shoplakev1.TaskState_TASK_STATE_QUEUED:
					l.Waiting++
					if l.Oldest.IsZero() || t.QueuedAt.Before(l.Oldest) {
						l.Oldest = t.QueuedAt
					}
				}
			}
			loads[poolOf(st)] = l
		}
	}
	return loads
}

// Loads is what waits for workers, by pool, as this control plane knew it a moment ago; nil where another one coordinates.
func (c *Coordinator) Loads() map[string]Load {
	if p := c.latest.Load(); p != nil {
		return *p
	}
	return nil
}

// countLoad notes what waits.
func (l *leader) countLoad() {
	states := make([]*State, 0, len(l.runs))
	for _, r := range l.runs {
		states = append(states, r.state)
	}
	loads := loadOf(states, l.poolOf)
	for _, pool := range append(l.slots.names(), l.Pool) {
		load := loads[pool]
		if l.slots.there(pool) {
			load.Slots = l.slots.of(pool)
		}
		loads[pool] = load
	}
	l.latest.Store(&loads)
}
