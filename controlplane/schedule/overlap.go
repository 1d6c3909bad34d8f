package schedule

import (
	"slices"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// Decision is what is done about an occurrence.
type Decision int

// Decisions.
const (
	// Submit: it becomes a run.
	Submit Decision = iota
	// Queue: it waits until fewer runs are open.
	Queue
	// Skip: it becomes none.
	Skip
	// CancelRunning: runs that are open are cancelled, and it waits until they have ended.
	CancelRunning
)

// Overlap decides about an occurrence of a flow that has so many open runs.
func Overlap(policy pipeline.Overlap, concurrency, open int) Decision {
	switch {
	case open < max(1, concurrency):
		return Submit
	case policy == pipeline.OverlapSkip:
		return Skip
	case policy == pipeline.OverlapCancelRunning:
		return CancelRunning
	}
	return Queue
}

// OpenRun is a run that was submitted and has not ended.
type OpenRun struct {
	ID         string
	Cancelling bool
}

// Turn is what is done now about the occurrences of a flow that wait.
type Turn struct {
	// Skipped become no runs, since others are still going.
	Skipped []Occurrence
	// Cancel are runs that are cancelled.
	Cancel []string
}

// Decide decides about the occurrences that wait: those whose turn it is go from Waiting to Submitting. ready says whether an
// occurrence need not wait for a file, and what a person should know about that. open are the flow's open runs, the oldest first.
func Decide(f *pipeline.Flow, st State, open []OpenRun, ready func(Occurrence) (note string, ok bool)) (Turn, State) {
	var turn Turn
	if st.Paused || len(st.Waiting) == 0 {
		return turn, st
	}
	// Events wait for their turn whatever the schedule says: what happened must be dealt with, and one run deals with all of it.
	events, policy, concurrency := pipeline.OverlapQueue, pipeline.OverlapQueue, 1
	if f.Schedule != nil {
		policy, concurrency = f.Schedule.OnOverlap, f.Schedule.Concurrency
	}
	waiting := st.Waiting
	st.Waiting, st.Submitting = nil, slices.Clone(st.Submitting)
	going := len(open) + len(st.Submitting)
	for _, o := range waiting {
		note, ok := ready(o)
		if !ok {
			st.Waiting = append(st.Waiting, o)
			continue
		}
		by := events
		if o.Scheduled {
			by = policy
		}
		switch Overlap(by, concurrency, going) {
		case Submit:
			o.Note = note
			st.Submitting = append(st.Submitting, o)
			going++
		case Queue:
			st.Waiting = append(st.Waiting, o)
		case Skip:
			turn.Skipped = append(turn.Skipped, o)
		case CancelRunning:
			// What waits already gives way as well.
			st.Waiting = slices.DeleteFunc(st.Waiting, func(older Occurrence) bool {
				_, ready := ready(older)
				gives := older.Scheduled && ready
				if gives {
					turn.Skipped = append(turn.Skipped, older)
				}
				return gives
			})
			st.Waiting = append(st.Waiting, o)
			turn.Cancel = toCancel(open, going, concurrency)
		}
	}
	return turn, st
}

// Advance decides which times have come, and whose turn it is.
func Advance(f *pipeline.Flow, st State, now time.Time, open []OpenRun, ready func(Occurrence) (string, bool)) (Turn, State, error) {
	due, st, err := Due(f.Schedule, st, now)
	if err != nil {
		return Turn{}, st, err
	}
	st.Waiting = append(slices.Clone(st.Waiting), due...)
	turn, st := Decide(f, st, open, ready)
	return turn, st, nil
}

// toCancel are the open runs, the oldest first, without which there would be room for one more.
func toCancel(open []OpenRun, going, concurrency int) []string {
	excess := going - concurrency + 1
	for _, r := range open {
		if r.Cancelling {
			excess--
		}
	}
	var ids []string
	for _, r := range open {
		if !r.Cancelling && len(ids) < excess {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// Add puts an event among the occurrences that wait, unless one waits already: its run will deal with both.
func Add(st State, event Occurrence) State {
	for _, o := range st.Waiting {
		if !o.Scheduled {
			return st
		}
	}
	st.Waiting = append(slices.Clone(st.Waiting), event)
	return st
}
