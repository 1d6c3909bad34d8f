// Package flow tells which flows the active pipeline has and when they run, and pauses and resumes them.
package flow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/page"
	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/controlplane/schedule"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

// ErrNotFound says that the pipeline has no such flow.
var ErrNotFound = errors.New("no such flow")

// Handler serves shoplake.v1.FlowService.
type Handler struct {
	shoplakev1.UnimplementedFlowServiceServer
	Pipelines *pipelinestore.Store
	States    schedule.States
	Runs      schedule.Runs
	// Scheduled says that whoever leads keeps schedules.
	Scheduled bool
	// Landing is the folder that holds a folder for each source; Settle is how long a file there must have rested.
	Landing string
	Settle  time.Duration
}

// ListFlows lists the flows of the active pipeline.
func (h *Handler) ListFlows(ctx context.Context, r *shoplakev1.ListFlowsRequest) (*shoplakev1.ListFlowsResponse, error) {
	p, err := h.Pipelines.Active(ctx)
	if err != nil {
		return nil, err
	}
	flows, next, err := page.Cut(p.Flows, r.GetPageSize(), r.GetPageToken(), "flows")
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListFlowsResponse{NextPageToken: next}
	last, err := h.lastRuns(ctx, flows)
	if err != nil {
		return nil, err
	}
	for _, f := range flows {
		view, err := h.present(ctx, p, f, last[f.Name])
		if err != nil {
			return nil, err
		}
		response.Flows = append(response.Flows, view)
	}
	return response, nil
}

// GetFlow returns one flow.
func (h *Handler) GetFlow(ctx context.Context, r *shoplakev1.GetFlowRequest) (*shoplakev1.Flow, error) {
	return h.get(ctx, r.GetName())
}

func (h *Handler) get(ctx context.Context, name string) (*shoplakev1.Flow, error) {
	p, f, err := h.flow(ctx, name)
	if err != nil {
		return nil, err
	}
	last, err := h.lastRuns(ctx, []*pipeline.Flow{f})
	if err != nil {
		return nil, err
	}
	return h.present(ctx, p, f, last[f.Name])
}

// PauseFlow keeps a flow from being started by its schedule, by files and by other flows.
func (h *Handler) PauseFlow(ctx context.Context, r *shoplakev1.PauseFlowRequest) (*shoplakev1.Flow, error) {
	return h.move(ctx, r.GetName(), schedule.Pause)
}

// ResumeFlow ends a pause.
func (h *Handler) ResumeFlow(ctx context.Context, r *shoplakev1.ResumeFlowRequest) (*shoplakev1.Flow, error) {
	return h.move(ctx, r.GetName(), func(st schedule.State) schedule.State { return schedule.Resume(st, time.Now()) })
}

func (h *Handler) move(ctx context.Context, name string, change func(schedule.State) schedule.State) (*shoplakev1.Flow, error) {
	_, f, err := h.flow(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := schedule.Move(ctx, h.States, f.Name, change); err != nil {
		return nil, err
	}
	return h.get(ctx, name)
}

// GetFlowGraph returns the tables of a flow and what each reads.
func (h *Handler) GetFlowGraph(ctx context.Context, r *shoplakev1.GetFlowGraphRequest) (*shoplakev1.FlowGraph, error) {
	p, f, err := h.flow(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	graph := &shoplakev1.FlowGraph{}
	for _, table := range p.TablesOf(f) {
		node := &shoplakev1.FlowNode{Table: table, Inputs: p.WaitsFor(f, table)}
		if source := p.SourceOf(table); source != nil && f.Maintenance == nil {
			node.Inputs = []string{"sources/" + source.Name}
		}
		graph.Nodes = append(graph.Nodes, node)
	}
	return graph, nil
}

func (h *Handler) flow(ctx context.Context, name string) (*pipeline.Pipeline, *pipeline.Flow, error) {
	p, err := h.Pipelines.Active(ctx)
	if err != nil {
		return nil, nil, err
	}
	f := p.Flow(strings.TrimPrefix(name, "flows/"))
	if f == nil {
		return nil, nil, fmt.Errorf("%s: %w: see `shoplake flows list`", name, ErrNotFound)
	}
	return p, f, nil
}

// lookedThrough bounds the runs among which the last one of a flow is looked for.
const lookedThrough = 500

// lastRuns are the newest runs of flows, by flow; what a backfill did says nothing of how the flow itself does.
func (h *Handler) lastRuns(ctx context.Context, flows []*pipeline.Flow) (map[string]*shoplakev1.FlowRun, error) {
	last := map[string]*shoplakev1.FlowRun{}
	wanted := map[string]bool{}
	for _, f := range flows {
		wanted[f.Name] = true
	}
	looked := 0
	err := h.Runs.List(ctx, "", func(s *runs.State) bool {
		if flow := s.Submitted.GetFlow(); wanted[flow] && !s.Dry() && s.Submitted.GetBackfill() == "" {
			run := s.Run()
			last[flow] = &shoplakev1.FlowRun{Run: run.GetName(), State: run.GetState(), CreateTime: run.GetCreateTime(), EndTime: run.GetEndTime()}
			delete(wanted, flow)
		}
		looked++
		return len(wanted) > 0 && looked < lookedThrough
	})
	if err != nil {
		return nil, fmt.Errorf("look for the last runs: %w", err)
	}
	return last, nil
}

func (h *Handler) present(ctx context.Context, p *pipeline.Pipeline, f *pipeline.Flow, last *shoplakev1.FlowRun) (*shoplakev1.Flow, error) {
	view := &shoplakev1.Flow{Name: "flows/" + f.Name, Title: f.Title, Description: f.Description, Tables: p.TablesOf(f), LastRun: last}
	for _, name := range f.FileSources {
		view.FileSources = append(view.FileSources, "sources/"+name)
	}
	for _, name := range f.After {
		view.After = append(view.After, "flows/"+name)
	}
	if s := f.Schedule; s != nil {
		view.Schedule = &shoplakev1.FlowSchedule{
			Cron: s.Cron, TimeZone: s.TimeZone, StartDate: s.StartDate, EndDate: s.EndDate,
			CatchUp: string(s.CatchUp), Concurrency: int32(s.Concurrency), OnOverlap: string(s.OnOverlap),
		}
	}
	st, _, err := schedule.Read(ctx, h.States, f.Name)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	view.Paused, view.Waiting = st.Paused, int32(len(st.Waiting))
	if h.Scheduled {
		next, err := schedule.Upcoming(f.Schedule, st, now)
		if err != nil {
			return nil, err
		}
		if !next.IsZero() {
			view.NextRunTime = timestamppb.New(next)
		}
	}
	view.Late, err = schedule.Lateness(p, f, st, h.Landing, h.Settle, now)
	return view, err
}
