package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// ErrNotFound says that there is no such run.
var ErrNotFound = errors.New("no such run")

// ErrNoStage says that a run has no such stage.
var ErrNoStage = errors.New("the run has no stage")

// ErrNoFlow says that the pipeline has no such flow.
var ErrNoFlow = errors.New("the pipeline has no such flow")

// ErrEnded says that a run has ended already and can't be cancelled.
var ErrEnded = errors.New("the run has ended")

// Log reads and extends the logs of runs. Any control plane may have one; it keeps the folded states of recent runs, so
// that a request reads only what was appended since.
type Log struct {
	bus     *bus.Bus
	history *History

	mu     sync.Mutex
	folded map[string]*State
	recent []string

	watched crowd
}

// foldedRuns is how many folded states a Log keeps.
const foldedRuns = 256

// NewLog returns the log on a bus; runs whose logs were removed are read from their history, or are not known where it is nil.
func NewLog(b *bus.Bus, h *History) *Log {
	return &Log{bus: b, history: h, folded: map[string]*State{}}
}

// View calls f with the run's state as it is now. f must not keep the state: it is shared and changes.
func (l *Log) View(ctx context.Context, runID string, f func(*State) error) error {
	found, err := l.view(ctx, runID, f)
	if found || err != nil {
		return err
	}
	s, err := l.archived(ctx, runID)
	if err != nil {
		return err
	}
	return f(s)
}

// view is View of a run that has a log; others are not found.
func (l *Log) view(ctx context.Context, runID string, f func(*State) error) (found bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.refresh(ctx, runID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f(s)
}

func (l *Log) refresh(ctx context.Context, runID string) (*State, error) {
	s := l.folded[runID]
	if s == nil {
		s = NewState(runID)
	} else if s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		return s, nil // any other end may be followed by another life
	}
	if err := l.fold(ctx, s); err != nil {
		delete(l.folded, runID)
		return nil, err
	}
	if s.Submitted == nil {
		return nil, fmt.Errorf("run %s: %w", runID, ErrNotFound)
	}
	l.keep(s)
	return s, nil
}

func (l *Log) keep(s *State) {
	if _, ok := l.folded[s.RunID]; !ok {
		l.recent = append(l.recent, s.RunID)
	}
	l.folded[s.RunID] = s
	if len(l.recent) > foldedRuns {
		delete(l.folded, l.recent[0])
		l.recent = l.recent[1:]
	}
}

// fold reads what was appended after the state's sequence, at first after the run's checkpoint, and applies it.
func (l *Log) fold(ctx context.Context, s *State) error {
	if s.Seq == 0 {
		if known, err := l.checkpoint(ctx, s.RunID); err != nil {
			return err
		} else if known != nil {
			*s = *known
		}
	}
	entries, err := l.bus.ReadRun(ctx, s.RunID, s.Seq)
	if errors.Is(err, bus.ErrShort) {
		// The checkpoint outlived the end of its log: a power cut took what was not flushed. The log is what counts.
		*s = *NewState(s.RunID)
		if err = l.bus.RemoveCheckpoint(ctx, s.RunID); err == nil {
			entries, err = l.bus.ReadRun(ctx, s.RunID, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("read the log of run %s: %w", s.RunID, err)
	}
	for _, entry := range entries {
		if err := s.applyAll(entry); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) applyAll(entry bus.LoggedEvents) error {
	for _, e := range entry.Events.GetEvents() {
		if err := s.Apply(e); err != nil {
			return err
		}
	}
	s.Seq = entry.Seq
	s.Messages++
	s.Led = max(s.Led, entry.Events.GetEpoch())
	return nil
}

// append writes events after the state's sequence and applies them; epoch is that of the coordinator, 0 where a request does it.
// On bus.ErrConflict somebody else wrote: fold, and decide again; the events that did not fit into the messages before may be
// missing then.
func (l *Log) append(ctx context.Context, s *State, epoch uint64, events ...*dispatchv1.RunEvent) error {
	for len(events) > 0 {
		n := messageOf(events)
		if err := l.appendMessage(ctx, s, epoch, events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// messageOf is how many of the events fit into one message; one at least.
func messageOf(events []*dispatchv1.RunEvent) int {
	const overhead = 64 // of the message, and of each event in it
	size := overhead
	for i, e := range events {
		if size += proto.Size(e) + overhead; size > bus.MaxMessage && i > 0 {
			return i
		}
	}
	return len(events)
}

func (l *Log) appendMessage(ctx context.Context, s *State, epoch uint64, events []*dispatchv1.RunEvent) error {
	for _, e := range events {
		if e.GetTime() == nil {
			e.Time = timestamppb.Now()
		}
	}
	batch := &dispatchv1.RunEvents{ProtocolVersion: bus.Protocol, Epoch: epoch, Events: events}
	seq, err := l.bus.AppendRun(ctx, s.RunID, s.Seq, batch)
	if err != nil {
		return fmt.Errorf("append to the log of run %s: %w", s.RunID, err)
	}
	return s.applyAll(bus.LoggedEvents{Seq: seq, Events: batch})
}

// Submit stores a request for a run. The same request id again gives the same run.
func (l *Log) Submit(ctx context.Context, submitted *dispatchv1.RunSubmitted) (runID string, err error) {
	runID = ulid.Make().String()
	existing, created, err := l.bus.ClaimRequest(ctx, submitted.GetRequestId(), runID)
	if err != nil {
		return "", fmt.Errorf("claim the request %s: %w", submitted.GetRequestId(), err)
	}
	if !created {
		runID = existing
	}
	// A server that died between the claim and here left a claim without a run: the append is made again, and a
	// conflict says that it had been made.
	s := NewState(runID)
	event := &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: submitted}}
	if err := l.append(ctx, s, 0, event); err != nil && !errors.Is(err, bus.ErrConflict) {
		return "", err
	}
	return runID, nil
}

// cancellable says why a run can't be cancelled; nil where it can.
func (s *State) cancellable() error {
	switch {
	case s.Terminal():
		return ErrEnded
	case s.Publishing:
		return fmt.Errorf("%w as good as: it is done and being published", ErrEnded)
	}
	return nil
}

// Cancel asks a run to stop.
func (l *Log) Cancel(ctx context.Context, runID string) error {
	for {
		s := NewState(runID)
		if err := l.fold(ctx, s); err != nil {
			return err
		}
		if s.Submitted == nil {
			known, err := l.archived(ctx, runID)
			if err != nil {
				return err
			}
			s = known
		}
		switch {
		case s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLING || s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLED:
			return nil
		}
		if err := s.cancellable(); err != nil {
			return fmt.Errorf("cancel run %s: %w", runID, err)
		}
		err := l.append(ctx, s, 0, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}})
		if errors.Is(err, bus.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		return l.bus.PublishCancel(ctx, bus.Cancelled{RunID: runID, Life: s.Life})
	}
}

// listPage is how many runs are read from the history at a time.
const listPage = 100

// List calls f with runs, the newest first, from those older than before (all where empty), until f returns false: those that
// have a log, and between and after them those of the history whose logs were removed.
func (l *Log) List(ctx context.Context, before string, f func(*State) bool) error {
	// In this order a run whose log is removed meanwhile is found in the history.
	ids, err := l.bus.Runs(ctx)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	upTo, known, err := l.purged(ctx)
	if err != nil {
		return err
	}
	slices.Reverse(ids)
	ids = slices.DeleteFunc(ids, func(id string) bool { return before != "" && id >= before })
	past := &pastRuns{history: l.history, before: before, logged: map[string]bool{}}
	for _, id := range ids {
		past.logged[id] = true
	}
	for _, id := range ids {
		if !known || id < upTo {
			if more, err := past.until(ctx, id, f); err != nil || !more {
				return err
			}
		}
		more := true
		err := l.View(ctx, id, func(s *State) error { more = f(s); return nil })
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if !more {
			return nil
		}
	}
	if known && upTo == "" {
		return nil
	}
	_, err = past.until(ctx, "", f)
	return err
}

// pastRuns reads the runs of the history that have no log any more, the newest first.
type pastRuns struct {
	history *History
	before  string
	logged  map[string]bool
	page    []*State
	end     bool
}

// until calls f with those newer than a run, until f returns false.
func (p *pastRuns) until(ctx context.Context, id string, f func(*State) bool) (more bool, err error) {
	for {
		if len(p.page) == 0 {
			if p.end {
				return true, nil
			}
			if p.page, err = p.history.Before(ctx, p.before, listPage); err != nil {
				return false, err
			}
			p.end = len(p.page) < listPage
			continue
		}
		s := p.page[0]
		if s.RunID <= id {
			return true, nil
		}
		p.page, p.before = p.page[1:], s.RunID
		if !p.logged[s.RunID] && !f(s) {
			return false, nil
		}
	}
}

// Watch calls f with the state and the tables whose stages changed: first with all of them, then after each message of
// the log that came after the sequence, until the run has ended, f fails or ctx ends.
func (l *Log) Watch(ctx context.Context, runID string, after uint64, f func(s *State, changed []string) error) error {
	s := NewState(runID)
	if err := l.fold(ctx, s); err != nil {
		return err
	}
	if s.Submitted == nil {
		known, err := l.archived(ctx, runID)
		if err != nil {
			return err
		}
		s = known
	}
	if s.Seq > after || s.Terminal() {
		if err := f(s, tables(s)); err != nil || s.Terminal() {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	entries, err := l.bus.WatchRun(ctx, runID, s.Seq)
	if err != nil {
		return fmt.Errorf("watch run %s: %w", runID, err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-entries:
			if !ok {
				return fmt.Errorf("watch run %s: the stream of its log ended: try again", runID)
			}
			if entry.Seq <= s.Seq {
				continue
			}
			before := states(s)
			if err := s.applyAll(entry); err != nil {
				return err
			}
			if err := f(s, changed(s, before, entry.Events)); err != nil || s.Terminal() {
				return err
			}
		}
	}
}

func tables(s *State) []string {
	var all []string
	for _, st := range s.Stages {
		all = append(all, st.Table)
	}
	return all
}

func states(s *State) map[string]shoplakev1.StageState {
	m := map[string]shoplakev1.StageState{}
	for _, st := range s.Stages {
		m[st.Table] = st.State
	}
	return m
}

// changed names the stages whose state changed or that a task's report was about.
func changed(s *State, before map[string]shoplakev1.StageState, events *dispatchv1.RunEvents) []string {
	touched := map[string]bool{}
	for _, e := range events.GetEvents() {
		if r := e.GetTask(); r != nil {
			touched[r.GetStage()] = true
		}
	}
	var list []string
	for _, st := range s.Stages {
		if state, ok := before[st.Table]; !ok || state != st.State || touched[st.Table] {
			list = append(list, st.Table)
		}
	}
	return list
}
