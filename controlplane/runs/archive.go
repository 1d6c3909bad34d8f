package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoplake/shoplake/internal/bus"
)

// Retention says when runs that have ended are moved to ops.runs, and for how long their logs stay in JetStream besides.
type Retention struct {
	// Runs is how many of the newest runs that have ended keep their logs; the default where 0.
	Runs int
	// Time is for how long at least every log is kept after its run has ended; the default where 0.
	Time time.Duration
	// Interval is how often runs that have ended are added to ops.runs, each time by one commit; the default where 0.
	Interval time.Duration
}

// Defaults of Retention.
const (
	KeepRuns        = 1000
	KeepRunsTime    = 7 * 24 * time.Hour
	archiveInterval = time.Minute
)

// orDefault gives the retention with defaults where nothing is said.
func (r Retention) orDefault() Retention {
	return Retention{Runs: cmp.Or(r.Runs, KeepRuns), Time: cmp.Or(r.Time, KeepRunsTime), Interval: cmp.Or(r.Interval, archiveInterval)}
}

const (
	// archiveBatch is how many runs are added to ops.runs at once; so many are not kept waiting.
	archiveBatch = 100
	// requestMargin is for how much longer than its request id is remembered a run keeps its log: a request that is repeated must
	// find that its run was made.
	requestMargin = time.Hour
)

// purgedSetting is the newest run whose log was removed: what is newer than it is in JetStream.
const purgedSetting = "purged-runs"

// keepHistory moves runs that have ended to ops.runs and removes logs that have been kept for long enough, until ctx ends.
func (l *leader) keepHistory(ctx context.Context) {
	last := time.Time{}
	interval := l.Retention.orDefault().Interval
	tick := time.NewTicker(min(lookAround, interval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// The first time it is looked for what a former coordinator has left.
		waiting := l.unarchived.Load()
		if due := time.Since(last) >= interval; waiting < archiveBatch && (!due || waiting == 0 && !last.IsZero()) {
			continue
		}
		last = time.Now()
		l.unarchived.Store(0)
		if err := l.archive(ctx, last); err != nil && ctx.Err() == nil {
			l.unarchived.Add(1)
			l.Log.WarnContext(ctx, "could not move runs that have ended to ops.runs; trying again, their logs stay", "error", err)
		}
	}
}

// archive is one pass.
func (l *leader) archive(ctx context.Context, now time.Time) error {
	index, err := l.Bus.RunIndex(ctx)
	if err != nil {
		return err
	}
	if err := l.startPurged(ctx); err != nil {
		return err
	}
	var waiting []string
	for id := range index.Logs {
		if index.HasEnded(id) && !index.IsArchived(id) {
			waiting = append(waiting, id)
		}
	}
	slices.Sort(waiting)
	for batch := range slices.Chunk(waiting, archiveBatch) {
		if err := l.archiveRuns(ctx, batch); err != nil {
			return err
		}
		for _, id := range batch {
			index.Archived[id] = index.Ended[id]
		}
	}
	return l.removeLogs(ctx, index, now)
}

func (l *leader) archiveRuns(ctx context.Context, ids []string) error {
	var states []*State
	for _, id := range ids {
		s := NewState(id)
		if err := l.log.fold(ctx, s); err != nil {
			return err
		}
		if s.Submitted == nil || !s.Terminal() {
			continue // it was opened again just now
		}
		states = append(states, s)
	}
	if err := l.log.history.Add(ctx, l.epoch, states); err != nil {
		return fmt.Errorf("add %d runs to ops.runs: %w", len(states), err)
	}
	for _, s := range states {
		if err := l.Bus.MarkArchived(ctx, s.RunID, s.Messages); err != nil {
			return err
		}
	}
	return nil
}

// removeLogs removes the logs of runs that ended long ago, each only when ops.runs has been seen to have it.
func (l *leader) removeLogs(ctx context.Context, index *bus.RunIndex, now time.Time) error {
	keep := l.Retention.orDefault()
	var ended []string
	for id := range index.Logs {
		if index.HasEnded(id) {
			ended = append(ended, id)
		}
	}
	if len(ended) <= keep.Runs {
		return nil
	}
	slices.Sort(ended)
	var old []string
	for _, id := range ended[:len(ended)-keep.Runs] {
		created := dayOf(id)
		if !index.IsArchived(id) || now.Sub(created) < max(keep.Time, bus.RequestTTL+requestMargin) {
			continue
		}
		s := NewState(id)
		if err := l.log.fold(ctx, s); err != nil {
			return err
		}
		if s.Terminal() && now.Sub(s.Ended) >= keep.Time {
			old = append(old, id)
		}
	}
	for batch := range slices.Chunk(old, archiveBatch) {
		if err := l.removeArchived(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (l *leader) removeArchived(ctx context.Context, ids []string) error {
	byMonth, _, err := l.log.history.months(ctx)
	if err != nil {
		return err
	}
	known, err := l.log.history.has(ctx, byMonth, ids)
	if err != nil {
		return err
	}
	if err := l.raisePurged(ctx, ids[len(ids)-1]); err != nil {
		return err
	}
	for _, id := range ids {
		// Since the setting was raised nobody resumes them: one that was resumed before is seen here.
		s := NewState(id)
		if err := l.log.fold(ctx, s); err != nil {
			return err
		}
		resumed, there := known[id]
		switch {
		case !s.Terminal():
			continue
		case there && resumed >= int64(s.Life):
			err = l.Bus.ForgetRun(ctx, id)
		default: // the lake is older than NATS: somebody put an old copy of it back
			err = l.Bus.UnmarkArchived(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	l.Log.InfoContext(ctx, "removed the logs of runs that ended long ago; ops.runs keeps the runs", "runs", len(ids))
	return nil
}

// startPurged notes, where nothing is noted yet, what ops.runs may have that JetStream does not: nothing at first, all of it where
// NATS lost its state.
func (l *leader) startPurged(ctx context.Context) error {
	_, _, err := l.Bus.Setting(ctx, purgedSetting)
	if !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	newest, err := l.log.history.Newest(ctx)
	if err != nil {
		return err
	}
	_, err = l.Bus.CompareAndSetSetting(ctx, purgedSetting, []byte(newest), 0)
	if errors.Is(err, bus.ErrConflict) {
		return nil
	}
	return err
}

func (l *leader) raisePurged(ctx context.Context, id string) error {
	for {
		value, revision, err := l.Bus.Setting(ctx, purgedSetting)
		if err != nil {
			return err
		}
		if string(value) >= id {
			return nil
		}
		_, err = l.Bus.CompareAndSetSetting(ctx, purgedSetting, []byte(id), revision)
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
}

// purged is up to which run ops.runs may have runs that JetStream does not; unknown where nothing is noted yet.
func (l *Log) purged(ctx context.Context) (upTo string, known bool, err error) {
	if l.history == nil {
		return "", true, nil
	}
	value, _, err := l.bus.Setting(ctx, purgedSetting)
	if errors.Is(err, bus.ErrNotFound) {
		return "", false, nil
	}
	return string(value), err == nil, err
}

// archived reads a run that has no log from ops.runs; ErrNotFound where it is not there either.
func (l *Log) archived(ctx context.Context, runID string) (*State, error) {
	upTo, known, err := l.purged(ctx)
	if err != nil {
		return nil, err
	}
	if known && runID > upTo {
		return nil, fmt.Errorf("run %s: %w", runID, ErrNotFound)
	}
	return l.history.Run(ctx, runID)
}
