package runs

import (
	"errors"
	"fmt"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
)

// actionTries is how often an action that may succeed later is tried before it fails its stage or run.
const actionTries = 5

// errFenced says that another coordinator has taken over.
var errFenced = errors.New("another coordinator has taken over")

// running is an open run in the leader's hands. What is decided about it here is pure, so that a model can drive it.
type running struct {
	state *State
	// busy holds the actions that are under way, and the releases that are out.
	busy  map[string]bool
	tries map[string]int
	// recorded holds the stages and attempts whose span was recorded.
	recorded map[string]bool
	// purged says that a cancelled run's waiting tasks were taken out of the queue.
	purged bool
	// unkept counts the events since the last checkpoint.
	unkept int
}

func newRunning(runID string) *running {
	return &running{state: NewState(runID), busy: map[string]bool{}, tries: map[string]int{}, recorded: map[string]bool{}}
}

// outcome is what became of an action.
type outcome struct {
	run    *running
	action Action
	events []*dispatchv1.RunEvent
	err    error
}

// todo lists what may be begun: what is to be done next and is not under way, and of releases no more than leave out, the
// tasks that are out, within the limit.
func (r *running) todo(out *int, limit int) []Action {
	var actions []Action
	for _, a := range Next(r.state) {
		if r.busy[a.Key()] {
			continue
		}
		if a.Kind == Release {
			if *out >= limit {
				continue
			}
			*out++
		}
		actions = append(actions, a)
	}
	return actions
}

// released counts the tasks that are out. Those of a stage that has ended are not: nobody waits for them, and what becomes of
// them is not folded any more.
func (r *running) released() int {
	n := 0
	for _, st := range r.state.Stages {
		if st.Terminal() {
			continue
		}
		for _, t := range st.all() {
			if t.State == shoplakev1.TaskState_TASK_STATE_RUNNING || t.State == shoplakev1.TaskState_TASK_STATE_QUEUED && r.busy[releasing(st, t).Key()] {
				n++
			}
		}
	}
	return n
}

// ended notes that an action has come to its end. A task that was released stays out until its result is in.
func (r *running) ended(o outcome) {
	key := o.action.Key()
	if o.err != nil {
		r.tries[key]++
	} else {
		delete(r.tries, key)
	}
	if o.err != nil || o.action.Kind != Release {
		delete(r.busy, key)
	}
}

// decide says what is to be appended for an outcome, given the state: nothing where the state does not ask for the action any
// more (a stage may have been cancelled, or planned by another coordinator, while it was planned), or where it is begun again.
// An error is a reason to step down.
func (r *running) decide(o outcome) ([]*dispatchv1.RunEvent, error) {
	switch {
	case errors.Is(o.err, lake.ErrFenced):
		return nil, fmt.Errorf("%w: %w", errFenced, o.err)
	case errors.Is(o.err, errFenced):
		return nil, o.err
	case !r.wants(o.action):
		return nil, nil
	case o.err == nil:
		return o.events, nil
	case errors.Is(o.err, lake.ErrMoved) && o.action.Kind == CommitStage:
		return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageReset{StageReset: &dispatchv1.StageReset{Stage: o.action.Stage, Reason: sayable(o.err)}}}}, nil
	case o.action.Kind == CommitStage, o.action.Kind == Publish:
		return nil, nil // what was announced is begun again until it is done
	}
	class := classOf(o.err)
	if class == dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT && r.tries[o.action.Key()] < actionTries {
		return nil, nil
	}
	if o.action.Stage != "" {
		return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: o.action.Stage, Class: class, Message: sayable(o.err)}}}}, nil
	}
	return []*dispatchv1.RunEvent{finished(shoplakev1.RunState_RUN_STATE_FAILED, 0, &Failure{Class: class, Message: sayable(o.err)})}, nil
}

// wants says whether the state still asks for an action.
func (r *running) wants(a Action) bool {
	for _, next := range Next(r.state) {
		if next.Key() == a.Key() {
			return true
		}
	}
	return false
}
