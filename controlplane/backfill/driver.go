package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// lookAround is how often the driver looks for what nobody told it: another control plane takes requests too.
const lookAround = time.Second

// Store keeps backfills. bus.Bus is one.
type Store interface {
	Backfill(ctx context.Context, id string) (*dispatchv1.Backfill, uint64, error)
	MoveBackfill(ctx context.Context, next *dispatchv1.Backfill, revision uint64) (uint64, error)
	Backfills(ctx context.Context) (ids []string, moved uint64, err error)
}

// runner makes and cancels runs.
type runner interface {
	// submit makes the run of an interval, or finds it.
	submit(ctx context.Context, b *dispatchv1.Backfill, i int) (runID string, err error)
	cancel(ctx context.Context, runID string) error
	look(ctx context.Context, runID string) (run, error)
}

// Driver moves backfills on while this control plane leads. Should two drivers do so for a moment, compare-and-set and request ids
// keep them from doing anything twice.
type Driver struct {
	store Store
	runs  runner
	log   *slog.Logger
	wake  chan struct{}
	stop  func()
	// over are backfills of which nothing is to be expected unless one of them moves; moved is when they had.
	over  map[string]bool
	moved uint64
}

// NewDriver returns a driver; Lead starts it.
func NewDriver(store Store, runs Runs, log *slog.Logger) *Driver {
	return newDriver(store, runs, log)
}

func newDriver(store Store, runs runner, log *slog.Logger) *Driver {
	return &Driver{store: store, runs: runs, log: log, wake: make(chan struct{}, 1), over: map[string]bool{}}
}

// Wake tells the driver that something happened; it waits for nothing.
func (d *Driver) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Lead starts and stops the driver as this process begins and ceases to lead. Calls must not overlap.
func (d *Driver) Lead(ctx context.Context, leads bool) {
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
	if !leads {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.run(ctx)
	}()
	d.stop = func() { cancel(); <-ended }
}

func (d *Driver) run(ctx context.Context) {
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	for {
		if err := d.moveAll(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "some backfills could not be moved on; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-tick.C:
		}
	}
}

// moveAll moves every backfill on as far as it goes now.
func (d *Driver) moveAll(ctx context.Context) error {
	ids, moved, err := d.store.Backfills(ctx)
	if err != nil {
		return err
	}
	if moved != d.moved {
		clear(d.over)
		d.moved = moved
	}
	var all error
	for _, id := range ids {
		if !d.over[id] {
			all = errors.Join(all, d.move(ctx, id))
		}
	}
	return all
}

// move moves one backfill on until it waits for something.
func (d *Driver) move(ctx context.Context, id string) error {
	for ctx.Err() == nil {
		more, err := d.step(ctx, id)
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

// step does one thing for a backfill, and says whether there may be more to do.
func (d *Driver) step(ctx context.Context, id string) (more bool, err error) {
	b, revision, err := d.store.Backfill(ctx, id)
	if err != nil {
		return false, err
	}
	var r *run
	i := current(b)
	if i >= 0 && b.GetIntervals()[i].GetRunId() != "" {
		seen, err := d.runs.look(ctx, b.GetIntervals()[i].GetRunId())
		if err != nil {
			return false, fmt.Errorf("look at the run of backfill %s: %w", id, err)
		}
		r = &seen
	}
	next, do := decide(b, r)
	switch do {
	case submit:
		runID, err := d.runs.submit(ctx, b, i)
		if err != nil {
			return false, fmt.Errorf("submit a run of backfill %s: %w", id, err)
		}
		next = proto.CloneOf(b)
		next.GetIntervals()[i].RunId = runID
	case cancel:
		if err := d.runs.cancel(ctx, b.GetIntervals()[i].GetRunId()); err != nil {
			return false, fmt.Errorf("cancel the run of backfill %s: %w", id, err)
		}
		return false, nil // its end is told
	}
	if next == b {
		if over(b) {
			d.over[id] = true
		}
		return false, nil
	}
	if over(next) {
		next.EndTime = timestamppb.Now()
	}
	_, err = d.store.MoveBackfill(ctx, next, revision)
	if errors.Is(err, bus.ErrConflict) {
		return true, nil // somebody else moved it: look again
	}
	if err == nil && next.GetState() != b.GetState() {
		d.log.InfoContext(ctx, "a backfill is "+stateName(next), "backfill", id)
	}
	return err == nil, err
}
