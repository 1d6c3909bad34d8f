// Package pipelinestore keeps pipelines by their content: a folder is stored once under its digest, whatever is activated
// later, so that a run keeps the pipeline it was submitted with. Control plane and workers load from it.
package pipelinestore

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// activeSetting is the name of the setting that holds the digest of the pipeline for new runs.
const activeSetting = "pipeline.active"

// loadedPipelines is how many checked pipelines are kept in memory.
const loadedPipelines = 16

// ErrNotFound says that no pipeline has that digest, or that none is active.
var ErrNotFound = errors.New("no such pipeline")

// Store keeps pipelines on a bus.
type Store struct {
	bus *bus.Bus

	mu     sync.Mutex
	loaded map[string]*pipeline.Pipeline
	order  []string
}

// Info is a stored pipeline.
type Info struct {
	Digest string
	Time   time.Time
}

// New returns the store on a bus.
func New(b *bus.Bus) *Store { return &Store{bus: b, loaded: map[string]*pipeline.Pipeline{}} }

// Check loads a folder without storing it; its faults are a pipeline.Faults.
func Check(ctx context.Context, folder fs.FS) (*pipeline.Pipeline, error) {
	binder, err := engine.NewBinder(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the engine: %w", err)
	}
	return pipeline.Load(ctx, folder, binder)
}

// Put checks a folder and stores it.
func (s *Store) Put(ctx context.Context, folder fs.FS) (*pipeline.Pipeline, error) {
	p, err := Check(ctx, folder)
	if err != nil {
		return nil, err
	}
	archive, err := pack(p.Files)
	if err != nil {
		return nil, fmt.Errorf("pack the pipeline %s: %w", p.Digest, err)
	}
	if err := s.bus.PutPipeline(ctx, p.Digest, archive); err != nil {
		return nil, fmt.Errorf("store the pipeline %s: %w", p.Digest, err)
	}
	s.keep(p)
	return p, nil
}

// Get returns a stored pipeline; ErrNotFound where there is none of that digest.
func (s *Store) Get(ctx context.Context, digest string) (*pipeline.Pipeline, error) {
	s.mu.Lock()
	p := s.loaded[digest]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	archive, err := s.bus.Pipeline(ctx, digest)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("pipeline %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the pipeline %s: %w", digest, err)
	}
	folder, err := unpack(archive)
	if err != nil {
		return nil, fmt.Errorf("unpack the pipeline %s: %w", digest, err)
	}
	if p, err = Check(ctx, folder); err != nil {
		return nil, fmt.Errorf("load the pipeline %s: %w", digest, err)
	}
	if p.Digest != digest {
		return nil, fmt.Errorf("the pipeline stored as %s has the digest %s: the store is damaged; store the folder again", digest, p.Digest)
	}
	s.keep(p)
	return p, nil
}

func (s *Store) keep(p *pipeline.Pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded[p.Digest] == nil {
		s.order = append(s.order, p.Digest)
	}
	s.loaded[p.Digest] = p
	if len(s.order) > loadedPipelines {
		delete(s.loaded, s.order[0])
		s.order = s.order[1:]
	}
}

// List returns the stored pipelines, the newest first.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	stored, err := s.bus.Pipelines(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the pipelines: %w", err)
	}
	list := make([]Info, 0, len(stored))
	for _, p := range stored {
		list = append(list, Info{Digest: p.Digest, Time: p.Time})
	}
	slices.SortFunc(list, func(a, b Info) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return list, nil
}

// Activate makes new runs use a stored pipeline.
func (s *Store) Activate(ctx context.Context, digest string) (*pipeline.Pipeline, error) {
	p, err := s.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	if _, err := s.bus.PutSetting(ctx, activeSetting, []byte(digest)); err != nil {
		return nil, fmt.Errorf("activate the pipeline %s: %w", digest, err)
	}
	return p, nil
}

// Active returns the pipeline of new runs; ErrNotFound where none was activated yet.
func (s *Store) Active(ctx context.Context) (*pipeline.Pipeline, error) {
	digest, _, err := s.bus.Setting(ctx, activeSetting)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("no pipeline is active: activate one, or start the control plane with --pipeline: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("ask which pipeline is active: %w", err)
	}
	return s.Get(ctx, string(digest))
}

func pack(files map[string][]byte) ([]byte, error) {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w, err := archive.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return buffer.Bytes(), err
}

func unpack(archive []byte) (fs.FS, error) {
	return zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
}

// Folder makes a folder of files that came by path, as an API request has them.
func Folder(files map[string][]byte) (fs.FS, error) {
	archive, err := pack(files)
	if err != nil {
		return nil, err
	}
	return unpack(archive)
}
