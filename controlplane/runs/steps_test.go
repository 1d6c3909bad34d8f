package runs

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// step is something that may happen next.
type step struct {
	// format and args name it; they are put together for a trace only.
	format string
	args   []any
	// fault says that it does not happen when faults have stopped: what costs of the budget, and bad data.
	fault bool
	do    func(w *world)
}

func (s step) String() string { return fmt.Sprintf(s.format, s.args...) }

// steps lists all that may happen. A step changes the world that it is given.
func (w *world) steps() []step {
	var all []step
	add := func(fault bool, do func(w *world), name string, args ...any) {
		all = append(all, step{name, args, fault, do})
	}
	// spend adds a step that costs of the budget.
	spend := func(of func(b *budget) *int8, do func(w *world), name string, args ...any) {
		if *of(&w.may) > 0 {
			add(true, func(w *world) { *of(&w.may)--; do(w) }, name, args...)
		}
	}
	w.coordinatorSteps(add, spend)
	w.workerSteps(add, spend)
	s := w.log.state
	// A user asks for the log first, as Log.Cancel does.
	if !s.Terminal() && !s.Publishing && s.Phase != cancelling {
		spend(func(b *budget) *int8 { return &b.cancels }, func(w *world) {
			w.appendEvent(nil, w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}}))
		}, "a user cancels")
	}
	if s.resumable() == nil {
		spend(func(b *budget) *int8 { return &b.resumes }, func(w *world) {
			w.appendEvent(nil, w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Reopened{Reopened: &dispatchv1.RunReopened{}}}))
		}, "a user resumes")
	}
	for _, n := range w.stages {
		spend(func(b *budget) *int8 { return &b.moves }, func(w *world) {
			t := w.tables[n.GetTable()]
			t.snapshots = append(slices.Clone(t.snapshots), "x")
		}, "another moves %s", n.GetTable())
	}
	if leads := w.leader(); s.Terminal() && leads >= 0 && !w.coords[leads].behind && (len(w.coords[leads].jobs) == 0 || !w.book.rules.waits) {
		spend(func(b *budget) *int8 { return &b.later }, func(w *world) {
			t := w.tables[w.stages[0].GetTable()]
			t.snapshots = append(slices.Clone(t.snapshots), "x")
			next := proto.CloneOf(w.pub.pb)
			next.Version, next.Epoch, next.Snapshots = next.GetVersion()+1, uint64(w.epochs), map[string]int64{w.stages[0].GetTable(): int64(len(t.snapshots))}
			w.pub = &publication{pb: next, by: "later", revision: w.pub.revision + 1}
		}, "a later run publishes")
	}
	if w.limit > 1 {
		spend(func(b *budget) *int8 { return &b.leaves }, func(w *world) { w.limit = 1 }, "all workers but one leave")
	}
	return all
}

type adder = func(fault bool, do func(w *world), name string, args ...any)
type spender = func(of func(b *budget) *int8, do func(w *world), name string, args ...any)

// leader is the coordinator with the highest epoch that leads, or -1.
func (w *world) leader() int {
	for i, c := range w.coords {
		if c.epoch == w.epochs {
			return i
		}
	}
	return -1
}

func (w *world) coordinatorSteps(add adder, spend spender) {
	leads := w.leader()
	candidate := slices.IndexFunc(w.coords, func(c coord) bool { return c.epoch == 0 })
	if candidate >= 0 && leads < 0 {
		add(false, func(w *world) { w.elect(candidate) }, "coordinator %d is elected", candidate)
	}
	if candidate >= 0 && leads >= 0 {
		spend(func(b *budget) *int8 { return &b.takeovers }, func(w *world) { w.elect(candidate) }, "coordinator %d is elected while %d sleeps", candidate, leads)
	}
	for i := range w.coords {
		c := &w.coords[i]
		if c.epoch == 0 {
			continue
		}
		if i == leads {
			spend(func(b *budget) *int8 { return &b.crashes }, func(w *world) { w.stepDown(i) }, "coordinator %d crashes", i)
		} else {
			add(false, func(w *world) { w.stepDown(i) }, "coordinator %d sees that it has lost the lease", i)
		}
		if c.fencing {
			add(false, func(w *world) { w.takeOver(i) }, "coordinator %d takes over", i)
			continue
		}
		if c.behind {
			add(false, func(w *world) { w.learn(&w.coords[i]); w.advance(&w.coords[i]) }, "coordinator %d reads the log", i)
		}
		for n, j := range c.jobs {
			w.jobSteps(i, n, j, add, spend)
		}
		for _, e := range w.inbox {
			if !c.at.state.Terminal() && c.hand == nil {
				add(false, func(w *world) { w.record(i, e); w.forget(e) }, "coordinator %d records %s", i, reportOf{e})
				spend(func(b *budget) *int8 { return &b.again }, func(w *world) { w.record(i, e) }, "coordinator %d records %s, the acknowledgement is lost", i, reportOf{e})
				spend(func(b *budget) *int8 { return &b.again }, func(w *world) { w.coords[i].hand = e }, "coordinator %d takes %s and sleeps", i, reportOf{e})
			}
		}
		if c.hand != nil {
			add(false, func(w *world) {
				c := &w.coords[i]
				e := c.hand
				c.hand = nil
				w.record(i, e)
				w.forget(e)
			}, "coordinator %d records %s at last", i, reportOf{c.hand})
		}
	}
}

func (w *world) jobSteps(i, n int, j job, add adder, spend spender) {
	what := actionOf{j.action}
	if j.step == 2 {
		add(false, func(w *world) { w.outcome(i, n) }, "coordinator %d learns what became of %s: %v", i, what, j.err)
		if j.err == nil && (j.action.Kind == Plan || j.action.Kind == CommitStage || j.action.Kind == Publish) {
			spend(func(b *budget) *int8 { return &b.errors }, func(w *world) {
				j := &w.coords[i].jobs[n]
				j.err, j.event = errPassing, nil
				w.outcome(i, n)
			}, "coordinator %d is told that %s failed though it was done", i, what)
		}
		return
	}
	if j.action.Kind == Release { // between the queue's taking it and the leader's knowing nothing is to be seen
		add(false, func(w *world) { w.do(i, n); w.outcome(i, n) }, "coordinator %d does %s", i, what)
		spend(func(b *budget) *int8 { return &b.errors }, func(w *world) {
			w.do(i, n)
			w.coords[i].jobs[n].err = errPassing
			w.outcome(i, n)
		}, "coordinator %d does %s, and is told that it failed", i, what)
		return
	}
	add(false, func(w *world) { w.do(i, n) }, "coordinator %d does %s (%d)", i, what, j.looked)
	if j.action.Kind == Plan {
		spend(func(b *budget) *int8 { return &b.bad }, func(w *world) {
			j := &w.coords[i].jobs[n]
			j.step, j.err = 2, badData{errPassing}
		}, "coordinator %d can't do %s", i, what)
		if j.action.PlanNumber == 1 {
			spend(func(b *budget) *int8 { return &b.bad }, func(w *world) {
				j := &w.coords[i].jobs[n]
				j.step = 2
				j.event = w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageUpToDate{StageUpToDate: &dispatchv1.StageUpToDate{Stage: j.action.Stage}}})
			}, "coordinator %d finds %s up to date", i, what)
		}
	}
}

// actionOf names an action.
type actionOf struct{ a Action }

func (o actionOf) String() string {
	return fmt.Sprintf("kind %d %s plan %d %s", o.a.Kind, o.a.Stage, o.a.PlanNumber, o.a.Task)
}

// record is leader.onReports for one report.
func (w *world) record(i int, e *event) {
	c := &w.coords[i]
	known := func() bool { return c.at.state.Stage(e.pb.GetTask().GetStage()) != nil }
	if c.behind && (known() || w.book.rules.reads) { // where it is known, the append meets a conflict
		w.learn(c)
	}
	if !c.at.state.Terminal() && known() {
		w.appendEvent(c, e)
	}
	w.advance(c)
}

func (w *world) forget(e *event) {
	w.inbox = slices.DeleteFunc(w.inbox, func(other *event) bool { return other == e })
}

// reportOf names a report.
type reportOf struct{ e *event }

func (o reportOf) String() string {
	r := o.e.pb.GetTask()
	return fmt.Sprintf("%s/%s %s %T", r.GetStage(), r.GetTaskId(), r.GetAttemptId(), r.GetOutcome())
}

func (w *world) workerSteps(add adder, spend spender) {
	idle := false
	for k, wk := range w.workers {
		if wk.message < 0 {
			if !idle { // idle workers are alike
				for n, m := range w.queue {
					if m.waiting && !m.acked {
						add(false, func(w *world) { w.take(k, n) }, "worker %d takes %s/%s release %d", k, m.stage, m.task, m.release)
					}
				}
			}
			idle = true
			continue
		}
		m := w.queue[wk.message]
		ok := &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{OutputPath: fmt.Sprintf("%d.%d.%d", wk.message, m.release, wk.attempt)}}
		name := attemptOf{k, wk.attempt, m}
		add(false, func(w *world) { w.report(k, ok); w.ack(k) }, "%s: done", name)
		faults := func(b *budget) *int8 { return &b.faults }
		bad := func(b *budget) *int8 { return &b.bad }
		failed := func(class dispatchv1.ErrorClass) *dispatchv1.TaskReport_Failed {
			return &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: class, Message: "boom"}}
		}
		spend(faults, func(w *world) { w.report(k, ok); w.giveBack(k) }, "%s: done, the acknowledgement is lost", name)
		spend(faults, func(w *world) { w.report(k, failed(dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT)); w.ack(k) }, "%s: failed", name)
		spend(faults, func(w *world) { w.giveBack(k) }, "%s: died", name)
		if !m.waiting && !m.acked {
			spend(faults, func(w *world) { w.queue[wk.message].waiting = true }, "%s: is slow, the queue offers it again", name)
		}
		if m.task == checkTask {
			spend(bad, func(w *world) {
				w.report(k, &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{CheckFailures: []*dispatchv1.CheckFailure{{Check: "key", Severity: "error", Rows: 1}}}})
				w.ack(k)
			}, "%s: the check found rows", name)
		} else {
			spend(bad, func(w *world) { w.report(k, failed(dispatchv1.ErrorClass_ERROR_CLASS_BAD_DATA)); w.ack(k) }, "%s: bad data", name)
		}
		// A life that was cancelled was told to the workers, and is told again.
		cancelled := w.log.state.Phase == cancelling || w.log.state.Phase == shoplakev1.RunState_RUN_STATE_CANCELLED
		if life := w.log.state.Life; m.life < life || cancelled && m.life == life || !w.book.rules.lives && life > 0 {
			add(false, func(w *world) { w.ack(k) }, "%s: dropped, the run was cancelled", name)
		}
	}
}

// attemptOf names an attempt.
type attemptOf struct {
	worker  int
	attempt int8
	m       message
}

func (o attemptOf) String() string {
	return fmt.Sprintf("worker %d, attempt %d at %s/%s release %d", o.worker, o.attempt, o.m.stage, o.m.task, o.m.release)
}

func (w *world) take(k, n int) {
	m := &w.queue[n]
	m.waiting, m.deliveries = false, m.deliveries+1
	w.workers[k] = worker{message: int8(n), attempt: m.deliveries}
	if w.starts {
		w.report(k, &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}})
	}
}

// ack takes the message out of the queue, whoever else holds it.
func (w *world) ack(k int) {
	m := &w.queue[w.workers[k].message]
	m.waiting, m.acked = false, true
	w.workers[k] = worker{message: -1}
}

func (w *world) giveBack(k int) {
	m := &w.queue[w.workers[k].message]
	m.waiting = !m.acked
	w.workers[k] = worker{message: -1}
}

func (w *world) report(k int, outcome any) {
	m := w.queue[w.workers[k].message]
	r := &dispatchv1.TaskReport{Stage: m.stage, TaskId: m.task, PlanSha256: m.plan, Release: m.release,
		AttemptId: fmt.Sprintf("%d.%d", w.workers[k].message, w.workers[k].attempt)}
	switch o := outcome.(type) {
	case *dispatchv1.TaskReport_Started:
		r.Outcome = o
	case *dispatchv1.TaskReport_Succeeded:
		r.Outcome = o
	case *dispatchv1.TaskReport_Failed:
		r.Outcome = o
	}
	e := w.book.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: r}})
	if !slices.Contains(w.inbox, e) {
		w.inbox = append(w.inbox, e)
	}
}
