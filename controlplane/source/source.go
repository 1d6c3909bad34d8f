// Package source tells where raw data comes from and what became of each file.
package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/page"
	"github.com/shoplake/shoplake/controlplane/published"
	"github.com/shoplake/shoplake/controlplane/runs"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// ErrNotFound says that there is no such source.
var ErrNotFound = errors.New("no such source")

// Handler serves shoplake.v1.SourceService.
type Handler struct {
	shoplakev1.UnimplementedSourceServiceServer
	Reader *published.Reader
	// Landing is the folder that holds a folder for each source.
	Landing string
}

// ListSources lists the sources of the pipeline.
func (h *Handler) ListSources(ctx context.Context, r *shoplakev1.ListSourcesRequest) (*shoplakev1.ListSourcesResponse, error) {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	sources, next, err := page.Cut(state.Pipeline.Sources, r.GetPageSize(), r.GetPageToken(), "sources")
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListSourcesResponse{NextPageToken: next}
	for _, s := range sources {
		response.Sources = append(response.Sources, present(s))
	}
	return response, nil
}

// GetSource returns one source.
func (h *Handler) GetSource(ctx context.Context, r *shoplakev1.GetSourceRequest) (*shoplakev1.Source, error) {
	_, s, err := h.source(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	return present(s), nil
}

func (h *Handler) source(ctx context.Context, name string) (*published.State, *pipeline.Source, error) {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := state.Pipeline.Source(strings.TrimPrefix(name, "sources/"))
	if s == nil {
		known := []string{}
		for _, other := range state.Pipeline.Sources {
			known = append(known, other.Name)
		}
		return nil, nil, fmt.Errorf("%s: %w: the pipeline has %s", name, ErrNotFound, strings.Join(known, ", "))
	}
	return state, s, nil
}

func present(s *pipeline.Source) *shoplakev1.Source {
	view := &shoplakev1.Source{Name: "sources/" + s.Name, Title: s.Title, Description: s.Description, Format: string(s.Contract.Format.Kind), ContractVersion: s.Contract.Version}
	for i := range s.Contract.Columns {
		c := &s.Contract.Columns[i]
		view.Columns = append(view.Columns, &shoplakev1.SourceColumn{
			Name: c.Name, Type: string(c.Type), Required: c.Required, Key: slices.Contains(s.Contract.Key, c.Name), Rules: c.Rules(), Description: c.Description,
		})
	}
	return view
}

// ListFiles lists the files of a source, by name: those that were read, and those that lie in landing and were not.
func (h *Handler) ListFiles(ctx context.Context, r *shoplakev1.ListFilesRequest) (*shoplakev1.ListFilesResponse, error) {
	state, s, err := h.source(ctx, r.GetParent())
	if err != nil {
		return nil, err
	}
	byPath, err := readFiles(ctx, state, s)
	if err != nil {
		return nil, fmt.Errorf("read the fate of the files of %s: %w", s.Name, err)
	}
	landing, err := runs.LandingFiles(h.Landing, s)
	if err != nil {
		return nil, err
	}
	for _, file := range byPath {
		lies, ok := landing[file.GetPath()]
		switch {
		case !ok:
			file.State = shoplakev1.FileState_FILE_STATE_GONE
		case lies.Bytes != file.GetSizeBytes():
			file.State = shoplakev1.FileState_FILE_STATE_CHANGED
		}
	}
	for path, lies := range landing {
		if byPath[path] == nil {
			byPath[path] = &shoplakev1.File{Name: "sources/" + s.Name + "/files/" + path, Path: path, State: shoplakev1.FileState_FILE_STATE_NEW, SizeBytes: lies.Bytes}
		}
	}
	all := make([]*shoplakev1.File, 0, len(byPath))
	for _, file := range byPath {
		all = append(all, file)
	}
	slices.SortFunc(all, func(a, b *shoplakev1.File) int { return strings.Compare(a.GetPath(), b.GetPath()) })
	files, next, err := page.Cut(all, r.GetPageSize(), r.GetPageToken(), "files of "+s.Name)
	return &shoplakev1.ListFilesResponse{Files: files, NextPageToken: next}, err
}

// readFiles are the latest versions of the files that were read, by path.
func readFiles(ctx context.Context, state *published.State, s *pipeline.Source) (map[string]*shoplakev1.File, error) {
	session, err := state.Open(ctx, []string{pipeline.IngestedTable}, false)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	rows, err := session.Query(ctx, `
		SELECT path, state, sha256, size_bytes, rows_read, rows_bronze, rows_quarantined, ingested_at, run_id, contract_version, error
		FROM ops.ingested WHERE source = $source
		QUALIFY row_number() OVER (PARTITION BY path ORDER BY ingested_at DESC, run_id DESC) = 1`, map[string]any{"source": s.Name})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	files := map[string]*shoplakev1.File{}
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			return nil, err
		}
		file := &shoplakev1.File{State: shoplakev1.FileState_FILE_STATE_INGESTED}
		file.Path, _ = v[0].(string)
		file.Name = "sources/" + s.Name + "/files/" + file.Path
		if v[1] == pipeline.StateUnreadable {
			file.State = shoplakev1.FileState_FILE_STATE_UNREADABLE
		}
		file.Sha256, _ = v[2].(string)
		file.SizeBytes, _ = v[3].(int64)
		file.RowsRead, _ = v[4].(int64)
		file.RowsBronze, _ = v[5].(int64)
		file.RowsQuarantined, _ = v[6].(int64)
		if at, ok := v[7].(time.Time); ok {
			file.IngestTime = timestamppb.New(at)
		}
		run, _ := v[8].(string)
		file.Run = "runs/" + run
		file.ContractVersion, _ = v[9].(string)
		file.Error, _ = v[10].(string)
		files[file.Path] = file
	}
	return files, rows.Err()
}
