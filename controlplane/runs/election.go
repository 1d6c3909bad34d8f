package runs

import (
	"context"
	"fmt"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
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
	}
}

func (l *leader) loadOpenRuns(ctx context.Context) error {
	ids, err := l.Bus.Runs(ctx)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	for _, id := range ids {
		r, err := l.load(ctx, id)
		if err != nil {
			return err
		}
		if r.state.Submitted != nil {
			r.recordAgain(ctx, time.Now())
		}
	}
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
			var plan dispatchv1.StagePlan
			if err := l.readObject(ctx, st.Planned.GetPlanPath(), st.Planned.GetPlanSha256(), &plan); err != nil {
				return fmt.Errorf("read the plan of %s: %w", st.Table, err)
			}
			for _, out := range plan.GetOutputs() {
				if err := l.Lake.Fence(ctx, out.GetTable(), l.epoch); err != nil {
					return fmt.Errorf("take over the commit of %s: %w", out.GetTable(), err)
				}
			}
		}
	}
	return nil
}
