// Package table shows the lake's tables as they are published, and answers SQL over them.
package table

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
	"github.com/shoplake/shoplake/controlplane/rows"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

const (
	// previewRows is how many rows a preview has where no number is asked for.
	previewRows = 20
	// queryRows is how many rows a query returns where no number is asked for.
	queryRows = 1_000
	// queryTime bounds a query.
	queryTime = 60 * time.Second
)

// ErrStatement says that a statement is not one SELECT over tables of the lake.
var ErrStatement = errors.New("statement is refused")

// Handler serves shoplake.v1.TableService.
type Handler struct {
	shoplakev1.UnimplementedTableServiceServer
	Reader *published.Reader
	Lake   *lake.Lake
}

// ListTables lists all tables of the pipeline and those that ingestion keeps.
func (h *Handler) ListTables(ctx context.Context, r *shoplakev1.ListTablesRequest) (*shoplakev1.ListTablesResponse, error) {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	names, next, err := page.Cut(state.Tables(), r.GetPageSize(), r.GetPageToken(), "tables")
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListTablesResponse{NextPageToken: next}
	for _, name := range names {
		view, err := h.present(ctx, state, name)
		if err != nil {
			return nil, err
		}
		response.Tables = append(response.Tables, view)
	}
	return response, nil
}

// GetTable returns one table.
func (h *Handler) GetTable(ctx context.Context, r *shoplakev1.GetTableRequest) (*shoplakev1.Table, error) {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	return h.present(ctx, state, strings.TrimPrefix(r.GetName(), "tables/"))
}

func (h *Handler) present(ctx context.Context, state *published.State, name string) (*shoplakev1.Table, error) {
	t, err := state.Table(ctx, name)
	if err != nil {
		return nil, err
	}
	view := &shoplakev1.Table{Name: "tables/" + name, Layer: published.Layer(name), Inputs: inputs(state.Pipeline, name)}
	for _, c := range state.Columns(name) {
		view.Columns = append(view.Columns, rows.Column(c.Name, c.Type, !c.Required))
	}
	if model := state.Pipeline.Model(name); model != nil {
		view.Sql, view.Key, view.Partition = model.SQL, model.Key, partition(model.Partition)
	} else if source := state.Pipeline.SourceOf(name); source != nil {
		view.Key = source.Contract.Key
	} else if kept, ok := state.Pipeline.PartitionOf(name); ok {
		view.Partition = partition(kept)
	}
	if t == nil {
		return view, nil
	}
	files, err := state.Files(ctx, name)
	if err != nil {
		return nil, err
	}
	view.SnapshotId, view.UpdateTime, view.Location = t.SnapshotID, timestamppb.New(t.Time), t.Location
	view.DataFiles = int64(len(files))
	for _, f := range files {
		view.Rows += f.Rows
		view.SizeBytes += f.Bytes
	}
	return view, nil
}

func inputs(p *pipeline.Pipeline, name string) []string {
	if source := p.SourceOf(name); source != nil {
		return []string{"sources/" + source.Name}
	}
	return p.DependsOn(name)
}

func partition(p pipeline.Partition) string {
	switch {
	case p.IsZero():
		return ""
	case p.Transform == pipeline.TransformMonth:
		return "month(" + p.Column + ")"
	}
	return p.Column
}

// PreviewTable returns the first rows of a table.
func (h *Handler) PreviewTable(ctx context.Context, r *shoplakev1.PreviewTableRequest) (*shoplakev1.PreviewTableResponse, error) {
	name := strings.TrimPrefix(r.GetName(), "tables/")
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	if !state.Has(name) {
		return nil, fmt.Errorf("table %s: %w: see `shoplake tables list`", name, published.ErrNotFound)
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = previewRows
	}
	set, _, err := h.query(ctx, state, []string{name}, "SELECT * FROM "+name, limit, shoplakev1.RowFormat_ROW_FORMAT_STRUCT)
	if err != nil {
		return nil, fmt.Errorf("preview %s: %w", name, err)
	}
	return &shoplakev1.PreviewTableResponse{RowSet: set}, nil
}

// QueryTables answers one SELECT.
func (h *Handler) QueryTables(ctx context.Context, r *shoplakev1.QueryTablesRequest) (*shoplakev1.QueryTablesResponse, error) {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	parsed, err := engine.Parse(ctx, r.GetSql())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	if len(parsed.Params) > 0 {
		return nil, fmt.Errorf("%w: it has parameters (%v); write the values", ErrStatement, parsed.Params)
	}
	var names []string
	for _, t := range parsed.Tables {
		if !state.Has(t.Table()) {
			return nil, fmt.Errorf("%w: line %d: there is no table %s: see `shoplake tables list`", ErrStatement, t.Line, t.Table())
		}
		names = append(names, t.Table())
	}
	slices.Sort(names)
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = queryRows
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	set, more, err := h.query(ctx, state, slices.Compact(names), r.GetSql(), limit, r.GetFormat())
	if err != nil {
		return nil, err
	}
	return &shoplakev1.QueryTablesResponse{RowSet: set, Truncated: more}, nil
}

func (h *Handler) query(ctx context.Context, state *published.State, tables []string, sql string, limit int, format shoplakev1.RowFormat) (*shoplakev1.RowSet, bool, error) {
	session, err := state.Open(ctx, tables, false)
	if err != nil {
		return nil, false, err
	}
	defer session.Close()
	return rows.Read(ctx, session, sql, nil, format, 0, limit)
}

// ListSnapshots lists a table's history, the newest first.
func (h *Handler) ListSnapshots(ctx context.Context, r *shoplakev1.ListSnapshotsRequest) (*shoplakev1.ListSnapshotsResponse, error) {
	name := strings.TrimPrefix(r.GetParent(), "tables/")
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	if t, err := state.Table(ctx, name); err != nil || t == nil {
		return &shoplakev1.ListSnapshotsResponse{}, err
	}
	history, err := h.Lake.Snapshots(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list the snapshots of %s: %w", name, err)
	}
	seen, err := state.SnapshotID(ctx, name)
	if err != nil {
		return nil, err
	}
	history, next, err := page.Cut(history, r.GetPageSize(), r.GetPageToken(), "snapshots of "+name)
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListSnapshotsResponse{NextPageToken: next}
	for _, s := range history {
		response.Snapshots = append(response.Snapshots, &shoplakev1.Snapshot{
			SnapshotId: s.ID, ParentId: s.ParentID, CommitTime: timestamppb.New(s.Time), Operation: s.Operation, Summary: s.Summary, Published: s.ID == seen,
		})
	}
	return response, nil
}

// ListPartitions sums the data files of a table by partition.
func (h *Handler) ListPartitions(ctx context.Context, r *shoplakev1.ListPartitionsRequest) (*shoplakev1.ListPartitionsResponse, error) {
	files, name, err := h.files(ctx, r.GetParent())
	if err != nil {
		return nil, err
	}
	byValue := map[string]*shoplakev1.Partition{}
	var all []*shoplakev1.Partition
	for _, f := range files {
		p := byValue[f.Partition]
		if p == nil {
			p = &shoplakev1.Partition{Value: f.Partition}
			byValue[f.Partition] = p
			all = append(all, p)
		}
		p.Rows, p.DataFiles, p.SizeBytes = p.Rows+f.Rows, p.DataFiles+1, p.SizeBytes+f.Bytes
	}
	slices.SortFunc(all, func(a, b *shoplakev1.Partition) int { return strings.Compare(a.GetValue(), b.GetValue()) })
	some, next, err := page.Cut(all, r.GetPageSize(), r.GetPageToken(), "partitions of "+name)
	return &shoplakev1.ListPartitionsResponse{Partitions: some, NextPageToken: next}, err
}

// ListDataFiles lists the data files of a table.
func (h *Handler) ListDataFiles(ctx context.Context, r *shoplakev1.ListDataFilesRequest) (*shoplakev1.ListDataFilesResponse, error) {
	files, name, err := h.files(ctx, r.GetParent())
	if err != nil {
		return nil, err
	}
	files, next, err := page.Cut(files, r.GetPageSize(), r.GetPageToken(), "files of "+name)
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListDataFilesResponse{NextPageToken: next}
	for _, f := range files {
		response.DataFiles = append(response.DataFiles, &shoplakev1.DataFile{Path: f.Path, Partition: f.Partition, Rows: f.Rows, SizeBytes: f.Bytes})
	}
	return response, nil
}

func (h *Handler) files(ctx context.Context, parent string) ([]lake.File, string, error) {
	name := strings.TrimPrefix(parent, "tables/")
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, name, err
	}
	if !state.Has(name) {
		return nil, name, fmt.Errorf("table %s: %w: see `shoplake tables list`", name, published.ErrNotFound)
	}
	files, err := state.Files(ctx, name)
	return files, name, err
}
