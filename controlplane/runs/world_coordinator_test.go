package runs

// What coordinators of the model do: they are elected, decide by the real rules, and their actions come to an end in the world, or do not.

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
)

// elect gives a coordinator the lease under the next epoch; it loads the open run.
func (w *world) elect(i int) {
	w.epochs++
	w.coords[i] = coord{epoch: w.epochs, at: w.log, fencing: true, tries: map[string]int{}}
}

// takeOver is fenceCommits: the new coordinator writes its epoch into the tables of announced commits, then begins to work.
func (w *world) takeOver(i int) {
	c := &w.coords[i]
	for _, st := range c.at.state.Stages {
		if st.State != shoplakev1.StageState_STAGE_STATE_COMMITTING || !w.book.rules.fences {
			continue
		}
		t := w.tables[st.Table]
		if t.epoch > c.epoch {
			w.stepDown(i)
			return
		}
		t.epoch, t.fenced = c.epoch, c.epoch
	}
	c.fencing = false
	w.advance(c)
}

// stepDown is a coordinator that stops, crashed or fenced: nothing of it stays.
func (w *world) stepDown(i int) { w.coords[i] = coord{} }

// running is the coordinator's run as the leader holds it.
func (c *coord) running() *running {
	r := &running{state: c.at.state, busy: map[string]bool{}, tries: c.tries, out: map[string]releasedTask{}}
	for _, j := range c.jobs {
		r.begins(j.action)
	}
	for _, a := range c.out {
		r.begins(a)
	}
	return r
}

// advance begins what is to be done next, as leader.advanceAll does.
func (w *world) advance(c *coord) {
	r := c.running()
	out := r.released()
	for _, a := range r.todo(&out, int(w.limit)) {
		if a.Kind == Start && len(c.jobs) > 0 {
			continue // as admit says: what was begun in its former life is still under way
		}
		if !w.book.rules.plansInKeys && slices.ContainsFunc(c.out, func(o Action) bool { o.PlanNumber = a.PlanNumber; return o == a }) {
			continue
		}
		if !w.book.rules.announces && a.Kind == Announce && a.Stage == "" {
			a = Action{Kind: Publish}
			if r.busy[a.Key()] {
				continue
			}
		}
		c.jobs = append(c.jobs, w.begin(c, a))
	}
}

// begin is leader.job: the facts are those of now. What needs nobody else is done at once.
func (w *world) begin(c *coord, a Action) job {
	s := c.at.state
	st := s.Stage(a.Stage)
	j := job{action: a, step: 2}
	var e *dispatchv1.RunEvent
	switch a.Kind {
	case Start:
		e = &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: w.stages}}}
		if s.LaidOut() {
			e, j.step, j.snapshots = nil, 0, gatherFacts(s, "").snapshots
		}
	case Plan, Release:
		j.step = 0
	case Gather:
		var staged []string
		for _, t := range st.Tasks {
			staged = append(staged, t.Done.GetOutputPath())
		}
		sha := strings.Join(staged, "+")
		e = committing(a.Stage, 0, sha, sha)
		if st.Planned.GetHasChecks() {
			e = &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageChecking{StageChecking: &dispatchv1.StageChecking{
				Stage: a.Stage, StagedPath: sha, StagedSha256: sha, PlanSha256: "check:" + st.Planned.GetPlanSha256() + sha}}}
		}
	case Announce:
		e = &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Publishing{Publishing: &dispatchv1.RunPublishing{}}}
		if a.Stage != "" {
			e = committing(a.Stage, 0, st.StagedPath, st.StagedSHA256)
		}
	case CommitStage:
		base, err := strconv.Atoi(st.Planned.GetPlanPath())
		if err != nil {
			panic(err)
		}
		j.step, j.base, j.staged = 0, int8(base), st.StagedSHA256
	case Publish:
		j.step, j.snapshots = 0, gatherFacts(s, "").snapshots
	case Finish:
		e = finished(a.State, 0, nil)
	case Fail:
		e = &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: a.Stage, Message: a.Message}}}
	}
	if e != nil {
		j.event = w.book.event(e)
	}
	return j
}

// outcome is leader.onOutcome: decide, append, and where others have written, fold and decide again.
func (w *world) outcome(i, n int) {
	c := &w.coords[i]
	j := c.jobs[n]
	r := c.running()
	o := outcome{run: r, action: j.action, err: j.err}
	if j.event != nil {
		o.events = []*dispatchv1.RunEvent{j.event.pb}
	}
	r.ended(o)
	c.jobs = slices.Delete(c.jobs, n, n+1)
	if j.action.Kind == Release && j.err == nil {
		c.out = append(c.out, j.action)
		w.advance(c)
		return
	}
	if j.event != nil && !w.book.rules.announces && j.action.Kind == Publish && !r.state.Terminal() {
		w.learn(c)
		w.appendEvent(c, j.event)
		w.advance(c)
		return
	}
	events, err := r.decide(o)
	if len(events) > 0 && c.behind {
		w.learn(c)
		r.state = c.at.state
		if w.book.rules.decideAgain {
			events, err = r.decide(o)
		}
	}
	if err != nil {
		w.stepDown(i)
		return
	}
	for _, e := range events {
		if !r.state.Terminal() {
			w.appendEvent(c, w.book.event(e))
		}
	}
	w.advance(c)
}

// learn folds what others appended.
func (w *world) learn(c *coord) { c.at, c.behind = w.log, false }

var errPassing = errors.New("the network was away")

// do is the next step of a job under way.
func (w *world) do(i, n int) {
	c := &w.coords[i]
	j := &c.jobs[n]
	j.step = 2
	switch a := j.action; a.Kind {
	case Start:
		current := map[string]int64{}
		for name, t := range w.tables {
			current[name] = int64(len(t.snapshots))
		}
		f := facts{runID: "r", submitted: &dispatchv1.RunSubmitted{PipelineDigest: "p"}, snapshots: j.snapshots, stages: tablesOf(w.stages)}
		if why := moved(f, current, w.pub.pb); why != "" && w.book.rules.looks {
			j.err = badData{errors.New(why)}
			return
		}
		j.event = w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{}}})
	case Plan:
		base := len(w.tables[a.Stage].snapshots)
		sha := fmt.Sprintf("%s.%d.%d", a.Stage, a.PlanNumber, base)
		if !w.book.rules.hashesInPath { // what it plans depends on the moment, here on who plans
			sha += fmt.Sprint(".", c.epoch)
			w.objects[fmt.Sprint(a.Stage, a.PlanNumber)] = sha
		}
		planned := &dispatchv1.StagePlanned{Stage: a.Stage, PlanNumber: a.PlanNumber, PlanSha256: sha, PlanPath: strconv.Itoa(base), HasChecks: w.checks[a.Stage]}
		for t := range max(1, w.tasks[a.Stage]) {
			planned.TaskIds = append(planned.TaskIds, strconv.Itoa(t+1))
		}
		j.event = w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: planned}})
	case Release:
		st := c.at.state.Stage(a.Stage)
		// The queue drops what was released before under the same id.
		m := message{stage: a.Stage, task: a.Task, plan: planOf(st, a.Task), release: a.ReleaseNumber, life: c.at.state.Life, waiting: true}
		known := slices.ContainsFunc(w.queue, func(k message) bool {
			return k.stage == m.stage && k.task == m.task && k.plan == m.plan && k.release == m.release
		})
		if !known && st.Plans == a.PlanNumber && m.plan != "" {
			w.queue = append(w.queue, m)
		}
	case CommitStage:
		w.commit(c, j)
	case Publish:
		w.publish(c, j)
	}
}

func planOf(st *Stage, task string) string {
	if task == checkTask {
		return st.Checking.GetPlanSha256()
	}
	return st.Planned.GetPlanSha256()
}

// commit is lake.Commit: it looks at the table, then changes it by compare-and-set, and looks again where that fails. A
// coordinator may sleep between the two.
func (w *world) commit(c *coord, j *job) {
	t := w.tables[j.action.Stage]
	token := fmt.Sprintf("%d", j.action.PlanNumber)
	if st := w.log.state.Stage(j.action.Stage); !w.book.rules.hashesInPath && st.Plans == j.action.PlanNumber &&
		w.objects[fmt.Sprint(j.action.Stage, j.action.PlanNumber)] != st.Planned.GetPlanSha256() {
		j.step, j.err = 2, errPassing // the plan is not what the log names
		return
	}
	if j.looked == 0 {
		j.look(w, t, c.epoch, token)
		return
	}
	if seen := int(j.looked) - 1; seen != len(t.snapshots)*8+int(t.epoch) {
		if j.looked = 0; w.book.rules.bases || w.book.rules.epochs {
			j.look(w, t, c.epoch, token)
			return
		}
	}
	w.checkCommit(c, j, t, token)
	t.snapshots = append(slices.Clone(t.snapshots), token+"="+j.staged)
	t.epoch = max(t.epoch, c.epoch)
	t.fenced = max(t.fenced, c.epoch)
	j.committed(w, len(t.snapshots))
}

// look is a fresh look at the table.
func (j *job) look(w *world, t *table, epoch int8, token string) {
	j.step = 2
	for n, s := range t.snapshots {
		if strings.HasPrefix(s, token+"=") && w.book.rules.tokens {
			j.committed(w, n+1)
			return
		}
	}
	switch {
	case w.book.rules.epochs && t.epoch > epoch:
		j.err = lake.ErrFenced
	case w.book.rules.bases && len(t.snapshots) != int(j.base):
		j.err = lake.ErrMoved
	default:
		j.step, j.looked = 0, int8(len(t.snapshots)*8+int(t.epoch)+1)
	}
}

func (j *job) committed(w *world, snapshot int) {
	j.step, j.looked = 2, 0
	j.event = w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageCommitted{StageCommitted: &dispatchv1.StageCommitted{
		Stage: j.action.Stage, Snapshots: map[string]int64{j.action.Stage: int64(snapshot)}}}})
}

// publish is leader.publish: it reads the record, then moves it by compare-and-set.
func (w *world) publish(c *coord, j *job) {
	if j.pub == nil {
		j.pub, j.step = w.pub, 0
		return
	}
	seen := j.pub
	j.pub = nil
	current := seen.pb
	if !w.book.rules.pubEpochs {
		current = proto.CloneOf(current)
		current.Epoch = 0
	}
	f := facts{runID: "r", submitted: &dispatchv1.RunSubmitted{PipelineDigest: "p"}, snapshots: j.snapshots, stages: tablesOf(w.stages)}
	next, err := nextPublished(current, f.runID, f.submitted.GetPipelineDigest(), f.built(), uint64(c.epoch))
	switch {
	case err != nil:
		j.err = err
		return
	case next == nil:
		next = seen.pb
	case seen != w.pub:
		j.pub, j.step = w.pub, 0 // somebody moved it: look again
		return
	default:
		next.Time = nil
		w.checkPublish(next)
		w.pub = &publication{pb: next, by: "r", revision: seen.revision + 1}
	}
	j.event = w.book.event(finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, next.GetVersion(), nil))
}

func tablesOf(stages []*dispatchv1.StageNode) (names []string) {
	for _, n := range stages {
		names = append(names, n.GetTable())
	}
	return names
}
