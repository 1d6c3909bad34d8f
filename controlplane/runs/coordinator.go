package runs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/telemetry"
)

const (
	// reportBatch is how many reports are appended to a log in one message at most.
	reportBatch = 256
	// releasedPerSlot bounds the tasks that are out: JetStream has no priorities, so what is released is the priority.
	releasedPerSlot = 2
	// dryRunsAtOnce bounds the dry runs that are under way; others wait.
	dryRunsAtOnce = 4
	// lookAround is how often the coordinator counts the workers and looks for what nobody told it.
	lookAround = time.Second
)

// Pipelines gives a pipeline by its digest.
type Pipelines interface {
	Get(ctx context.Context, digest string) (*pipeline.Pipeline, error)
}

// Config is what a coordinator works with.
type Config struct {
	Bus       *bus.Bus
	Lake      *lake.Lake
	Pipelines Pipelines
	// Landing is the folder that holds a folder for each source.
	Landing string
	// Holder names this control plane in the lease.
	Holder string
	// LeaseTTL is how long a lease lasts that nobody renews.
	LeaseTTL time.Duration
	// Settle is how long size and time of a file must have rested before it is read.
	Settle time.Duration
	// Pool is the pool of workers that tasks go to.
	Pool string
	// Engine is what planning queries run with.
	Engine engine.Options
	// OnEnded, where set, is called with each run that ends while this control plane coordinates. It must not wait, and only read.
	OnEnded func(*State)
	// Retention says for how long logs of runs are kept.
	Retention Retention
	Log       *slog.Logger
}

// Coordinator drives runs while it holds the lease.
type Coordinator struct {
	*planner
	// latest is nil while another control plane coordinates.
	latest atomic.Pointer[map[string]Load]
}

// NewCoordinator returns a coordinator; Run starts it.
func NewCoordinator(c Config) *Coordinator {
	return &Coordinator{planner: &planner{Config: c, log: NewLog(c.Bus, &History{Lake: c.Lake, Engine: c.Engine})}}
}

// leader is a coordinator while it holds the lease: one goroutine decides, others do.
type leader struct {
	*Coordinator
	epoch uint64
	runs  map[string]*running
	// jobs counts the actions that are under way, by run that is not dry, also of one that another coordinator has ended meanwhile.
	jobs map[string]int
	// clock is how far the fair queue has come.
	clock float64
	done  chan outcome
	ctx   context.Context
	// unarchived counts the runs that have ended since ops.runs was last added to.
	unarchived atomic.Int64
}

func (c *Coordinator) lead(ctx context.Context, lease *bus.Lease) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &leader{Coordinator: c, epoch: lease.Epoch(), runs: map[string]*running{}, jobs: map[string]int{}, done: make(chan outcome), ctx: ctx}
	defer c.latest.Store(nil)
	news, err := c.Bus.WatchNewRuns(ctx)
	if err != nil {
		return fmt.Errorf("watch for runs: %w", err)
	}
	reports, err := c.Bus.Reports(ctx)
	if err != nil {
		return fmt.Errorf("receive reports: %w", err)
	}
	if err := l.loadOpenRuns(ctx); err != nil {
		return err
	}
	if err := l.fenceCommits(ctx); err != nil {
		return err
	}
	l.Log.InfoContext(ctx, "coordinating runs", "epoch", l.epoch, "holder", l.Holder, "open", len(l.runs))
	go l.keepHistory(ctx)
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	l.lookAtWorkers(ctx)
	for {
		select {
		case <-lease.Lost(): // before anything that came meanwhile
			return errors.New("the lease was lost")
		default:
		}
		if err := l.advanceAll(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lease.Lost():
			return errors.New("the lease was lost")
		case id, ok := <-news:
			if !ok {
				return errors.New("the watch for runs ended")
			}
			_, err = l.load(ctx, id)
		case d, ok := <-reports:
			if !ok {
				return errors.New("the stream of reports ended")
			}
			err = l.onReports(ctx, collect(d, reports))
		case o := <-l.done:
			err = l.onOutcome(ctx, o)
		case now := <-tick.C:
			l.lookAtWorkers(ctx)
			err = l.failOverdue(ctx, now)
		}
		if err != nil {
			return err
		}
	}
}

// failOverdue fails the stages that take too long.
func (l *leader) failOverdue(ctx context.Context, now time.Time) error {
	for _, r := range l.runs {
		if len(r.overdue(now)) == 0 {
			continue
		}
		if err := l.append(ctx, r, func() []*dispatchv1.RunEvent { return r.overdue(now) }); err != nil {
			return err
		}
	}
	return nil
}

// collect takes what else has arrived, so that results are appended in batches.
func collect(first bus.ReportDelivery, more <-chan bus.ReportDelivery) []bus.ReportDelivery {
	batch := []bus.ReportDelivery{first}
	for len(batch) < reportBatch {
		select {
		case d, ok := <-more:
			if !ok {
				return batch
			}
			batch = append(batch, d)
		default:
			return batch
		}
	}
	return batch
}

// onReports appends what workers said to the logs, and only then acknowledges it.
func (l *leader) onReports(ctx context.Context, batch []bus.ReportDelivery) error {
	byRun := map[string][]*dispatchv1.RunEvent{}
	for _, d := range batch {
		byRun[d.Report.GetRunId()] = append(byRun[d.Report.GetRunId()], &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Task{Task: d.Report}})
	}
	for id, events := range byRun {
		unknown := func(e *dispatchv1.RunEvent) bool { return l.runs[id].state.Stage(e.GetTask().GetStage()) == nil }
		if l.runs[id] == nil || slices.ContainsFunc(events, unknown) {
			// What is dropped here is gone: the log must say that nobody waits for it, and not what was known of it before it was
			// laid out by another coordinator.
			if _, err := l.load(ctx, id); err != nil {
				return err
			}
		}
		r := l.runs[id]
		if r == nil {
			continue // the run has ended: a late report changes nothing
		}
		if events = slices.DeleteFunc(events, unknown); len(events) == 0 {
			continue
		}
		if err := l.append(ctx, r, func() []*dispatchv1.RunEvent { return events }); err != nil {
			return err
		}
	}
	for _, d := range batch {
		if err := d.Ack(); err != nil {
			l.Log.WarnContext(ctx, "a report could not be acknowledged; it will come again and change nothing", "error", err)
		}
	}
	return nil
}

// append writes events to a run's log. Where somebody else wrote in between (a cancel, another coordinator), it folds that
// first and asks again: what was decided on an older state may be wrong by now.
func (l *leader) append(ctx context.Context, r *running, decide func() []*dispatchv1.RunEvent) error {
	for {
		events := decide()
		if r.state.Terminal() || len(events) == 0 {
			l.letGo(r)
			return nil
		}
		if r.state.Led > l.epoch {
			return fmt.Errorf("%w: run %s is led at epoch %d, this one has %d", errFenced, r.state.RunID, r.state.Led, l.epoch)
		}
		err := l.log.append(ctx, r.state, l.epoch, events...)
		if err == nil {
			l.afterAppend(ctx, r, events)
			return nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		if err := l.log.fold(ctx, r.state); err != nil {
			return err
		}
	}
}

// letGo forgets a run that has ended.
func (l *leader) letGo(r *running) {
	if r.state.Terminal() && l.runs[r.state.RunID] == r { // and not the next life of the run
		delete(l.runs, r.state.RunID)
	}
}

// advanceAll begins whatever is to be done next in every run.
func (l *leader) advanceAll(ctx context.Context) error {
	open := make([]*running, 0, len(l.runs))
	now := time.Now()
	for _, r := range l.runs {
		r.now = now
		l.place(ctx, r)
		open = append(open, r)
	}
	slices.SortFunc(open, inTurn)
	hold(open)
	granted := l.grantAll(open)
	for _, r := range open {
		if err := l.purgeCancelled(ctx, r); err != nil {
			return err
		}
		for _, a := range l.todo(r, granted) {
			switch a.Kind {
			case Start:
				ok, overtaken := admit(open, l.jobs, r)
				if !ok {
					continue
				}
				for _, o := range overtaken {
					if err := l.suspend(ctx, o, r); err != nil {
						return err
					}
				}
				if slices.ContainsFunc(overtaken, func(o *running) bool { return !o.state.Suspended && !o.state.Terminal() }) {
					continue // it went on meanwhile
				}
			case Plan, Resume:
				if held(open, r) {
					continue
				}
			}
			r.begins(a)
			l.begin(ctx, r, a)
		}
	}
	return nil
}

// grantAll divides what each pool may do among runs, by pool.
func (l *leader) grantAll(open []*running) map[string]map[*running]int {
	granted := map[string]map[*running]int{}
	for _, r := range open {
		for _, st := range r.state.Stages {
			pool := l.poolOf(st)
			if st.Terminal() || st.Planned == nil || granted[pool] != nil {
				continue
			}
			granted[pool] = grantOf(open, func(st *Stage) bool { return l.poolOf(st) == pool }, l.slots.of(pool), &l.clock)
		}
	}
	return granted
}

// todo lists what may be begun in a run, with the releases that each pool's grant lets be.
func (l *leader) todo(r *running, granted map[string]map[*running]int) []Action {
	most := 0
	for _, of := range granted {
		most += of[r]
	}
	return r.todoBy(most, func(st *Stage) bool {
		pool := l.poolOf(st)
		if granted[pool][r] == 0 {
			return false
		}
		granted[pool][r]--
		return true
	})
}

// place finds out which tables a run writes and how urgent it is.
func (l *leader) place(ctx context.Context, r *running) {
	if r.tables != nil {
		return
	}
	r.rank = ordinary
	if r.state.Submitted.GetTrigger() == shoplakev1.Trigger_TRIGGER_BACKFILL.String() {
		r.rank = background
	}
	p, err := l.Pipelines.Get(ctx, r.state.Submitted.GetPipelineDigest())
	if err != nil {
		l.Log.DebugContext(ctx, "it is not known yet which tables a run writes", "run", r.state.RunID, "error", err)
		return // it counts as writing all; its start says what is wrong
	}
	flow := p.Flow(r.state.Submitted.GetFlow())
	if flow == nil {
		r.tables = map[string]bool{}
		return
	}
	r.tables = tableSet(p.TablesOf(flow))
	if flow.Maintenance != nil {
		r.rank = background
	}
}

// suspend notes that a run is overtaken by another.
func (l *leader) suspend(ctx context.Context, r, by *running) error {
	return l.append(ctx, r, func() []*dispatchv1.RunEvent {
		if r.state.Suspended || !r.between() { // by now, if another coordinator went on with it
			return nil
		}
		return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_Suspended{Suspended: &dispatchv1.RunSuspended{By: by.state.RunID}}}}
	})
}

// stopTasks takes back what workers were given for a run that failed: nobody waits for it.
func (l *leader) stopTasks(ctx context.Context, s *State) {
	if s.Phase != shoplakev1.RunState_RUN_STATE_FAILED || len(s.Stages) == 0 {
		return
	}
	if err := errors.Join(l.Bus.PurgeTasks(ctx, s.RunID, s.Life), l.Bus.PublishCancel(ctx, bus.Cancelled{RunID: s.RunID, Life: s.Life})); err != nil {
		l.Log.WarnContext(ctx, "tasks of a run that failed may still be done, in vain", "run", s.RunID, "error", err)
	}
}

func (l *leader) purgeCancelled(ctx context.Context, r *running) error {
	if r.state.Phase != shoplakev1.RunState_RUN_STATE_CANCELLING && r.state.Phase != shoplakev1.RunState_RUN_STATE_CANCELLED || r.purged {
		return nil
	}
	r.purged = true
	if err := l.Bus.PurgeTasks(ctx, r.state.RunID, r.state.Life); err != nil {
		return fmt.Errorf("take the tasks of cancelled run %s out of the queue: %w", r.state.RunID, err)
	}
	return l.Bus.PublishCancel(ctx, bus.Cancelled{RunID: r.state.RunID, Life: r.state.Life})
}

// begin does an action aside and sends its outcome back. It works on a copy of what it needs: the state changes meanwhile.
func (l *leader) begin(ctx context.Context, r *running, a Action) {
	ctx = telemetry.WithRun(ctx, r.state.RunID)
	if a.Stage != "" {
		ctx = telemetry.WithStage(ctx, a.Stage)
	}
	job := l.job(r.state, a)
	tries := r.tries[a.Key()]
	if !r.state.Dry() {
		l.jobs[r.state.RunID]++
	}
	go func() {
		o := outcome{run: r, action: a}
		if tries == 0 || wait(ctx, backoff(tries)) {
			o.events, o.err = job(ctx)
		} else {
			o.err = ctx.Err()
		}
		select {
		case l.done <- o:
		case <-l.ctx.Done():
		}
	}()
}

// onOutcome appends what an action found, or decides what its failure means.
func (l *leader) onOutcome(ctx context.Context, o outcome) error {
	r := o.run
	if l.jobs[r.state.RunID]--; l.jobs[r.state.RunID] <= 0 {
		delete(l.jobs, r.state.RunID)
	}
	if o.err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	r.ended(o)
	switch {
	case errors.Is(o.err, lake.ErrMoved), errors.Is(o.err, errStagedGone):
		l.Log.InfoContext(ctx, "the commit is no longer possible; planning the stage again", "run", r.state.RunID, "stage", o.action.Stage, "error", o.err)
	case o.err != nil:
		l.Log.WarnContext(ctx, "a step of the run failed", "run", r.state.RunID, "stage", o.action.Stage, "step", o.action.Kind,
			"try", r.tries[o.action.Key()], "class", classOf(o.err), "error", o.err)
	}
	if o.action.Kind == Release && o.err == nil {
		r.purged = false // where the run was cancelled, it may have come after the others were taken out of the queue
		return l.purgeCancelled(ctx, r)
	}
	var fenced error
	err := l.append(ctx, r, func() (events []*dispatchv1.RunEvent) {
		events, fenced = r.decide(o)
		return events
	})
	return errors.Join(fenced, err)
}

// afterAppend records the spans of what has ended, writes checkpoints, and lets go of a run that has ended.
func (l *leader) afterAppend(ctx context.Context, r *running, events []*dispatchv1.RunEvent) {
	r.recordEnded(ctx, events)
	say(ctx, l.Log, r.state.RunID, events)
	r.unkept += len(events)
	if !r.state.Terminal() && checkpointDue(r.state, r.unkept, slices.ContainsFunc(events, endsStage)) {
		l.log.keepCheckpoint(ctx, r.state)
		r.unkept = 0
	}
	if r.state.Terminal() {
		l.letGo(r)
		l.stopTasks(ctx, r.state)
		if l.OnEnded != nil {
			l.OnEnded(r.state)
		}
		l.log.keepCheckpoint(ctx, r.state)
		go func() {
			flushSpans(ctx) // a run that is noted as ended is not looked at again, also for what was not exported
			if err := l.noteEnd(ctx, r.state); err != nil && ctx.Err() == nil {
				l.Log.WarnContext(ctx, "could not note that a run has ended; the next coordinator will", "run", r.state.RunID, "error", err)
			}
		}()
	}
}

// sayable is an error as a message can carry it: valid UTF-8, and not longer than a reader would read.
func sayable(err error) string {
	const most = 16 << 10
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return text
}

// wait waits for d, or until ctx ends, which it tells by false.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// backoff doubles from 200 ms to 5 s.
func backoff(tries int) time.Duration {
	return min(200*time.Millisecond<<min(tries, 10), 5*time.Second)
}
