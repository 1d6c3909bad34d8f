package runs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// Run stands for election and coordinates whenever it is elected, until ctx ends. onLead is told when the lease comes and goes.
func (c *Coordinator) Run(ctx context.Context, onLead func(leads bool)) error {
	for {
		lease, err := c.Bus.Campaign(ctx, c.Holder, c.LeaseTTL)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			c.Log.WarnContext(ctx, "could not stand for election; trying again", "error", err)
			if !wait(ctx, c.LeaseTTL/2) {
				return nil
			}
			continue
		}
		onLead(true)
		elected := time.Now()
		err = c.lead(ctx, lease)
		onLead(false)
		if ctx.Err() != nil {
			resign, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return lease.Resign(resign)
		}
		c.Log.WarnContext(ctx, "no longer coordinating runs", "epoch", lease.Epoch(), "error", err)
		if err := lease.Resign(ctx); err != nil {
			c.Log.DebugContext(ctx, "the lease could not be given back; it runs out by itself", "error", err)
		}
		if time.Since(elected) < c.LeaseTTL && !wait(ctx, c.LeaseTTL/2) { // what failed at once would fail again at once
			return nil
		}
	}
}

// loadOpenRuns takes the runs that have not ended into the leader's hands. Of those that have it reads names alone.
func (l *leader) loadOpenRuns(ctx context.Context) error {
	index, err := l.Bus.RunIndex(ctx)
	if err != nil {
		return err
	}
	for _, id := range index.Open() {
		if _, marked := index.Ended[id]; marked { // its log lost the end that was noted
			if err := l.Bus.UnmarkEnded(ctx, id); err != nil {
				return err
			}
		}
		r, err := l.load(ctx, id)
		if err != nil {
			return err
		}
		if r.state.Submitted == nil {
			continue
		}
		r.recordAgain(ctx, time.Now())
		if r.state.Terminal() { // the former coordinator did not live to note it
			l.log.keepCheckpoint(ctx, r.state)
			if err := l.noteEnd(ctx, r.state); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteEnd notes that a run has ended: nobody has to read its log any more.
func (l *leader) noteEnd(ctx context.Context, s *State) error {
	if err := l.Bus.MarkEnded(ctx, s.RunID, s.Messages); err != nil {
		return err
	}
	l.unarchived.Add(1)
	return nil
}

// load folds what a run's log holds that the leader has not seen, and keeps the run where it is open.
func (l *leader) load(ctx context.Context, runID string) (*running, error) {
	r := l.runs[runID]
	if r == nil {
		r = newRunning(runID)
	}
	if err := l.log.fold(ctx, r.state); err != nil {
		return nil, err
	}
	if r.state.Submitted == nil || r.state.Terminal() {
		delete(l.runs, runID)
	} else {
		l.runs[runID] = r
	}
	return r, nil
}

// fenceCommits writes the leader's epoch into the tables that announced commits name: a coordinator that slept, and wakes up
// in the middle of one, is refused.
func (l *leader) fenceCommits(ctx context.Context) error {
	for _, r := range l.runs {
		for _, st := range r.state.Stages {
			if st.State != shoplakev1.StageState_STAGE_STATE_COMMITTING {
				continue
			}
			tables, err := l.announced(ctx, st)
			if err != nil {
				return err
			}
			for _, table := range tables {
				if err := l.Lake.Fence(ctx, table, l.epoch); err != nil && !errors.Is(err, lake.ErrNotFound) { // to what was dropped nobody commits
					return fmt.Errorf("take over the commit of %s: %w", table, err)
				}
			}
		}
	}
	return nil
}

// announced are the tables that a stage's announced commit writes. Where somebody removed or altered the plan that names them, it
// is all that may be among them.
func (l *leader) announced(ctx context.Context, st *Stage) ([]string, error) {
	var plan dispatchv1.StagePlan
	err := l.readObject(ctx, st.Planned.GetPlanPath(), st.Planned.GetPlanSha256(), &plan)
	tables := []string{st.Table}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errAltered):
		for _, t := range pipeline.OpsTables() {
			tables = append(tables, t.Name)
		}
	case err != nil:
		return nil, fmt.Errorf("read the plan of %s: %w", st.Table, err)
	}
	for _, out := range plan.GetOutputs() {
		tables = append(tables, out.GetTable())
	}
	return tables, nil
}
