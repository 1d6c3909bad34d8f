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

// loadOf counts the tasks of open runs.
func loadOf(states []*State) Load {
	var l Load
	for _, s := range states {
		if s.Phase != shoplakev1.RunState_RUN_STATE_RUNNING {
			continue
		}
		for _, st := range s.Stages {
			if st.State != shoplakev1.StageState_STAGE_STATE_RUNNING && st.State != shoplakev1.StageState_STAGE_STATE_CHECKING {
				continue
			}
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
		}
	}
	return l
}

// Load is what waits for workers, as this control plane knew it a moment ago; ok is false where another one coordinates.
func (c *Coordinator) Load() (l Load, ok bool) {
	if p := c.latest.Load(); p != nil {
		return *p, true
	}
	return Load{}, false
}

// countLoad notes what waits.
func (l *leader) countLoad() {
	states := make([]*State, 0, len(l.runs))
	for _, r := range l.runs {
		states = append(states, r.state)
	}
	load := loadOf(states)
	load.Slots = int(l.slots.Load())
	l.latest.Store(&load)
}
