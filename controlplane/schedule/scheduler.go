package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/internal/telemetry"
)

const (
	// lookAround is how often the scheduler looks whatever the next time is: the clock may have been set, a flow resumed, another
	// pipeline activated.
	lookAround = 5 * time.Second
	// again is after how long a scheduler that failed begins again.
	again = time.Second
	// shortest is the least time between two looks, gather how long changes of landing folders are gathered.
	shortest = 10 * time.Millisecond
	gather   = 500 * time.Millisecond
)

// Pipelines gives the pipeline of new runs; pipelinestore.ErrNotFound where there is none yet.
type Pipelines interface {
	Active(ctx context.Context) (*pipeline.Pipeline, error)
}

// Config is what a scheduler works with.
type Config struct {
	States    States
	Runs      Runs
	Pipelines Pipelines
	// OpenRuns are the runs that have not ended; it may name others too.
	OpenRuns func(ctx context.Context) ([]string, error)
	// NewRuns sends the id of each run whose log gets a message, until ctx ends.
	NewRuns func(ctx context.Context) (<-chan string, error)
	// Landing is the folder that holds a folder for each source; Settle is how long a file there must have rested.
	Landing string
	Settle  time.Duration
	// OnLate hears that a flow is due, and what it waits for; it may hear it again. It must not wait: the other flows do meanwhile.
	// Nobody hears where it is nil.
	OnLate func(f *pipeline.Flow, nominal time.Time, why string) error
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// Scheduler starts flows when it is time. One process at a time runs it: the one that leads. Should two run it for a moment, the
// state's revision and the request ids keep them from starting anything twice.
type Scheduler struct {
	Config
	book    *book
	landing *landing
	// digest is that of the pipeline whose flows are looked after.
	digest string
	// noticed are the files of each flow that were there when it was last looked at.
	noticed map[string]map[string]bool
	// told is the last time of each flow that OnLate heard of.
	told map[string]time.Time
	stop func()
}

// New returns a scheduler.
func New(c Config) *Scheduler { return &Scheduler{Config: c} }

// Lead starts and stops the scheduler as this process begins and ceases to lead. Calls must not overlap.
func (s *Scheduler) Lead(ctx context.Context, leads bool) {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if !leads {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	s.stop = func() { cancel(); <-ended }
}

// Run starts flows when it is time, until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.run(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "the scheduler failed; it begins again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

func (s *Scheduler) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news, err := s.NewRuns(ctx)
	if err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.landing.close()
	for {
		next, err := s.Tick(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "some flows could not be looked after; trying again", "error", err)
		}
		if err := s.wait(ctx, news, min(next.Sub(s.Now()), lookAround)); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// wait waits until a run has begun or ended, files may have arrived, or some time has passed.
func (s *Scheduler) wait(ctx context.Context, news <-chan string, d time.Duration) error {
	timer := time.NewTimer(max(d, shortest))
	defer timer.Stop()
	changed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case id, ok := <-news:
			if !ok {
				return errors.New("the watch for runs ended")
			}
			if isNews, err := s.book.look(ctx, id); err != nil {
				return fmt.Errorf("look at run %s: %w", id, err)
			} else if isNews {
				return nil
			}
		case <-s.landing.changes():
			if !changed { // a file that is written makes many changes: they are looked at together
				changed = true
				timer.Reset(min(max(d, shortest), gather))
			}
			s.landing.forget()
		case err := <-s.landing.troubles():
			s.Log.WarnContext(ctx, "changes of landing folders may have been missed; listing them", "error", err)
			s.landing.forget()
		case <-timer.C:
			return nil
		}
	}
}

// open begins without knowledge of what another scheduler saw.
func (s *Scheduler) open(ctx context.Context) (err error) {
	open, err := s.OpenRuns(ctx)
	if err != nil {
		return err
	}
	if s.book, err = openBook(ctx, s.Runs, open); err != nil {
		return fmt.Errorf("look at the runs: %w", err)
	}
	s.landing, s.digest, s.noticed = openLanding(s.Landing, s.Settle, s.Log), "", map[string]map[string]bool{}
	s.told = map[string]time.Time{}
	return nil
}

// Tick starts what is to be started now, and gives the time of what comes next; a day ahead where that is further away.
func (s *Scheduler) Tick(ctx context.Context) (next time.Time, err error) {
	next = s.Now().Add(24 * time.Hour)
	p, err := s.Pipelines.Active(ctx)
	if errors.Is(err, pipelinestore.ErrNotFound) {
		return next, nil
	}
	if err != nil {
		return next, fmt.Errorf("read the pipeline: %w", err)
	}
	if p.Digest != s.digest {
		if err := s.retire(ctx, p); err != nil {
			return next, err
		}
		s.digest = p.Digest
	}
	var failed error
	for _, f := range p.Flows {
		soon, err := s.advance(ctx, p, f)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("flow %s: %w", f.Name, err)) // the others have their turn all the same
			continue
		}
		next = earliest(next, soon)
	}
	return next, failed
}

// retire forgets when flows ran that the pipeline no longer has.
func (s *Scheduler) retire(ctx context.Context, p *pipeline.Pipeline) error {
	flows, err := s.States.FlowsWithState(ctx)
	if err != nil {
		return err
	}
	for _, name := range flows {
		if p.Flow(name) != nil {
			continue
		}
		if err := Move(ctx, s.States, name, Retire); err != nil {
			return err
		}
	}
	return nil
}

// advance starts a flow if it is time, and gives the time at which to look again; zero where nothing is foreseen.
func (s *Scheduler) advance(ctx context.Context, p *pipeline.Pipeline, f *pipeline.Flow) (next time.Time, err error) {
	for {
		var done bool
		next, done, err = s.step(ctx, p, f)
		// On a conflict a person paused or resumed the flow, or another scheduler is at work: look again.
		if done && err == nil || err != nil && !errors.Is(err, bus.ErrConflict) {
			return next, err
		}
	}
}

// step submits what is to be submitted, or else decides what is; it is done where there was nothing to submit. What is decided
// is remembered before anything is done about it.
func (s *Scheduler) step(ctx context.Context, p *pipeline.Pipeline, f *pipeline.Flow) (next time.Time, done bool, err error) {
	st, revision, err := Read(ctx, s.States, f.Name)
	if err != nil {
		return next, false, err
	}
	if len(st.Submitting) > 0 {
		return next, false, s.submit(ctx, p, f, st, revision)
	}
	now, before := s.Now(), st
	files, err := s.events(p, f, &st, now)
	if err != nil {
		return next, false, err
	}
	var soon time.Time
	turn, st, err := Advance(f, st, now, s.book.open[f.Name], func(o Occurrence) (string, bool) {
		note, ready, until := s.ready(ctx, p, f, before, o, now)
		if !ready {
			soon = earliest(soon, until)
		}
		return note, ready
	})
	if err != nil {
		return next, false, err
	}
	if scheduled := slices.ContainsFunc(st.Submitting, func(o Occurrence) bool { return o.Scheduled }); scheduled && f.Late != nil {
		if l := s.landing.listed[f.Late.Source]; l != nil {
			st.Landed = latest(st.Landed, l.newest)
		}
	}
	undecided, err := Upcoming(f.Schedule, before, time.Time{})
	if err != nil {
		return next, false, err
	}
	if sameTimes(before.Schedule, st.Schedule) && (undecided.IsZero() || undecided.After(now)) {
		st.Through = before.Through // no time of the schedule lies in between: there is nothing to remember
	}
	if err := keep(ctx, s.States, f.Name, before, st, revision); err != nil {
		return next, false, err
	}
	s.noticed[f.Name] = files
	s.giveWay(ctx, f, turn)
	if len(st.Submitting) > 0 {
		return next, false, nil
	}
	if next, err = Upcoming(f.Schedule, st, now); err != nil {
		return next, false, err
	}
	return earliest(earliest(next, soon), s.rested(f)), true, nil
}

// earliest is the earlier of two times, zero being none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// giveWay tells of runs that are skipped, and cancels those that are in the way.
func (s *Scheduler) giveWay(ctx context.Context, f *pipeline.Flow, turn Turn) {
	for _, o := range turn.Skipped {
		s.Log.InfoContext(ctx, "a run was skipped, since another one of its flow is still going", "flow", f.Name, "nominal_time", o.Nominal, "occurrence", o.Key)
	}
	for _, id := range turn.Cancel {
		s.Log.InfoContext(ctx, "cancelling a run, since the next one of its flow is due", "flow", f.Name, "run", id)
		if err := s.Runs.Cancel(ctx, id); err != nil {
			// What waits for its end goes on waiting, and cancels again.
			s.Log.WarnContext(ctx, "the run could not be cancelled; its end is waited for", "run", id, "error", err)
			continue
		}
		if _, err := s.book.look(ctx, id); err != nil {
			s.Log.WarnContext(ctx, "the cancelled run could not be looked at", "run", id, "error", err)
		}
	}
}

// submit makes the occurrences that are being submitted runs, and only then forgets them.
func (s *Scheduler) submit(ctx context.Context, p *pipeline.Pipeline, f *pipeline.Flow, st State, revision uint64) error {
	for _, o := range st.Submitting {
		request := RequestID(f.Name, o)
		if _, there := s.book.started[request]; there {
			continue
		}
		trigger := shoplakev1.Trigger_TRIGGER_EVENT
		if o.Scheduled {
			trigger = shoplakev1.Trigger_TRIGGER_SCHEDULE
		}
		submitted := &dispatchv1.RunSubmitted{
			Flow: f.Name, Trigger: trigger.String(), RequestId: request, PipelineDigest: p.Digest,
			NominalTime: timestamp(o.Nominal), ScheduleKey: o.Key,
		}
		if o.Note != "" {
			submitted.Notices = []string{o.Note}
		}
		submitted.TraceId, submitted.SpanId = telemetry.NewIDs()
		id, err := s.Runs.Submit(ctx, submitted)
		if err != nil {
			return fmt.Errorf("submit its run of %s: %w", o.Nominal.UTC().Format(time.RFC3339), err)
		}
		if _, err := s.book.look(ctx, id); err != nil {
			return fmt.Errorf("look at run %s: %w", id, err)
		}
		s.Log.InfoContext(ctx, "submitted a run", "flow", f.Name, "run", id, "trigger", trigger, "nominal_time", o.Nominal, "occurrence", o.Key)
	}
	done := st
	done.Submitting = nil
	return keep(ctx, s.States, f.Name, st, done, revision)
}

// events adds what happened outside the schedule to what waits: files that arrived, flows that succeeded. It gives the files.
func (s *Scheduler) events(p *pipeline.Pipeline, f *pipeline.Flow, st *State, now time.Time) (map[string]bool, error) {
	known := s.noticed[f.Name]
	if st.Paused {
		return known, nil
	}
	started, next := followed(f.After, *st, s.book.good)
	if started != "" {
		next = Add(next, Occurrence{Key: "after/" + started, Nominal: now})
	}
	if !f.OnFiles {
		next.Files = ""
		*st = next
		return nil, nil
	}
	var files []string
	for _, name := range f.FileSources {
		l, err := s.landing.look(p.Source(name), now)
		if err != nil {
			return nil, fmt.Errorf("look for new files: %w", err)
		}
		files = append(files, l.files...)
	}
	slices.Sort(files)
	news, next := arrived(files, known, next)
	if news {
		next = Add(next, Occurrence{Key: "files/" + next.Files, Nominal: now})
	}
	*st = next
	noticed := make(map[string]bool, len(files))
	for _, file := range files {
		noticed[file] = true
	}
	return noticed, nil
}

// ready says whether an occurrence need not wait for a file; where it has to, until when. People are told that it is late.
func (s *Scheduler) ready(ctx context.Context, p *pipeline.Pipeline, f *pipeline.Flow, st State, o Occurrence, now time.Time) (note string, ready bool, until time.Time) {
	e, waits, err := Expected(f, st, o)
	if err != nil || !waits {
		return "", true, until
	}
	l, err := s.landing.look(p.Source(e.Source), now)
	if err != nil {
		s.Log.WarnContext(ctx, "could not look for the file that a run waits for", "flow", f.Name, "source", e.Source, "error", err)
		l = &listing{}
	}
	note, ready = e.Ready(o, l.newest, now)
	why := note
	if !ready {
		why = e.waiting(o)
	}
	if why != "" && s.OnLate != nil && o.Nominal.After(s.told[f.Name]) {
		if err := s.OnLate(f, o.Nominal, why); err != nil {
			s.Log.WarnContext(ctx, "could not tell that a flow is late; trying again", "flow", f.Name, "error", err)
		} else {
			s.told[f.Name] = o.Nominal
		}
	}
	return note, ready, e.Until
}

// rested is when the next file that was still being written may have rested; zero where nothing waits for one.
func (s *Scheduler) rested(f *pipeline.Flow) (next time.Time) {
	names := slices.Clone(f.FileSources)
	if f.Late != nil {
		names = append(names, f.Late.Source)
	}
	for _, name := range names {
		if l := s.landing.listed[name]; l != nil {
			next = earliest(next, l.again)
		}
	}
	return next
}
