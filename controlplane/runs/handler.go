package runs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/shoplake/shoplake/controlplane/page"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// Handler serves shoplake.v1.RunService.
type Handler struct {
	shoplakev1.UnimplementedRunServiceServer
	Coordinator *Coordinator
	Store       *pipelinestore.Store
	Runs        *Log
}

// SubmitRun stores a request for a run; with validate_only it says what would be built.
func (h *Handler) SubmitRun(ctx context.Context, r *shoplakev1.SubmitRunRequest) (*shoplakev1.Run, error) {
	p, err := h.Store.Active(ctx)
	if err != nil {
		return nil, err
	}
	flow := strings.TrimPrefix(r.GetFlow(), "flows/")
	selected := p.Flow(flow)
	if selected == nil {
		return nil, fmt.Errorf("flow %q: %w: see `shoplake flows list`", flow, ErrNoFlow)
	}
	if selected.Maintenance != nil && (r.GetStartDate() != "" || r.GetEndDate() != "" || r.GetFullRefresh()) {
		return nil, fmt.Errorf("%w: the flow %s maintains tables and builds nothing: leave out start_date, end_date and full_refresh", ErrInterval, flow)
	}
	submitted := &dispatchv1.RunSubmitted{
		Flow: flow, Trigger: shoplakev1.Trigger_TRIGGER_MANUAL.String(), RequestId: r.GetRequestId(), PipelineDigest: p.Digest,
		StartDate: r.GetStartDate(), EndDate: r.GetEndDate(), FullRefresh: r.GetFullRefresh(),
	}
	if submitted.GetStartDate() != "" && submitted.GetEndDate() != "" && submitted.GetStartDate() >= submitted.GetEndDate() {
		return nil, fmt.Errorf("%w: start_date %s is not before end_date %s (which is exclusive)", ErrInterval, submitted.GetStartDate(), submitted.GetEndDate())
	}
	if r.GetValidateOnly() {
		return h.dryRun(ctx, p, submitted)
	}
	if submitted.GetRequestId() == "" {
		submitted.RequestId = uuid.NewString()
	}
	submitted.TraceId, submitted.SpanId = telemetry.NewIDs()
	id, err := h.Runs.Submit(ctx, submitted)
	if err != nil {
		return nil, err
	}
	return h.run(ctx, id)
}

func (h *Handler) run(ctx context.Context, id string) (run *shoplakev1.Run, err error) {
	err = h.Runs.View(ctx, id, func(s *State) error { run = s.Run(); return nil })
	return run, err
}

// GetRun returns one run.
func (h *Handler) GetRun(ctx context.Context, r *shoplakev1.GetRunRequest) (*shoplakev1.Run, error) {
	return h.run(ctx, strings.TrimPrefix(r.GetName(), "runs/"))
}

// ListRuns returns runs, the newest first; dry runs only where the filter asks for them.
func (h *Handler) ListRuns(ctx context.Context, r *shoplakev1.ListRunsRequest) (*shoplakev1.ListRunsResponse, error) {
	match, err := parseFilter(r.GetFilter())
	if err != nil {
		return nil, err
	}
	before := r.GetPageToken()
	size := int(r.GetPageSize())
	if size == 0 {
		size = page.DefaultSize
	}
	response := &shoplakev1.ListRunsResponse{}
	err = h.Runs.List(ctx, before, func(s *State) bool {
		run := s.Run()
		if !match(run) {
			return true
		}
		if len(response.Runs) == size {
			response.NextPageToken = strings.TrimPrefix(response.Runs[size-1].GetName(), "runs/")
			return false
		}
		response.Runs = append(response.Runs, run)
		return true
	})
	return response, err
}

// CancelRun asks a run to stop.
func (h *Handler) CancelRun(ctx context.Context, r *shoplakev1.CancelRunRequest) (*shoplakev1.Run, error) {
	id := strings.TrimPrefix(r.GetName(), "runs/")
	if err := h.Runs.Cancel(ctx, id); err != nil {
		return nil, err
	}
	return h.run(ctx, id)
}

// ListStages returns the stages of a run in the order of their dependencies.
func (h *Handler) ListStages(ctx context.Context, r *shoplakev1.ListStagesRequest) (*shoplakev1.ListStagesResponse, error) {
	response := &shoplakev1.ListStagesResponse{}
	err := h.Runs.View(ctx, strings.TrimPrefix(r.GetParent(), "runs/"), func(s *State) error {
		response.Stages = s.StageViews()
		return nil
	})
	return response, err
}

// ListTasks returns the tasks of a stage.
func (h *Handler) ListTasks(ctx context.Context, r *shoplakev1.ListTasksRequest) (*shoplakev1.ListTasksResponse, error) {
	id, table, _ := strings.Cut(strings.TrimPrefix(r.GetParent(), "runs/"), "/stages/")
	var tasks []*shoplakev1.Task
	err := h.Runs.View(ctx, id, func(s *State) error {
		st, err := s.stageOf(table)
		if err != nil {
			return err
		}
		var plan dispatchv1.StagePlan
		if st.Planned != nil {
			err := h.Coordinator.readObject(ctx, st.Planned.GetPlanPath(), st.Planned.GetPlanSha256(), &plan)
			if err != nil && !(s.Terminal() && errors.Is(err, fs.ErrNotExist)) { // maintenance removes the plans of runs that have ended
				return fmt.Errorf("read the plan of %s: %w", table, err)
			}
		}
		tasks = st.TaskViews(id, &plan)
		return nil
	})
	if err != nil {
		return nil, err
	}
	tasks, next, err := page.Cut(tasks, r.GetPageSize(), r.GetPageToken(), r.GetParent())
	return &shoplakev1.ListTasksResponse{Tasks: tasks, NextPageToken: next}, err
}

// stageOf is the stage of a table, ErrNoStage where the run has none.
func (s *State) stageOf(table string) (*Stage, error) {
	if st := s.Stage(table); st != nil {
		return st, nil
	}
	return nil, fmt.Errorf("%w %s: it has %s", ErrNoStage, table, strings.Join(tables(s), ", "))
}

// WatchRun sends a snapshot of the run, then each change, until the run has ended.
func (h *Handler) WatchRun(r *shoplakev1.WatchRunRequest, stream grpc.ServerStreamingServer[shoplakev1.WatchRunResponse]) error {
	return h.Runs.Watch(stream.Context(), strings.TrimPrefix(r.GetName(), "runs/"), r.GetAfterSequence(), func(s *State, changed []string) error {
		response := &shoplakev1.WatchRunResponse{Sequence: s.Seq, Run: s.Run()}
		if len(changed) > 0 {
			response.Stages = s.StageViews(changed...)
		}
		return stream.Send(response)
	})
}

// WatchRuns sends the runs that are open, then each run that changes.
func (h *Handler) WatchRuns(r *shoplakev1.WatchRunsRequest, stream grpc.ServerStreamingServer[shoplakev1.WatchRunsResponse]) error {
	match, err := parseFilter(r.GetFilter())
	if err != nil {
		return err
	}
	return h.Runs.WatchAll(stream.Context(), func(runs []*shoplakev1.Run) error {
		response := &shoplakev1.WatchRunsResponse{}
		for _, run := range runs {
			if match(run) {
				response.Runs = append(response.Runs, run)
			}
		}
		return stream.Send(response)
	})
}
