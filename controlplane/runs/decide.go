package runs

import (
	"errors"
	"fmt"
	"slices"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
)

// actionTries is how often an action that may succeed later is tried before it fails its stage or run.
const actionTries = 5

// errFenced says that another coordinator has taken over.
var errFenced = errors.New("another coordinator has taken over")

// errStagedGone says that what was announced can never be committed, since somebody removed or altered it.
var errStagedGone = errors.New("what was to be committed is gone")

// errAltered says of a file in the lake that it is not the one that was written.
var errAltered = errors.New("does not have the content that the run's log names: somebody changed it")

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
	// out are the releases whose task has not begun, as far as is known, by key.
	out map[string]releasedTask
	// now is the time that the leader decides at; a task that is to wait longer is not released. Zero: none waits.
	now time.Time
	// rank and tables say beside whom the run may be under way, and whom it goes before.
	rank   rank
	tables map[string]bool
	// held says that the run gives way to another: it begins no stage, and no task of one that it can leave.
	held bool
	// virtual is how far the run has come in the fair queue.
	virtual float64
	// unkept counts the events since the last checkpoint.
	unkept int
}

func newRunning(runID string) *running {
	return &running{state: NewState(runID), busy: map[string]bool{}, tries: map[string]int{}, recorded: map[string]bool{}, out: map[string]releasedTask{}}
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
	return r.todoBy(max(0, limit-*out), func(*Stage) bool {
		if *out >= limit {
			return false
		}
		*out++
		return true
	})
}

// todoBy is todo with at most so many releases of a stage, each if take agrees.
func (r *running) todoBy(most int, take func(*Stage) bool) []Action {
	var actions []Action
	for _, a := range next(r.state, most, r.passes) {
		if r.busy[a.Key()] {
			continue
		}
		if st := r.state.Stage(a.Stage); a.Kind == Release && (r.keeps(st) || !take(st)) {
			continue
		}
		actions = append(actions, a)
	}
	return actions
}

// passes says whether a task that waits is not to be released now: it is out already, or failed a moment ago.
func (r *running) passes(st *Stage, t *Task) bool {
	return r.busy[releasing(st, t).Key()] || !r.now.IsZero() && t.Failures > 0 && t.due(r.state.RunID, st.Table).After(r.now)
}

// releasedTask is a task that was put into the work queue.
type releasedTask struct {
	stage, task string
	release     uint32
}

// begins notes that an action is under way.
func (r *running) begins(a Action) {
	r.busy[a.Key()] = true
	if a.Kind == Release {
		r.out[a.Key()] = releasedTask{a.Stage, a.Task, a.ReleaseNumber}
	}
}

// released counts the slots that the tasks take which are out. Those of a stage that has ended are not: nobody waits for them, and what becomes of
// them is not folded any more.
func (r *running) released() int { return r.releasedOf(func(*Stage) bool { return true }) }

// releasedOf is released, of the stages that are asked for.
func (r *running) releasedOf(asked func(*Stage) bool) int {
	n := 0
	for key, out := range r.out {
		st := r.state.Stage(out.stage)
		if st == nil || st.Terminal() {
			continue
		}
		if t := st.Task(out.task); t == nil || t.State != queued || releasing(st, t).Key() != key {
			delete(r.out, key)
			delete(r.busy, key)
			continue
		}
		if asked(st) {
			n += st.cost()
		}
	}
	for _, st := range r.state.Stages {
		if st.Terminal() || !asked(st) {
			continue
		}
		n += st.cost() * st.tally.count[shoplakev1.TaskState_TASK_STATE_RUNNING]
		if st.Check != nil && st.Check.State == shoplakev1.TaskState_TASK_STATE_RUNNING {
			n += st.cost()
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
		delete(r.out, key)
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
	case o.action.Kind == CommitStage && (errors.Is(o.err, lake.ErrMoved) || errors.Is(o.err, errStagedGone)):
		if plans := r.state.Stage(o.action.Stage).Plans; plans >= maxPlans {
			return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: o.action.Stage, Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT,
				Message: fmt.Sprintf("planned %d times, and each time another program changed the table before the commit: stop it, then resume the run: %s", plans, sayable(o.err))}}}}, nil
		}
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

// overdue fails the stages that have taken longer than the pipeline lets them.
func (r *running) overdue(now time.Time) []*dispatchv1.RunEvent {
	var events []*dispatchv1.RunEvent
	for _, st := range r.state.Stages {
		limit := st.Planned.GetStageTimeout()
		if limit == nil || st.State != shoplakev1.StageState_STAGE_STATE_RUNNING && st.State != shoplakev1.StageState_STAGE_STATE_CHECKING ||
			now.Sub(st.Started) <= limit.AsDuration() {
			continue
		}
		events = append(events, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: st.Table,
			Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: fmt.Sprintf("its tasks took longer than the stage's timeout of %v, "+
				"the waiting for workers included: add workers, or give it more time (tasks: stage_timeout)", limit.AsDuration())}}})
	}
	return events
}

// wants says whether the state still asks for an action.
func (r *running) wants(a Action) bool {
	if a.Kind == Release {
		st := r.state.Stage(a.Stage)
		if st == nil || st.State != shoplakev1.StageState_STAGE_STATE_RUNNING && st.State != shoplakev1.StageState_STAGE_STATE_CHECKING {
			return false
		}
		t := st.Task(a.Task)
		return t != nil && t.State == queued && releasing(st, t).Key() == a.Key()
	}
	return slices.ContainsFunc(next(r.state, 0, nil), func(n Action) bool { return n.Key() == a.Key() })
}
