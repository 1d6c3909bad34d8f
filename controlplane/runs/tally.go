package runs

import (
	"hash/fnv"
	"time"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// tally counts a stage's tasks by state and keeps those that wait in order, so that what is to be done next is found without
// looking at all of them: a stage may have 100,000.
type tally struct {
	count map[shoplakev1.TaskState]int
	// queue holds the tasks that are QUEUED, and some that were and are to be passed over.
	queue []*Task
}

// to moves one of the stage's tasks to another state.
func (st *Stage) to(t *Task, state shoplakev1.TaskState) {
	if t != st.Check && st.tally.count != nil {
		st.tally.count[t.State]--
		st.tally.count[state]++
		if state == queued && !t.waits {
			st.tally.queue, t.waits = append(st.tally.queue, t), true
		}
	}
	t.State = state
}

// recount tallies the tasks anew.
func (st *Stage) recount() {
	st.tally = tally{count: map[shoplakev1.TaskState]int{}}
	for _, t := range st.Tasks {
		st.tally.count[t.State]++
		if t.waits = t.State == queued; t.waits {
			st.tally.queue = append(st.tally.queue, t)
		}
	}
}

// waiting are the first tasks of the queue, at most n, that are not to be passed over.
func (st *Stage) waiting(n int, pass func(*Stage, *Task) bool) []*Task {
	q := st.tally.queue
	for len(q) > 0 && q[0].State != queued {
		q[0].waits, q = false, q[1:]
	}
	st.tally.queue = q
	var tasks []*Task
	for i := 0; i < len(q) && len(tasks) < n; i++ {
		if q[i].State == queued && (pass == nil || !pass(st, q[i])) {
			tasks = append(tasks, q[i])
		}
	}
	return tasks
}

const (
	queued    = shoplakev1.TaskState_TASK_STATE_QUEUED
	succeeded = shoplakev1.TaskState_TASK_STATE_SUCCEEDED
	failed    = shoplakev1.TaskState_TASK_STATE_FAILED
)

const (
	// firstBackoff is about how long a task waits after its first failure; it doubles with each, up to longestBackoff.
	firstBackoff   = time.Second
	longestBackoff = time.Minute
)

// due is when a task may be released: after a failure only a while later, not at the same moment as others that failed with it.
func (t *Task) due(runID, table string) time.Time {
	if t.Failures == 0 {
		return t.QueuedAt
	}
	wait := min(firstBackoff<<min(t.Failures-1, 20), longestBackoff)
	// From half of it to the whole, by a hash instead of chance: every coordinator finds the same.
	h := fnv.New32a()
	for _, part := range []string{runID, table, t.ID, string(rune(t.Failures))} {
		h.Write([]byte(part))
	}
	return t.QueuedAt.Add(wait/2 + wait/2*time.Duration(h.Sum32()%1000)/1000)
}
