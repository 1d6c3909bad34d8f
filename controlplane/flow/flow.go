// Package flow tells which flows the active pipeline has.
package flow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/shoplake/shoplake/controlplane/page"
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
	for _, f := range flows {
		response.Flows = append(response.Flows, present(p, f))
	}
	return response, nil
}

// GetFlow returns one flow.
func (h *Handler) GetFlow(ctx context.Context, r *shoplakev1.GetFlowRequest) (*shoplakev1.Flow, error) {
	p, f, err := h.flow(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	return present(p, f), nil
}

// GetFlowGraph returns the tables of a flow and what each reads.
func (h *Handler) GetFlowGraph(ctx context.Context, r *shoplakev1.GetFlowGraphRequest) (*shoplakev1.FlowGraph, error) {
	p, f, err := h.flow(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	graph := &shoplakev1.FlowGraph{}
	for _, table := range p.TablesOf(f) {
		node := &shoplakev1.FlowNode{Table: table, Inputs: p.DependsOn(table)}
		if source := p.SourceOf(table); source != nil {
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

func present(p *pipeline.Pipeline, f *pipeline.Flow) *shoplakev1.Flow {
	return &shoplakev1.Flow{Name: "flows/" + f.Name, Title: f.Title, Description: f.Description, Tables: p.TablesOf(f)}
}
