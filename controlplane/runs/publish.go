package runs

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// publish moves `published` to the snapshots of this run, by compare-and-set. A run that changed nothing moves nothing.
func (l *leader) publish(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	p, err := l.Pipelines.Get(ctx, f.submitted.GetPipelineDigest())
	if err != nil {
		return nil, fmt.Errorf("load the pipeline of run %s: %w", f.runID, err)
	}
	if flow := p.Flow(f.submitted.GetFlow()); flow != nil && flow.Maintenance != nil {
		if err := l.Lake.RemoveMaintenance(l.endedRuns(ctx)); err != nil {
			l.Log.WarnContext(ctx, "plans of former maintenance are left; the next one tries again", "error", err)
		}
		return l.move(ctx, f, func(current *dispatchv1.Published) (map[string]int64, string, error) {
			moved, err := l.compactedPublished(ctx, f, current.GetSnapshots())
			return moved, current.GetPipelineDigest(), err
		})
	}
	built := f.built()
	// Several stages commit to the tables beside bronze, in an order that the log does not tell: the latest snapshot has it all.
	// It may have what a run of other sources read that then failed: bronze moves with it, so that no row seems lost. None is half
	// ingested now, since runs that ingest go one after the other; a run that ingests nothing may be beside one that is half-way,
	// and leaves all of this alone.
	var raw []string
	if tableSet(f.stages)[opsTables] {
		for _, t := range pipeline.OpsTables() {
			if !t.Live {
				raw = append(raw, t.Name)
			}
		}
		for _, s := range p.Sources {
			raw = append(raw, s.Table())
		}
	}
	for _, name := range raw {
		current, err := l.Lake.Table(ctx, name)
		if errors.Is(err, lake.ErrNotFound) {
			continue // nothing was ever ingested
		}
		if err != nil {
			return nil, fmt.Errorf("find the snapshot of %s: %w", name, err)
		}
		if current.SnapshotID != 0 {
			built[name] = current.SnapshotID
		}
	}
	return l.move(ctx, f, func(*dispatchv1.Published) (map[string]int64, string, error) {
		return built, f.submitted.GetPipelineDigest(), nil
	})
}

// built are the snapshots of the run's tables, as far as they have any.
func (f facts) built() map[string]int64 {
	built := map[string]int64{}
	for _, table := range f.stages {
		if id := f.snapshots[table]; id != 0 {
			built[table] = id
		}
	}
	return built
}

// move changes the published record to what is made of it: the snapshots of some tables, and the digest of the pipeline.
func (l *leader) move(ctx context.Context, f facts, change func(current *dispatchv1.Published) (map[string]int64, string, error)) ([]*dispatchv1.RunEvent, error) {
	for {
		current, revision, err := l.Bus.Published(ctx)
		if err != nil {
			return nil, fmt.Errorf("read what is published: %w", err)
		}
		moved, digest, err := change(current)
		if err != nil {
			return nil, err
		}
		next, err := nextPublished(current, f.runID, digest, moved, l.epoch)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return []*dispatchv1.RunEvent{finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, current.GetVersion(), nil)}, nil
		}
		_, err = l.Bus.MovePublished(ctx, next, revision)
		if errors.Is(err, bus.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("move published to version %d: %w", next.GetVersion(), err)
		}
		return []*dispatchv1.RunEvent{finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, next.GetVersion(), nil)}, nil
	}
}

// nextPublished is what a run makes of the published record; nil where it changes nothing. A record of a higher epoch is left
// alone: it may be of a later run, and this coordinator the one that slept.
func nextPublished(current *dispatchv1.Published, runID, digest string, moved map[string]int64, epoch uint64) (*dispatchv1.Published, error) {
	if current.GetEpoch() > epoch {
		return nil, fmt.Errorf("%w: version %d was published under epoch %d, this coordinator has %d", errFenced, current.GetVersion(), current.GetEpoch(), epoch)
	}
	next := &dispatchv1.Published{Version: current.GetVersion() + 1, Time: timestamppb.Now(), RunId: runID, Epoch: epoch,
		PipelineDigest: digest, Snapshots: maps.Clone(current.GetSnapshots())}
	if next.Snapshots == nil {
		next.Snapshots = map[string]int64{}
	}
	maps.Copy(next.Snapshots, moved)
	if maps.Equal(next.Snapshots, current.GetSnapshots()) && current.GetPipelineDigest() == next.GetPipelineDigest() {
		return nil, nil
	}
	return next, nil
}
