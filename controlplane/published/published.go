// Package published reads tables as readers may see them: at the snapshots of one published state, so that several tables
// show one consistent moment.
package published

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

// ErrNotFound says that no published state has that table, or that nothing was published by that time.
var ErrNotFound = errors.New("not found")

// Reader reads published states.
type Reader struct {
	Bus       *bus.Bus
	Lake      *lake.Lake
	Pipelines *pipelinestore.Store
	// Engine is what queries run with.
	Engine engine.Options
}

// State is one published state. Before the first run it is empty, with the active pipeline's tables.
type State struct {
	reader   *Reader
	Record   *dispatchv1.Published
	Pipeline *pipeline.Pipeline
}

// Current is the state that readers see now.
func (r *Reader) Current(ctx context.Context) (*State, error) {
	record, _, err := r.Bus.Published(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what is published: %w", err)
	}
	return r.state(ctx, record)
}

// At is the state that readers saw at a time; ErrNotFound where nothing was published by then, or it is no longer known.
func (r *Reader) At(ctx context.Context, at time.Time) (*State, error) {
	record, err := r.Bus.PublishedAt(ctx, at)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("nothing was published by %s, or it is no longer known: %w", at.Format(time.RFC3339), ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was published at %s: %w", at.Format(time.RFC3339), err)
	}
	return r.state(ctx, record)
}

func (r *Reader) state(ctx context.Context, record *dispatchv1.Published) (*State, error) {
	var p *pipeline.Pipeline
	var err error
	if digest := record.GetPipelineDigest(); digest != "" {
		p, err = r.Pipelines.Get(ctx, digest)
	} else {
		p, err = r.Pipelines.Active(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &State{reader: r, Record: record, Pipeline: p}, nil
}

// Tables are the names of all tables of the pipeline and of those that ingestion keeps, in the order of dependencies.
func (s *State) Tables() []string {
	names := s.Pipeline.Tables()
	for _, t := range pipeline.OpsTables() {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// Has says whether the state has a table.
func (s *State) Has(name string) bool { return slices.Contains(s.Tables(), name) }

// Columns are the columns of a table as the pipeline has them.
func (s *State) Columns(name string) []pipeline.Column {
	for _, t := range pipeline.OpsTables() {
		if t.Name == name {
			return t.Columns
		}
	}
	return s.Pipeline.Columns(name)
}

// SnapshotID is the published snapshot of a table, 0 where there is none. Of a table that no run writes it is the one of now.
func (s *State) SnapshotID(ctx context.Context, name string) (int64, error) {
	if !slices.ContainsFunc(pipeline.OpsTables(), func(t pipeline.OpsTable) bool { return t.Live && t.Name == name }) {
		return s.Record.GetSnapshots()[name], nil
	}
	t, err := s.reader.Lake.Table(ctx, name)
	if errors.Is(err, lake.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the snapshot of %s: %w", name, err)
	}
	return t.SnapshotID, nil
}

// Table is a table at its published snapshot; nil where nothing of it is published.
func (s *State) Table(ctx context.Context, name string) (*lake.Table, error) {
	if !s.Has(name) {
		return nil, fmt.Errorf("table %s: %w: see `shoplake tables list`", name, ErrNotFound)
	}
	id, err := s.SnapshotID(ctx, name)
	if err != nil || id == 0 {
		return nil, err
	}
	t, err := s.reader.Lake.TableAt(ctx, name, id)
	if err != nil {
		return nil, fmt.Errorf("open %s at snapshot %d: %w", name, id, err)
	}
	return t, nil
}

// Files are the data files of a table at its published snapshot.
func (s *State) Files(ctx context.Context, name string) ([]lake.File, error) {
	id, err := s.SnapshotID(ctx, name)
	if err != nil || id == 0 {
		return nil, err
	}
	files, err := s.reader.Lake.Files(ctx, name, id)
	if err != nil {
		return nil, fmt.Errorf("list the files of %s at snapshot %d: %w", name, id, err)
	}
	return files, nil
}

// Open opens an engine session that sees the named tables; the caller closes it. With load they are held in memory.
func (s *State) Open(ctx context.Context, tables []string, load bool) (*engine.Session, error) {
	options := s.reader.Engine
	options.TimeZone, options.Currency = s.Pipeline.TimeZone, s.Pipeline.Currency
	session, err := engine.Open(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("open the engine: %w", err)
	}
	for _, name := range tables {
		if err := s.add(ctx, session, name, load); err != nil {
			session.Close()
			return nil, err
		}
	}
	return session, nil
}

func (s *State) add(ctx context.Context, session *engine.Session, name string, load bool) error {
	files, err := s.Files(ctx, name)
	if err != nil {
		return err
	}
	var columns []engine.Column
	for _, c := range s.Columns(name) {
		columns = append(columns, engine.Column{Name: c.Name, Type: c.Type})
	}
	paths := make([]string, 0, len(files))
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	if load {
		err = session.Load(ctx, name, columns, paths)
	} else {
		err = session.Table(ctx, name, columns, paths, "")
	}
	if err != nil {
		return fmt.Errorf("open %s for reading: %w", name, err)
	}
	return nil
}

// Layer is the part of a table's name before the dot.
func Layer(table string) string {
	layer, _, _ := strings.Cut(table, ".")
	return layer
}
