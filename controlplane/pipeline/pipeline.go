// Package pipeline keeps the pipelines that users send and says which one new runs use.
package pipeline

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/page"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

// Handler serves shoplake.v1.PipelineService.
type Handler struct {
	shoplakev1.UnimplementedPipelineServiceServer
	Pipelines *pipelinestore.Store
}

// CreatePipeline checks a folder and stores it. Its faults come as a pipeline.Faults, all at once.
func (h *Handler) CreatePipeline(ctx context.Context, r *shoplakev1.CreatePipelineRequest) (*shoplakev1.Pipeline, error) {
	files := map[string][]byte{}
	for _, f := range r.GetFiles() {
		files[f.GetPath()] = f.GetContent()
	}
	folder, err := pipelinestore.Folder(files)
	if err != nil {
		return nil, fmt.Errorf("read the files of the request: %w", err)
	}
	if r.GetValidateOnly() {
		p, err := pipelinestore.Check(ctx, folder)
		if err != nil {
			return nil, err
		}
		return present(p, true), nil
	}
	p, err := h.Pipelines.Put(ctx, folder)
	if err != nil {
		return nil, err
	}
	return h.complete(ctx, p, true)
}

// GetPipeline returns a stored pipeline with its files.
func (h *Handler) GetPipeline(ctx context.Context, r *shoplakev1.GetPipelineRequest) (*shoplakev1.Pipeline, error) {
	p, err := h.Pipelines.Get(ctx, strings.TrimPrefix(r.GetName(), "pipelines/"))
	if err != nil {
		return nil, err
	}
	return h.complete(ctx, p, true)
}

// ListPipelines lists the stored pipelines, the newest first.
func (h *Handler) ListPipelines(ctx context.Context, r *shoplakev1.ListPipelinesRequest) (*shoplakev1.ListPipelinesResponse, error) {
	stored, err := h.Pipelines.List(ctx)
	if err != nil {
		return nil, err
	}
	stored, next, err := page.Cut(stored, r.GetPageSize(), r.GetPageToken(), "pipelines")
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListPipelinesResponse{NextPageToken: next}
	for _, s := range stored {
		p, err := h.Pipelines.Get(ctx, s.Digest)
		if err != nil {
			return nil, err
		}
		view, err := h.complete(ctx, p, false)
		if err != nil {
			return nil, err
		}
		response.Pipelines = append(response.Pipelines, view)
	}
	return response, nil
}

// ActivatePipeline makes new runs use a stored pipeline.
func (h *Handler) ActivatePipeline(ctx context.Context, r *shoplakev1.ActivatePipelineRequest) (*shoplakev1.Pipeline, error) {
	p, err := h.Pipelines.Activate(ctx, strings.TrimPrefix(r.GetName(), "pipelines/"))
	if err != nil {
		return nil, err
	}
	return h.complete(ctx, p, false)
}

// complete adds what the store knows: when the pipeline was stored, and whether it is active.
func (h *Handler) complete(ctx context.Context, p *pipeline.Pipeline, files bool) (*shoplakev1.Pipeline, error) {
	view := present(p, files)
	stored, err := h.Pipelines.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range stored {
		if s.Digest == p.Digest {
			view.CreateTime = timestamppb.New(s.Time)
		}
	}
	active, err := h.Pipelines.Active(ctx)
	view.Active = err == nil && active.Digest == p.Digest
	return view, nil
}

func present(p *pipeline.Pipeline, files bool) *shoplakev1.Pipeline {
	view := &shoplakev1.Pipeline{Name: "pipelines/" + p.Digest, Title: p.Name, TimeZone: p.TimeZone, Currency: p.Currency}
	if files {
		for path, content := range p.Files {
			view.Files = append(view.Files, &shoplakev1.PipelineFile{Path: path, Content: content})
		}
	}
	return view
}
