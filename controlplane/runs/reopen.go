package runs

import (
	"context"
	"errors"
	"fmt"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/lake"
)

// ErrNotResumable says that a run can't be resumed.
var ErrNotResumable = errors.New("the run can't be resumed")

// LaidOut says whether the run has its stages and its pinned snapshots.
func (s *State) LaidOut() bool { return len(s.Stages) > 0 }

// reopen lets a run that failed or was cancelled go on: what is not good waits again, and what is good stays, as do the pinned
// snapshots. Plans are counted on, so that no commit of a former life passes for one of this.
func (s *State) reopen(at time.Time) {
	if s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED || s.Dry() {
		return
	}
	if f := s.Failure; f != nil {
		s.Notices = append(s.Notices, "resumed after it had failed: "+f.Message)
	} else {
		s.Notices = append(s.Notices, "resumed after it was cancelled")
	}
	s.Phase, s.Failure, s.Ended, s.Suspended = shoplakev1.RunState_RUN_STATE_QUEUED, nil, time.Time{}, false
	s.Life, s.Reopened = s.Life+1, at
	for _, st := range s.Stages {
		if !st.Good() {
			st.reset("")
			st.Failure, st.Started, st.Ended = nil, time.Time{}, time.Time{}
		}
	}
}

// resumable says why a run can't be resumed, as far as its log tells; nil where it can.
func (s *State) resumable() error {
	switch {
	case s.Dry():
		return fmt.Errorf("%w: it is a dry run, which kept nothing: submit it again", ErrNotResumable)
	case s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED:
		return fmt.Errorf("%w: it has succeeded, nothing is left to do: submit a new run to build what has changed since", ErrNotResumable)
	case s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLING:
		return fmt.Errorf("%w: it is still being cancelled: try again when it is CANCELLED", ErrNotResumable)
	case !s.Terminal():
		return fmt.Errorf("%w: it is under way", ErrNotResumable)
	}
	return nil
}

// Resume reopens a run that failed or was cancelled. One that was reopened already is left as it is. object, where not nil, may
// still find a reason against it.
func (l *Log) Resume(ctx context.Context, runID string, object func(*State) error) error {
	for {
		s := NewState(runID)
		if err := l.fold(ctx, s); err != nil {
			return err
		}
		upTo, _, err := l.purged(ctx)
		if err != nil {
			return err
		}
		if s.Submitted == nil {
			if s, err = l.archived(ctx, runID); err != nil {
				return err
			}
		}
		if runID <= upTo && s.Terminal() && s.resumable() == nil {
			return fmt.Errorf("resume run %s: %w: it ended so long ago that its log is removed: submit a new run, it builds just what is stale", runID, ErrNotResumable)
		}
		if s.Life > 0 && !s.Terminal() && s.Phase != shoplakev1.RunState_RUN_STATE_CANCELLING {
			return nil
		}
		err = s.resumable()
		if err == nil && object != nil {
			err = object(s)
		}
		if err != nil {
			return fmt.Errorf("resume run %s: %w", runID, err)
		}
		err = l.append(ctx, s, 0, &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Reopened{Reopened: &dispatchv1.RunReopened{}}})
		if errors.Is(err, bus.ErrConflict) {
			continue
		}
		return err
	}
}

// moved says which of a run's tables is not where the run knows it, and why the run therefore can't go on; "" where it can. It is
// pure: current are the snapshots of the tables by now, and published the state that readers see.
func moved(s facts, current map[string]int64, published *dispatchv1.Published) string {
	for _, table := range s.stages {
		if known := s.snapshots[table]; current[table] != known {
			return fmt.Sprintf("%s has moved from snapshot %d, which the run knows, to %d: another run or a compaction changed it", table, known, current[table])
		}
	}
	if published.GetRunId() > s.runID && published.GetPipelineDigest() != s.submitted.GetPipelineDigest() {
		return fmt.Sprintf("run %s has published another pipeline (%s) since", published.GetRunId(), published.GetPipelineDigest())
	}
	return ""
}

// whereLeft objects where a run that is resumed would not find its tables as it left them.
func (l *planner) whereLeft(ctx context.Context, f facts) error {
	current := map[string]int64{}
	for _, table := range f.stages {
		t, err := l.Lake.Table(ctx, table)
		if errors.Is(err, lake.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find the snapshot of %s: %w", table, err)
		}
		current[table] = t.SnapshotID
	}
	published, _, err := l.Bus.Published(ctx)
	if err != nil {
		return fmt.Errorf("read what is published: %w", err)
	}
	if why := moved(f, current, published); why != "" {
		return badData{fmt.Errorf("%w on the inputs that it had: %s; submit a new run: it builds just what is stale (shoplake run %s)", ErrNotResumable, why, f.submitted.GetFlow())}
	}
	return nil
}
