package runs

import (
	"fmt"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// What must always be so. The rules are those of the design, "The way of a run" (by number) and "Seven ideas".

const (
	waiting    = shoplakev1.StageState_STAGE_STATE_WAITING
	committed  = shoplakev1.StageState_STAGE_STATE_SUCCEEDED
	announced  = shoplakev1.StageState_STAGE_STATE_COMMITTING
	blocked    = shoplakev1.StageState_STAGE_STATE_BLOCKED
	cancelling = shoplakev1.RunState_RUN_STATE_CANCELLING
)

// checkStep holds a change of the log's end against the invariants.
func (w *world) checkStep(before, after *State, e *dispatchv1.RunEvent) {
	// "The folded state": what has ended stays as it is.
	reopened := e.GetReopened() != nil && before.Phase != shoplakev1.RunState_RUN_STATE_SUCCEEDED
	if before.Terminal() && !reopened && canonical(before) != canonical(after) {
		w.fail("the run had ended, and %v changed it", e)
	}
	if after.Terminal() && len(Next(after)) > 0 {
		w.fail("a run that has ended still wants %v", Next(after))
	}
	// A cancel holds: nothing that was not announced goes on.
	if before.Phase == cancelling && after.Phase != cancelling && after.Phase != shoplakev1.RunState_RUN_STATE_CANCELLED {
		w.fail("a cancelled run went on as %v", after.Phase)
	}
	if before.Phase == cancelling && after.Publishing {
		w.fail("a cancelled run announced that published moves")
	}
	for n, st := range after.Stages {
		var old *Stage
		if n < len(before.Stages) {
			old = before.Stages[n]
		} else {
			old = &Stage{State: waiting}
		}
		w.checkStage(before, after, old, st, e)
	}
	w.checkEnd(after)
}

func (w *world) checkStage(before, after *State, old, st *Stage, e *dispatchv1.RunEvent) {
	// What is good stays as it is, also when the run is reopened; what is not is done again, under another plan.
	again := e.GetReopened() != nil && before.Terminal() && !old.Good()
	if again && (st.State != waiting || st.Planned != nil || st.Plans != old.Plans || len(st.Former) != len(old.Former)+len(old.all())) {
		w.fail("%s was %v and is reopened as %v", st.Table, old.State, st.State)
	}
	if old.Terminal() && !again && st.State != old.State {
		w.fail("%s went from %v to %v", st.Table, old.State, st.State)
	}
	if before.Phase == cancelling && st.Planned != nil && old.Planned == nil {
		w.fail("%s was planned in a cancelled run", st.Table)
	}
	// 3: a stage is planned when its inputs are ready; 6: a failed check stops the stage and what depends on it, and only that.
	reason := false
	for _, d := range st.DependsOn {
		dep := after.Stage(d)
		reason = reason || dep.Terminal() && !dep.Good()
		if st.Planned != nil && !dep.Good() {
			w.fail("%s was planned though %s is %v", st.Table, d, dep.State)
		}
	}
	if st.State == blocked && !reason {
		w.fail("%s is blocked by nothing", st.Table)
	}
	if st.State == waiting && reason {
		w.fail("%s waits for what will never come", st.Table)
	}
	// 7: an announced commit is finished or found moved, never forgotten: not by a cancel, not by a takeover.
	if old.State == announced && (st.State != announced || st.Plans != old.Plans || st.StagedSHA256 != old.StagedSHA256) {
		made := w.made(st.Table, old.Plans)
		switch {
		case st.State == committed && made:
		case e.GetStageReset() != nil && !made && fmt.Sprint(len(w.tables[st.Table].snapshots)) != old.Planned.GetPlanPath():
		default:
			w.fail("the announced commit of %s became %v by %v; made: %t", st.Table, st.State, e, made)
		}
	}
	// 7: StageCommitted only if the lake has it.
	if st.State == committed && !w.made(st.Table, st.Plans) {
		w.fail("%s is committed, but its table does not know plan %d: %v", st.Table, st.Plans, w.tables[st.Table].snapshots)
	}
	for i, t := range st.all() {
		// 5: the first result recorded for a task wins.
		if was := old.all(); st.Plans == old.Plans && i < len(was) && was[i].Done != nil && t.Done.GetOutputPath() != was[i].Done.GetOutputPath() {
			w.fail("the result of %s/%s was %q and became %q", st.Table, t.ID, was[i].Done.GetOutputPath(), t.Done.GetOutputPath())
		}
		// 5: attempts are counted, and bounded.
		if t.Failures > st.attempts() || t.Release > uint32(st.attempts()) {
			w.fail("%s/%s failed %d times and is at release %d", st.Table, t.ID, t.Failures, t.Release)
		}
	}
}

// checkEnd holds the end of a run against what it did.
func (w *world) checkEnd(s *State) {
	if !s.Terminal() {
		return
	}
	for _, st := range s.Stages {
		if !st.Terminal() {
			w.fail("the run is %v, but %s is %v", s.Phase, st.Table, st.State)
		}
		if s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED && !st.Good() {
			w.fail("the run succeeded, but %s is %v", st.Table, st.State)
		}
	}
	if s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		if w.pub.by == "" {
			w.fail("the run succeeded and published nothing")
		}
	} else if w.pub.by == "r" {
		// 8: a run that fails or is cancelled moves nothing.
		w.fail("the run is %v, but it published", s.Phase)
	}
}

// made tells whether a table holds the commit of a plan.
func (w *world) made(name string, plan uint32) bool {
	for _, s := range w.tables[name].snapshots {
		if strings.HasPrefix(s, fmt.Sprint(plan, "=")) {
			return true
		}
	}
	return false
}

// checkCommit holds a change of a table against the invariants, when the catalog takes it.
func (w *world) checkCommit(c *coord, j *job, t *table, token string) {
	st := w.log.state.Stage(j.action.Stage)
	// 7: every commit refuses a higher epoch than its own.
	if t.fenced > c.epoch {
		w.fail("epoch %d committed to %s, which epoch %d had fenced", c.epoch, st.Table, t.fenced)
	}
	// 7: committed at most once.
	if w.made(st.Table, j.action.PlanNumber) {
		w.fail("plan %s of %s was committed twice", token, st.Table)
	}
	// 7: if the table moved, the stage is planned again, never rebased.
	if len(t.snapshots) != int(j.base) {
		w.fail("plan %s of %s was made on %d snapshots, and committed on %v", token, st.Table, j.base, t.snapshots)
	}
	// 7: announced before it is made, and not made once it was given up; 5: the files are those of the first results.
	if st.State != announced || st.Plans != j.action.PlanNumber || st.StagedSHA256 != j.staged {
		w.fail("%s was committed (plan %s, files %s), but the log says %v, plan %d, files %s", st.Table, token, j.staged, st.State, st.Plans, st.StagedSHA256)
	}
}

// checkPublish holds a move of published against the invariants, when the record is replaced.
func (w *world) checkPublish(next *dispatchv1.Published) {
	s := w.log.state
	// 8: when all stages are done, published moves; it is announced first, so that a cancel comes before it or is refused.
	if !s.Publishing && !s.Terminal() {
		w.fail("published moved before it was announced")
	}
	for table, id := range w.pub.pb.GetSnapshots() {
		if w.pub.by == "later" && next.GetSnapshots()[table] < id {
			w.fail("a run of old moved published back behind a later one")
		}
	}
	for _, st := range s.Stages {
		if !st.Good() {
			w.fail("published moved though %s is %v", st.Table, st.State)
		}
		// Idea 5: one consistent moment: every table of the run, as the run left it.
		if got, want := next.GetSnapshots()[st.Table], st.Snapshots[st.Table]; got != want {
			w.fail("published has %s at %d, the run left it at %d", st.Table, got, want)
		}
	}
	if next.GetVersion() != w.pub.pb.GetVersion()+1 {
		w.fail("published went from version %d to %d", w.pub.pb.GetVersion(), next.GetVersion())
	}
}
