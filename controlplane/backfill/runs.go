package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// Runs makes the runs of backfills.
type Runs struct {
	Log       *runs.Log
	Pipelines *pipelinestore.Store
}

// submit makes the run of an interval by the pipeline that is active now: ordinary runs go by it too.
func (r Runs) submit(ctx context.Context, b *dispatchv1.Backfill, i int) (string, error) {
	p, err := r.Pipelines.Active(ctx)
	if err != nil {
		return "", err
	}
	v := b.GetIntervals()[i]
	submitted := &dispatchv1.RunSubmitted{Flow: b.GetFlow(), Trigger: shoplakev1.Trigger_TRIGGER_BACKFILL.String(), RequestId: requestID(b, i), PipelineDigest: p.Digest,
		StartDate: v.GetStartDate(), EndDate: v.GetEndDate(), Backfill: b.GetBackfillId(), Defers: v.GetDefers()}
	submitted.TraceId, submitted.SpanId = telemetry.NewIDs()
	return r.Log.Submit(ctx, submitted)
}

// cancel asks a run to stop; one that is as good as done goes on to its end.
func (r Runs) cancel(ctx context.Context, runID string) error {
	if err := r.Log.Cancel(ctx, runID); err != nil && !errors.Is(err, runs.ErrEnded) {
		return err
	}
	return nil
}

func (r Runs) look(ctx context.Context, runID string) (seen run, err error) {
	err = r.Log.View(ctx, runID, func(s *runs.State) error {
		seen.state = s.Phase
		if f := s.Failure; f != nil {
			seen.message = f.Message
			if f.Stage != "" {
				seen.message = f.Stage + ": " + f.Message
			}
		}
		return nil
	})
	if errors.Is(err, runs.ErrNotFound) {
		return run{state: shoplakev1.RunState_RUN_STATE_FAILED, message: fmt.Sprintf("the log of run %s is gone", runID)}, nil
	}
	return seen, err
}
