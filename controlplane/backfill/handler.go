package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/page"
	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

// ErrNotFound says that there is no such backfill.
var ErrNotFound = errors.New("no such backfill: see `shoplake backfill list`")

// Handler serves shoplake.v1.BackfillService.
type Handler struct {
	shoplakev1.UnimplementedBackfillServiceServer
	Bus         *bus.Bus
	Coordinator *runs.Coordinator
	Runs        *runs.Log
	Pipelines   *pipelinestore.Store
	// Driver is told what people ask for.
	Driver *Driver
	Pool   string
}

// CreateBackfill starts a backfill, or says what it would build.
func (h *Handler) CreateBackfill(ctx context.Context, r *shoplakev1.CreateBackfillRequest) (*shoplakev1.Backfill, error) {
	p, err := h.Pipelines.Active(ctx)
	if err != nil {
		return nil, err
	}
	flow := strings.TrimPrefix(r.GetFlow(), "flows/")
	if p.Flow(flow) == nil {
		return nil, fmt.Errorf("flow %q: %w: see `shoplake flows list`", flow, runs.ErrNoFlow)
	}
	if p.Flow(flow).Maintenance != nil {
		return nil, fmt.Errorf("flow %s maintains tables and builds none: %w", flow, ErrNothing)
	}
	id := ulid.Make().String()
	if !r.GetValidateOnly() {
		request := r.GetRequestId()
		if request == "" {
			request = uuid.NewString()
		}
		existing, created, err := h.Bus.ClaimRequest(ctx, "backfill-"+request, id)
		if err != nil {
			return nil, fmt.Errorf("claim the request %s: %w", request, err)
		}
		if id = existing; !created {
			if b, _, err := h.Bus.Backfill(ctx, id); err == nil {
				return h.present(ctx, b, true)
			} else if !errors.Is(err, bus.ErrNotFound) { // else a server died between the claim and here
				return nil, err
			}
		}
	}
	size := int(r.GetIntervalSize())
	if size == 0 {
		if size, err = h.slots(ctx); err != nil {
			return nil, err
		}
	}
	foreseen, err := h.Coordinator.Foresee(ctx, p, &dispatchv1.RunSubmitted{Flow: flow, PipelineDigest: p.Digest, StartDate: r.GetStartDate(), EndDate: r.GetEndDate(),
		Backfill: "of these days", DryRun: true})
	if err != nil {
		return nil, err
	}
	intervals, err := cut(p, foreseen, r.GetStartDate(), r.GetEndDate(), size)
	if err != nil {
		return nil, fmt.Errorf("cut the backfill of %s from %s to %s into intervals: %w", flow, r.GetStartDate(), r.GetEndDate(), err)
	}
	b := &dispatchv1.Backfill{BackfillId: id, Flow: flow, StartDate: r.GetStartDate(), EndDate: r.GetEndDate(), State: running,
		Continues: r.GetOnFailure() == shoplakev1.OnFailure_ON_FAILURE_CONTINUE, CreateTime: timestamppb.Now()}
	for _, v := range intervals {
		b.Intervals = append(b.Intervals, &dispatchv1.BackfillInterval{StartDate: v.from, EndDate: v.to, State: intervalWaiting, Partitions: v.partitions()})
	}
	for _, f := range foreseen {
		if source, ok := strings.CutPrefix(f.Table, "bronze."); ok && len(f.Partitions) > 0 {
			b.Notices = append(b.Notices, fmt.Sprintf("%d new files of %s are read by the first run: what they touch besides can't be told before", len(f.Partitions), source))
		}
	}
	if r.GetValidateOnly() {
		view, err := h.present(ctx, b, true)
		if err != nil {
			return nil, err
		}
		view.Name, view.State, view.CreateTime = "", shoplakev1.BackfillState_BACKFILL_STATE_UNSPECIFIED, nil
		for i, v := range intervals {
			view.Intervals[i].Tables = v.tables
		}
		return view, nil
	}
	if _, err := h.Bus.MoveBackfill(ctx, b, 0); err != nil && !errors.Is(err, bus.ErrConflict) {
		return nil, err
	}
	h.Driver.Wake()
	return h.get(ctx, id)
}

// slots is how many tasks the workers that live do at a time.
func (h *Handler) slots(ctx context.Context) (int, error) {
	workers, err := h.Bus.Workers(ctx)
	if err != nil {
		return 0, fmt.Errorf("count the workers: %w", err)
	}
	n := 0
	for _, w := range workers {
		if w.GetPool() == "" || w.GetPool() == h.Pool {
			n += int(w.GetSlots())
		}
	}
	return max(1, n), nil
}

func (h *Handler) get(ctx context.Context, id string) (*shoplakev1.Backfill, error) {
	b, _, err := h.Bus.Backfill(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("backfill %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return h.present(ctx, b, true)
}

// GetBackfill returns one backfill.
func (h *Handler) GetBackfill(ctx context.Context, r *shoplakev1.GetBackfillRequest) (*shoplakev1.Backfill, error) {
	return h.get(ctx, strings.TrimPrefix(r.GetName(), "backfills/"))
}

// ListBackfills returns backfills, the newest first.
func (h *Handler) ListBackfills(ctx context.Context, r *shoplakev1.ListBackfillsRequest) (*shoplakev1.ListBackfillsResponse, error) {
	ids, _, err := h.Bus.Backfills(ctx)
	if err != nil {
		return nil, err
	}
	slices.Reverse(ids)
	ids, next, err := page.Cut(ids, r.GetPageSize(), r.GetPageToken(), "")
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListBackfillsResponse{NextPageToken: next}
	for _, id := range ids {
		b, _, err := h.Bus.Backfill(ctx, id)
		if err != nil {
			return nil, err
		}
		view, err := h.present(ctx, b, false)
		if err != nil {
			return nil, err
		}
		response.Backfills = append(response.Backfills, view)
	}
	return response, nil
}

// PauseBackfill starts no more runs of a backfill.
func (h *Handler) PauseBackfill(ctx context.Context, r *shoplakev1.PauseBackfillRequest) (*shoplakev1.Backfill, error) {
	return h.change(ctx, r.GetName(), pause)
}

// ResumeBackfill lets a backfill go on.
func (h *Handler) ResumeBackfill(ctx context.Context, r *shoplakev1.ResumeBackfillRequest) (*shoplakev1.Backfill, error) {
	return h.change(ctx, r.GetName(), resume)
}

// CancelBackfill cancels the run that is under way, and starts no more.
func (h *Handler) CancelBackfill(ctx context.Context, r *shoplakev1.CancelBackfillRequest) (*shoplakev1.Backfill, error) {
	return h.change(ctx, r.GetName(), stop)
}

func (h *Handler) change(ctx context.Context, name string, f func(*dispatchv1.Backfill) error) (*shoplakev1.Backfill, error) {
	id := strings.TrimPrefix(name, "backfills/")
	for {
		b, revision, err := h.Bus.Backfill(ctx, id)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, fmt.Errorf("backfill %s: %w", id, ErrNotFound)
		}
		if err != nil {
			return nil, err
		}
		if err := f(b); err != nil {
			return nil, err
		}
		_, err = h.Bus.MoveBackfill(ctx, b, revision)
		if errors.Is(err, bus.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		h.Driver.Wake()
		return h.present(ctx, b, true)
	}
}

func stateName(b *dispatchv1.Backfill) string {
	return strings.TrimPrefix(shoplakev1.BackfillState(b.GetState()).String(), "BACKFILL_STATE_")
}

// present is a backfill as the API shows it.
func (h *Handler) present(ctx context.Context, b *dispatchv1.Backfill, intervals bool) (*shoplakev1.Backfill, error) {
	view := &shoplakev1.Backfill{
		Name: "backfills/" + b.GetBackfillId(), Flow: "flows/" + b.GetFlow(), State: shoplakev1.BackfillState(b.GetState()),
		StartDate: b.GetStartDate(), EndDate: b.GetEndDate(), OnFailure: shoplakev1.OnFailure_ON_FAILURE_STOP, CreateTime: b.GetCreateTime(), EndTime: b.GetEndTime(),
		IntervalsTotal: int32(len(b.GetIntervals())), Notices: slices.Clone(b.GetNotices()),
	}
	if b.GetContinues() {
		view.OnFailure = shoplakev1.OnFailure_ON_FAILURE_CONTINUE
	}
	for _, v := range b.GetIntervals() {
		done := int64(0)
		switch v.GetState() {
		case intervalSucceeded:
			view.IntervalsDone++
			done = v.GetPartitions()
		case intervalFailed:
			view.IntervalsFailed++
			view.Notices = append(view.Notices, fmt.Sprintf("%s to %s failed: %s", v.GetStartDate(), v.GetEndDate(), v.GetError()))
		case intervalRunning:
			if v.GetRunId() == "" {
				break
			}
			err := h.Runs.View(ctx, v.GetRunId(), func(s *runs.State) error { done = min(v.GetPartitions(), builtPartitions(s)); return nil })
			if err != nil && !errors.Is(err, runs.ErrNotFound) {
				return nil, err
			}
		}
		view.PartitionsTotal += v.GetPartitions()
		view.PartitionsDone += done
		if intervals {
			one := &shoplakev1.BackfillInterval{StartDate: v.GetStartDate(), EndDate: v.GetEndDate(), State: shoplakev1.BackfillIntervalState(v.GetState()),
				Attempts: int32(v.GetAttempt()), PartitionsTotal: v.GetPartitions(), PartitionsDone: done, Error: v.GetError()}
			if v.GetRunId() != "" {
				one.Run = "runs/" + v.GetRunId()
			}
			view.Intervals = append(view.Intervals, one)
		}
	}
	return view, nil
}

// builtPartitions counts the partitions that a run has built.
func builtPartitions(s *runs.State) (n int64) {
	for _, st := range s.Stages {
		if st.State == shoplakev1.StageState_STAGE_STATE_SUCCEEDED {
			n += st.Planned.GetPartitions()
		}
	}
	return n
}
