package controlplane

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/shoplake/shoplake/controlplane/alert"
	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

// recentEnds is how many runs a new coordinator looks at for those whose end nobody was told of.
const recentEnds = 100

// ends gives the notifier the runs that ended.
type ends struct {
	log       *runs.Log
	pipelines *pipelinestore.Store

	mu      sync.Mutex
	waiting []alert.Ended
	more    chan struct{}
}

// note takes a run that ended; it waits for nothing.
func (e *ends) note(s *runs.State) {
	if s.Dry() {
		return
	}
	e.mu.Lock()
	e.waiting = append(e.waiting, endOf(s))
	e.mu.Unlock()
	select {
	case e.more <- struct{}{}:
	default:
	}
}

// WatchEnded gives the runs that ended lately, then those that end.
func (e *ends) WatchEnded(ctx context.Context, f func(alert.Ended) error) error {
	var recent []alert.Ended
	err := e.log.List(ctx, "", func(s *runs.State) bool {
		if s.Terminal() && !s.Dry() {
			recent = append(recent, endOf(s))
		}
		return len(recent) < recentEnds
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(recent, func(a, b alert.Ended) int { return a.At.Compare(b.At) })
	for {
		for _, end := range recent {
			if end.Channels, err = e.channels(ctx, end); err != nil {
				return err
			}
			if err := f(end); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.more:
		}
		e.mu.Lock()
		recent, e.waiting = e.waiting, nil
		e.mu.Unlock()
	}
}

func endOf(s *runs.State) alert.Ended {
	end := alert.Ended{RunID: s.RunID, Flow: s.Submitted.GetFlow(), Backfill: s.Submitted.GetBackfill(), Digest: s.Submitted.GetPipelineDigest(), At: s.Ended,
		Failed: s.Phase == shoplakev1.RunState_RUN_STATE_FAILED, Succeeded: s.Phase == shoplakev1.RunState_RUN_STATE_SUCCEEDED}
	if f := s.Failure; f != nil {
		end.Stage, end.Message = f.Stage, f.Message
		if f.Class != dispatchv1.ErrorClass_ERROR_CLASS_UNSPECIFIED {
			end.Class = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(f.Class.String(), "ERROR_CLASS_")), "_", " ")
		}
	}
	return end
}

// channels are those that the run's flow names.
func (e *ends) channels(ctx context.Context, end alert.Ended) ([]string, error) {
	p, err := e.pipelines.Get(ctx, end.Digest)
	if errors.Is(err, pipelinestore.ErrNotFound) {
		return nil, nil // then all hear of it
	}
	if err != nil {
		return nil, err
	}
	if flow := p.Flow(end.Flow); flow != nil {
		return flow.Notify, nil
	}
	return nil, nil
}

// toldSetting is where NATS keeps what people were told.
const toldSetting = "told"

// told keeps what people were told among the settings.
type told struct{ bus *bus.Bus }

func (t told) Load(ctx context.Context) ([]byte, uint64, error) {
	value, revision, err := t.bus.Setting(ctx, toldSetting)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, 0, nil
	}
	return value, revision, err
}

func (t told) Save(ctx context.Context, value []byte, revision uint64) error {
	_, err := t.bus.CompareAndSetSetting(ctx, toldSetting, value, revision)
	return err
}
