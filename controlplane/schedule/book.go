package schedule

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Runs are the runs that a scheduler starts and looks at.
type Runs interface {
	// Submit stores a request for a run. The same request id again gives the same run.
	Submit(ctx context.Context, submitted *dispatchv1.RunSubmitted) (runID string, err error)
	Cancel(ctx context.Context, runID string) error
	View(ctx context.Context, runID string, f func(*runs.State) error) error
	List(ctx context.Context, before string, f func(*runs.State) bool) error
}

// book is what a scheduler knows of runs: those that are open, and the last good one of each flow.
type book struct {
	runs Runs
	// open holds the open runs of each flow.
	open map[string][]OpenRun
	// good is the latest success of each flow.
	good map[string]string
	// started holds the runs that were there at first, by request id: a request is forgotten after two days, a run is not.
	started map[string]string
}

// recentRuns is how many runs a new book looks back at, beside those that are open.
const recentRuns = 500

// openBook looks at the open runs, which are named, and at recent ones.
func openBook(ctx context.Context, r Runs, open []string) (*book, error) {
	b := &book{runs: r, open: map[string][]OpenRun{}, good: map[string]string{}, started: map[string]string{}}
	looked := 0
	err := r.List(ctx, "", func(s *runs.State) bool {
		b.note(s)
		if s.Submitted.GetScheduleKey() != "" {
			b.started[s.Submitted.GetRequestId()] = s.RunID
		}
		looked++
		return looked < recentRuns
	})
	for _, id := range open {
		if err == nil {
			_, err = b.look(ctx, id)
		}
	}
	return b, err
}

// look takes over the state of a run, and tells whether it is news.
func (b *book) look(ctx context.Context, runID string) (news bool, err error) {
	err = b.runs.View(ctx, runID, func(s *runs.State) error { news = b.note(s); return nil })
	if errors.Is(err, runs.ErrNotFound) {
		return false, nil // it was forgotten meanwhile
	}
	return news, err
}

func (b *book) note(s *runs.State) (news bool) {
	if s.Dry() || s.Submitted.GetBackfill() != "" {
		return false // it stands in nobody's way: nothing comes of a dry run, and a backfill lets the flow's own runs go first
	}
	flow := s.Submitted.GetFlow()
	open := b.open[flow]
	i := slices.IndexFunc(open, func(r OpenRun) bool { return r.ID == s.RunID })
	switch cancelling := s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLING; {
	case s.Terminal() && i >= 0:
		b.open[flow], news = slices.Delete(open, i, i+1), true
	case s.Terminal():
	case i < 0:
		b.open[flow], news = append(open, OpenRun{ID: s.RunID, Cancelling: cancelling}), true
		slices.SortFunc(b.open[flow], func(a, b OpenRun) int { return cmp.Compare(a.ID, b.ID) })
	default:
		open[i].Cancelling = cancelling
	}
	if s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED && success(s) > b.good[flow] {
		b.good[flow], news = success(s), true
	}
	return news
}

// success names a run that succeeded, in the order of ends: a run that was submitted earlier may end later, when it was resumed.
func success(s *runs.State) string {
	return s.Ended.UTC().Format("2006-01-02T15:04:05.000000000Z") + "/" + s.RunID
}

// followed notices successes of flows that another flow runs after, and says whether there is one that was not noticed before. What
// succeeded before a flow was first seen starts nothing.
func followed(after []string, st State, good map[string]string) (started string, next State) {
	noticed := map[string]string{}
	for _, flow := range after {
		last, seen := st.After[flow]
		noticed[flow] = max(last, good[flow])
		if seen && good[flow] > last {
			started = good[flow]
		}
	}
	st.After = noticed
	return started, st
}
