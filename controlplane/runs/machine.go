package runs

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// maxPlans is how often a stage is planned because what it reads changed meanwhile; the last plan's tasks fail as others do.
const maxPlans = 5

// attempts is how often a task of the stage is tried before the stage fails.
func (st *Stage) attempts() int {
	if n := st.Planned.GetAttempts(); n > 0 {
		return int(n)
	}
	return pipeline.DefaultWork.Attempts
}

// ActionKind is something for the coordinator to do.
type ActionKind int

// What the coordinator does, in the order of a run.
const (
	// Start pins the snapshots of all tables and lays out the stages.
	Start ActionKind = iota + 1
	// Plan finds out what is stale in a stage and plans its tasks.
	Plan
	// Release puts a task into the work queue.
	Release
	// Gather lists what the tasks staged and announces checks or commit.
	Gather
	// Announce writes into the log what cannot be called back before it is done: the commit of a stage or, without one, that
	// `published` moves. A cancel comes before it or is refused.
	Announce
	// CommitStage makes the staged files part of the tables.
	CommitStage
	// Publish moves `published`.
	Publish
	// Finish ends the run.
	Finish
	// Fail fails a stage: its checks found rows.
	Fail
	// Resume pins the snapshots of all tables again, for a run that another one overtook.
	Resume
	// Preview closes a stage of a dry run: what would be built is known, and nothing of it is checked or committed.
	Preview
)

// Action is one thing to do. Doing it again, after a crash or by another coordinator, is harmless.
type Action struct {
	Kind ActionKind
	// Stage is the table; empty where the action is the run's.
	Stage string
	// PlanNumber is the plan of the stage that the action belongs to: what was begun for one that was given up says nothing of the next.
	PlanNumber uint32
	// Task and ReleaseNumber are set for Release.
	Task          string
	ReleaseNumber uint32
	// Life is that of the run: what was begun in a former one says nothing of this.
	Life uint32
	// State is what Finish ends the run with.
	State shoplakev1.RunState
	// Message is why, for Fail.
	Message string
}

// Key names the action, so that the coordinator does not begin it twice, and knows whether its outcome is still asked for.
func (a Action) Key() string {
	// Not by fmt: a task that waits is asked for its key at every decision.
	key := make([]byte, 0, 64)
	key = append(strconv.AppendInt(key, int64(a.Kind), 10), '/')
	key = append(append(key, a.Stage...), '/')
	key = append(strconv.AppendUint(key, uint64(a.PlanNumber), 10), '/')
	key = append(append(key, a.Task...), '/')
	key = append(strconv.AppendUint(key, uint64(a.ReleaseNumber), 10), '/')
	key = append(strconv.AppendInt(key, int64(a.State), 10), '/')
	return string(strconv.AppendUint(key, uint64(a.Life), 10))
}

// releasing is the action that puts a task into the work queue.
func releasing(st *Stage, t *Task) Action {
	return Action{Kind: Release, Stage: st.Table, PlanNumber: st.Plans, Task: t.ID, ReleaseNumber: t.Release}
}

// Next says what is to be done, given the state. It is pure: the same state gives the same actions.
func Next(s *State) []Action { return next(s, math.MaxInt, nil) }

// next is Next with no more than so many releases of each stage, of tasks that are not to be passed over.
func next(s *State, releases int, pass func(*Stage, *Task) bool) []Action {
	switch {
	case s.Submitted == nil || s.Terminal():
		return nil
	case s.Phase == shoplakev1.RunState_RUN_STATE_QUEUED:
		return []Action{{Kind: Start, Life: s.Life}}
	case s.Publishing:
		return []Action{{Kind: Publish, Life: s.Life}}
	case s.Suspended && s.Phase == shoplakev1.RunState_RUN_STATE_RUNNING:
		return []Action{{Kind: Resume, Life: s.Life}}
	}
	var actions []Action
	terminal, good := true, true
	for _, st := range s.Stages {
		terminal = terminal && st.Terminal()
		good = good && st.Good()
		actions = append(actions, nextOfStage(s, st, releases, pass)...)
	}
	if !terminal {
		return actions
	}
	switch {
	case s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLING:
		return []Action{{Kind: Finish, State: shoplakev1.RunState_RUN_STATE_CANCELLED, Life: s.Life}}
	case good && s.Dry():
		return []Action{{Kind: Finish, State: shoplakev1.RunState_RUN_STATE_SUCCEEDED, Life: s.Life}}
	case good:
		return []Action{{Kind: Announce, Life: s.Life}}
	}
	return []Action{{Kind: Finish, State: shoplakev1.RunState_RUN_STATE_FAILED, Life: s.Life}}
}

func nextOfStage(s *State, st *Stage, releases int, pass func(*Stage, *Task) bool) []Action {
	switch st.State {
	case shoplakev1.StageState_STAGE_STATE_WAITING:
		for _, d := range st.DependsOn {
			if dep := s.stages[d]; dep != nil && !dep.Good() {
				return nil
			}
		}
		return []Action{{Kind: Plan, Stage: st.Table, PlanNumber: st.Plans + 1}}
	case shoplakev1.StageState_STAGE_STATE_RUNNING:
		if st.tally.count[succeeded] == len(st.Tasks) {
			kind := Gather
			if s.Dry() {
				kind = Preview
			}
			return []Action{{Kind: kind, Stage: st.Table, PlanNumber: st.Plans}}
		}
		var actions []Action
		for _, t := range st.waiting(releases, pass) {
			actions = append(actions, releasing(st, t))
		}
		return actions
	case shoplakev1.StageState_STAGE_STATE_CHECKING:
		return nextOfChecks(st)
	case shoplakev1.StageState_STAGE_STATE_COMMITTING:
		return []Action{{Kind: CommitStage, Stage: st.Table, PlanNumber: st.Plans}}
	}
	return nil
}

func nextOfChecks(st *Stage) []Action {
	switch st.Check.State {
	case shoplakev1.TaskState_TASK_STATE_QUEUED:
		return []Action{releasing(st, st.Check)}
	case shoplakev1.TaskState_TASK_STATE_SUCCEEDED:
		if message := failedChecks(st.Check.Done.GetCheckFailures()); message != "" {
			return []Action{{Kind: Fail, Stage: st.Table, PlanNumber: st.Plans, Message: message}}
		}
		return []Action{{Kind: Announce, Stage: st.Table, PlanNumber: st.Plans}}
	}
	return nil
}

// failedChecks words the checks of severity error that found rows; empty where there are none.
func failedChecks(failures []*dispatchv1.CheckFailure) string {
	var b strings.Builder
	for _, f := range failures {
		if f.GetSeverity() == "error" {
			fmt.Fprintf(&b, "check %s found %d rows, for example %s; ", f.GetCheck(), f.GetRows(), f.GetSample())
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String() + "the table stays as it was: mend the data or the check, then run again"
}
