package runs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// cancelWait is how long it may take to give up a dry run that nobody waits for any more.
const cancelWait = 5 * time.Second

// errNoWorker says that nobody is there to read the files that a dry run waits for.
var errNoWorker = errors.New("no worker is there")

// pin returns the snapshot of every table as it is now.
func (l *planner) pin(ctx context.Context) (map[string]int64, error) {
	names, err := l.Lake.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the lake's tables: %w", err)
	}
	pinned := map[string]int64{}
	for _, name := range names {
		t, err := l.Lake.Table(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("pin the snapshot of %s: %w", name, err)
		}
		pinned[name] = t.SnapshotID
	}
	return pinned, nil
}

// dryRun submits a dry run and waits for its end, while ctx lasts: nobody can ask for it again, so that it is given up when its
// caller goes away. Without workers it says at once what can be told without reading.
func (h *Handler) dryRun(ctx context.Context, p *pipeline.Pipeline, submitted *dispatchv1.RunSubmitted) (*shoplakev1.Run, error) {
	submitted.DryRun, submitted.RequestId = true, uuid.NewString()
	there, err := h.Coordinator.workersThere(ctx)
	if err != nil {
		return nil, err
	}
	if !there {
		return h.Coordinator.withoutReading(ctx, p, submitted)
	}
	submitted.TraceId, submitted.SpanId = telemetry.NewIDs()
	id, err := h.Runs.Submit(ctx, submitted)
	if err != nil {
		return nil, err
	}
	run, err := h.await(ctx, id)
	if err == nil {
		return run, nil
	}
	cancelling, done := context.WithTimeout(context.WithoutCancel(ctx), cancelWait)
	defer done()
	if e := h.Runs.Cancel(cancelling, id); e != nil && !errors.Is(e, ErrEnded) {
		err = errors.Join(err, fmt.Errorf("give up the dry run %s: %w", id, e))
	}
	if errors.Is(err, errNoWorker) {
		return h.Coordinator.withoutReading(ctx, p, submitted)
	}
	return nil, err
}

// await follows a dry run to its end. It fails with errNoWorker where files are to be read and the last worker has left.
func (h *Handler) await(ctx context.Context, id string) (run *shoplakev1.Run, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reads atomic.Bool
	go func() {
		for wait(ctx, lookAround) {
			if !reads.Load() {
				continue
			}
			if there, err := h.Coordinator.workersThere(ctx); err == nil && !there {
				cancel(errNoWorker)
			}
		}
	}()
	err = h.Runs.Watch(ctx, id, 0, func(s *State, _ []string) error {
		waits := false
		for _, st := range s.Stages {
			for _, t := range st.all() {
				waits = waits || !st.Terminal() && t.Done == nil
			}
		}
		reads.Store(waits)
		if s.Terminal() {
			run = s.Run()
			run.PlannedStages = s.StageViews()
		}
		return nil
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return run, err
}

// workersThere says whether a worker of the pool is registered.
func (c *Coordinator) workersThere(ctx context.Context) (bool, error) {
	workers, err := c.Bus.Workers(ctx)
	if err != nil {
		return false, fmt.Errorf("look for workers: %w", err)
	}
	for _, w := range workers {
		if w.GetPool() == "" || w.GetPool() == c.Pool {
			return true, nil
		}
	}
	return false, nil
}

// withoutReading says what a run would build and why, as far as it can be told without reading new files; nothing is stored.
func (c *Coordinator) withoutReading(ctx context.Context, p *pipeline.Pipeline, submitted *dispatchv1.RunSubmitted) (*shoplakev1.Run, error) {
	tables, err := c.Foresee(ctx, p, submitted)
	if err != nil {
		return nil, err
	}
	run := &shoplakev1.Run{Flow: "flows/" + submitted.GetFlow(), Pipeline: "pipelines/" + p.Digest, StartDate: submitted.GetStartDate(), EndDate: submitted.GetEndDate(),
		FullRefresh: submitted.GetFullRefresh(), DryRun: true}
	var unread []string
	for _, seen := range tables {
		stage := &shoplakev1.Stage{Table: seen.Table, DependsOn: seen.DependsOn, State: shoplakev1.StageState_STAGE_STATE_UP_TO_DATE, Reason: seen.Reason}
		run.PlannedStages = append(run.PlannedStages, stage)
		run.Notices = append(run.Notices, seen.Notices...)
		if !seen.Builds {
			continue
		}
		if source, ok := strings.CutPrefix(seen.Table, "bronze."); ok && p.Flow(submitted.GetFlow()).Maintenance == nil {
			unread = append(unread, fmt.Sprintf("%d of %s", len(seen.Partitions), source))
		}
		stage.State, stage.PlannedMore = shoplakev1.StageState_STAGE_STATE_PREVIEWED, seen.More
		stage.PlannedTotal, stage.Partitions = int64(len(seen.Partitions)), int64(len(seen.Partitions))
		stage.Planned = presentPlanned(shown(seen.Partitions))
	}
	if len(unread) > 0 {
		run.Notices = append(run.Notices, fmt.Sprintf("no worker is registered, so that new files were not read (%s) and not every partition can be told: start one with `shoplake worker`, then ask again", strings.Join(unread, ", ")))
	}
	return run, nil
}
