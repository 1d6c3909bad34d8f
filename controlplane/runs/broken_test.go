package runs

import (
	"strings"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// TestBrokenRulesAreFound breaks a rule at a time: an exploration that finds nothing then would be worth nothing. Those that
// are marked as past were faults of this program.
func TestBrokenRulesAreFound(t *testing.T) {
	t.Parallel()
	one := stagesOf("bronze.a")
	two := stagesOf("bronze.a", "bronze.b", "silver.a < bronze.a")
	small := func(may budget) *scene {
		return &scene{stages: one, coords: 2, workers: 1, slots: 2, may: may}
	}
	twist := func(f func(before, after *State, e *dispatchv1.RunEvent)) func(*rules) {
		return func(r *rules) { r.twist = f }
	}
	for name, tc := range map[string]struct {
		scene *scene
		rule  func(r *rules)
		want  string
	}{
		"a table does not look at epochs":                                   {small(budget{takeovers: 1}), func(r *rules) { r.epochs = false }, "had fenced"},
		"a commit does not look for itself":                                 {small(budget{crashes: 1}), func(r *rules) { r.tokens, r.bases = false, false }, "committed twice"},
		"a commit that was made is taken for a move":                        {small(budget{crashes: 1}), func(r *rules) { r.tokens = false }, "announced commit"},
		"a commit is put on a table that moved":                             {small(budget{moves: 1}), func(r *rules) { r.bases = false }, "was made on 0 snapshots"},
		"past: publishing is not announced":                                 {small(budget{cancels: 1, crashes: 1}), func(r *rules) { r.announces = false }, "published"},
		"past: a leader appends what it decided on an older log":            {small(budget{cancels: 1, takeovers: 1}), func(r *rules) { r.decideAgain = false }, ""},
		"past: the tasks of a second plan pass for released":                {small(budget{moves: 1}), func(r *rules) { r.plansInKeys = false }, "does not end"},
		"past: a plan is overwritten by a coordinator that slept":           {small(budget{takeovers: 1}), func(r *rules) { r.hashesInPath = false }, "does not end"},
		"past: published is moved back by a coordinator that slept":         {&scene{stages: one, coords: 2, workers: 1, slots: 2, may: budget{takeovers: 1, later: 1}, from: func(s *State) bool { return s.Publishing }}, func(r *rules) { r.pubEpochs = false }, "moved published back"},
		"past: a run begins while something of the one before is under way": {&scene{stages: one, coords: 2, workers: 1, slots: 2, may: budget{takeovers: 1, later: 1}, from: func(s *State) bool { return s.Publishing }}, func(r *rules) { r.waits = false }, "moved published back"},
		"past: a report of a run that another laid out is dropped":          {small(budget{takeovers: 1}), func(r *rules) { r.reads = false }, "does not end"},
		"a run that is resumed does not look at its tables":                 {small(budget{cancels: 1, resumes: 1, later: 1}), func(r *rules) { r.looks = false }, "moved published back"},
		"a cancel reaches into the next life of a run":                      {small(budget{cancels: 1, resumes: 1}), func(r *rules) { r.lives = false }, "does not end"},
		"a run that is resumed does what is done again": {&scene{stages: two, coords: 1, workers: 1, slots: 2, may: budget{bad: 1, resumes: 1}}, twist(func(_, after *State, e *dispatchv1.RunEvent) {
			for _, st := range after.Stages {
				if e.GetReopened() != nil && after.Phase == shoplakev1.RunState_RUN_STATE_QUEUED {
					st.reset("")
				}
			}
		}), "went from"},
		"a cancel stops a commit that was announced": {small(budget{cancels: 1}), twist(func(_, after *State, e *dispatchv1.RunEvent) {
			for _, st := range after.Stages {
				if e.GetCancelRequested() != nil && st.State == announced {
					st.State = shoplakev1.StageState_STAGE_STATE_CANCELLED
				}
			}
		}), "announced commit"},
		"past: a cancelled stage whose table moved is planned again": {small(budget{cancels: 1, moves: 1}), twist(func(before, after *State, e *dispatchv1.RunEvent) {
			if st := after.Stage(e.GetStageReset().GetStage()); st != nil && before.Phase == cancelling {
				st.State = waiting
			}
		}), "planned in a cancelled run"},
		"the last result wins": {&scene{stages: one, tasks: map[string]int{"bronze.a": 2}, coords: 1, workers: 2, slots: 2, may: budget{faults: 1}}, twist(func(_, after *State, e *dispatchv1.RunEvent) {
			if st := after.Stage(e.GetTask().GetStage()); st != nil && e.GetTask().GetSucceeded() != nil && st.Task(e.GetTask().GetTaskId()) != nil {
				st.Task(e.GetTask().GetTaskId()).Done = e.GetTask().GetSucceeded()
			}
		}), "became"},
		"failures are not counted": {&scene{stages: one, coords: 1, workers: 1, slots: 2, may: budget{faults: 4}}, twist(func(_, after *State, e *dispatchv1.RunEvent) {
			if st := after.Stage(e.GetTask().GetStage()); st != nil {
				st.Task(e.GetTask().GetTaskId()).Failures = 0
			}
		}), "release 4"},
		"a failed stage blocks what does not need it": {&scene{stages: two, coords: 1, workers: 1, slots: 2, may: budget{bad: 1}}, twist(func(_, after *State, _ *dispatchv1.RunEvent) {
			for _, st := range after.Stages {
				if st.State == waiting && after.Failure != nil {
					st.State = blocked
				}
			}
		}), "blocked by nothing"},
		"a failed stage blocks nothing": {&scene{stages: two, coords: 1, workers: 1, slots: 2, may: budget{bad: 1}}, twist(func(_, after *State, _ *dispatchv1.RunEvent) {
			for _, st := range after.Stages {
				if st.State == blocked {
					st.State = waiting
				}
			}
		}), "never come"},
		"a run that has ended is ended again": {small(budget{}), twist(func(before, after *State, _ *dispatchv1.RunEvent) {
			if after.Terminal() {
				after.Phase = shoplakev1.RunState_RUN_STATE_RUNNING
			}
		}), "does not end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := soundRules()
			tc.rule(&r)
			f := explore(tc.scene, r, statesOfScene)
			if !strings.Contains(f.wrong, tc.want) || f.wrong == "" {
				t.Fatalf("found %q in %d states, want %q", f.wrong, f.states, tc.want)
			}
			t.Logf("%s\n\t%s", f.wrong, strings.Join(f.trace, "\n\t"))
		})
	}
}
