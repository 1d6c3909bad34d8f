package backfill

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// walkSeed replays one walk: go test ./controlplane/backfill -run TestWalks -walk-seed 17
var walkSeed = flag.Uint64("walk-seed", 0, "walk from this seed only")

// errCrash is what a driver dies of, between any two effects.
var errCrash = errors.New("the control plane was killed")

// world is a store and runs, in which drivers crash and people interfere.
type world struct {
	t        *testing.T
	seed     uint64
	chance   *rand.Rand
	faulty   bool
	backfill *dispatchv1.Backfill
	revision uint64
	runs     map[string]*run // by request id, which is the run's id here
	order    []string
	// people act before a driver writes, as a second driver does.
	meanwhile func()
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("-walk-seed %d: %s\n%v", w.seed, fmt.Sprintf(format, args...), w.backfill)
}

// mayCrash is a place between two effects.
func (w *world) mayCrash() error {
	if w.faulty && w.chance.IntN(8) == 0 {
		return errCrash
	}
	if w.meanwhile != nil && w.chance.IntN(6) == 0 {
		f := w.meanwhile
		w.meanwhile = nil
		f()
		w.meanwhile = f
	}
	return nil
}

func (w *world) Backfills(context.Context) ([]string, uint64, error) {
	moved := w.revision
	return []string{w.backfill.GetBackfillId()}, moved, w.mayCrash()
}

func (w *world) Backfill(context.Context, string) (*dispatchv1.Backfill, uint64, error) {
	b, revision := proto.CloneOf(w.backfill), w.revision
	return b, revision, w.mayCrash()
}

func (w *world) MoveBackfill(_ context.Context, next *dispatchv1.Backfill, revision uint64) (uint64, error) {
	if err := w.mayCrash(); err != nil {
		return 0, err
	}
	if revision != w.revision {
		return 0, bus.ErrConflict
	}
	before := w.backfill
	w.backfill = proto.CloneOf(next)
	w.revision++
	w.check(before)
	moved := w.revision
	return moved, w.mayCrash()
}

func (w *world) submit(_ context.Context, b *dispatchv1.Backfill, i int) (string, error) {
	if err := w.mayCrash(); err != nil {
		return "", err
	}
	id := requestID(b, i)
	if w.runs[id] == nil {
		for other, r := range w.runs {
			if !r.ended() {
				w.fail("a run is made for interval %d while %s is under way", i, other)
			}
		}
		w.runs[id] = &run{state: shoplakev1.RunState_RUN_STATE_QUEUED}
		w.order = append(w.order, id)
	}
	return id, w.mayCrash()
}

func (w *world) cancel(_ context.Context, id string) error {
	if err := w.mayCrash(); err != nil {
		return err
	}
	if r := w.runs[id]; !r.ended() {
		r.state = shoplakev1.RunState_RUN_STATE_CANCELLING
	}
	return w.mayCrash()
}

func (w *world) look(_ context.Context, id string) (run, error) {
	seen := *w.runs[id]
	return seen, w.mayCrash()
}

// check holds a move against the rules.
func (w *world) check(before *dispatchv1.Backfill) {
	after, under := w.backfill, 0
	for i, v := range after.GetIntervals() {
		old := before.GetIntervals()[i]
		if v.GetState() == intervalRunning {
			under++
			if old.GetState() != intervalRunning && before.GetState() != running {
				w.fail("interval %d begins in a backfill that is %s", i, stateName(before))
			}
			for _, earlier := range after.GetIntervals()[:i] {
				if old.GetState() != intervalRunning && earlier.GetState() == intervalWaiting {
					w.fail("interval %d goes before an older one", i)
				}
			}
		}
		if v.GetState() == intervalSucceeded && w.runs[v.GetRunId()].state != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
			w.fail("interval %d is SUCCEEDED, its run is not", i)
		}
		if old.GetState() == intervalSucceeded && v.GetState() != intervalSucceeded {
			w.fail("interval %d was done, and is done again", i)
		}
		if after.GetState() == succeeded && v.GetState() != intervalSucceeded {
			w.fail("the backfill succeeded without interval %d", i)
		}
	}
	if under > 1 || under > 0 && over(after) {
		w.fail("%d intervals are under way in a backfill that is %s", under, stateName(after))
	}
	if after.GetState() == failed {
		for i, v := range after.GetIntervals() {
			if after.GetContinues() && v.GetState() == intervalWaiting {
				w.fail("the backfill failed before interval %d was tried", i)
			}
		}
	}
	if over(after) {
		for id, r := range w.runs {
			if !r.ended() {
				w.fail("the backfill is %s, its run %s is under way", stateName(after), id)
			}
		}
	}
}

// moveRun lets a run come one step further.
func (w *world) moveRun() {
	for _, id := range w.order {
		r := w.runs[id]
		if r.ended() {
			continue
		}
		switch {
		case r.state == shoplakev1.RunState_RUN_STATE_CANCELLING:
			r.state = shoplakev1.RunState_RUN_STATE_CANCELLED
		case r.state == shoplakev1.RunState_RUN_STATE_QUEUED:
			r.state = shoplakev1.RunState_RUN_STATE_RUNNING
		case w.faulty && w.chance.IntN(4) == 0:
			*r = run{shoplakev1.RunState_RUN_STATE_FAILED, "boom"}
		default:
			r.state = shoplakev1.RunState_RUN_STATE_SUCCEEDED
		}
	}
}

// people ask for something, as Handler.change does.
func (w *world) people() {
	ask := []func(*dispatchv1.Backfill) error{pause, resume, stop}[w.chance.IntN(3)]
	next := proto.CloneOf(w.backfill)
	if ask(next) != nil {
		return
	}
	before := w.backfill
	w.backfill = next
	w.revision++
	w.check(before)
}

// TestWalks takes random ways: drivers crash between any two effects, two of them lead at once, runs fail, people interfere. When
// that stops, a backfill that is resumed comes to its end with every interval built.
func TestWalks(t *testing.T) {
	t.Parallel()
	seeds := []uint64{*walkSeed}
	if *walkSeed == 0 {
		seeds = seeds[:0]
		for seed := range uint64(2000) {
			seeds = append(seeds, seed+1)
		}
	}
	ends := map[string]int{}
	for _, seed := range seeds {
		w := &world{t: t, seed: seed, chance: rand.New(rand.NewPCG(seed, 0)), faulty: true, runs: map[string]*run{},
			backfill: &dispatchv1.Backfill{BackfillId: "b", State: running, Continues: seed%2 == 0}}
		for i := range 1 + w.chance.IntN(5) {
			w.backfill.Intervals = append(w.backfill.Intervals, &dispatchv1.BackfillInterval{StartDate: fmt.Sprint(i), State: intervalWaiting})
		}
		drivers := []*Driver{newDriver(w, w, slog.New(slog.DiscardHandler)), newDriver(w, w, slog.New(slog.DiscardHandler))}
		w.meanwhile = func() {
			if w.chance.IntN(2) == 0 {
				_ = drivers[1].moveAll(t.Context())
				return
			}
			w.people()
		}
		for range 20 + w.chance.IntN(60) {
			if w.chance.IntN(2) == 0 {
				w.moveRun()
			}
			if err := drivers[0].moveAll(t.Context()); err != nil && !errors.Is(err, errCrash) {
				w.fail("%v", err)
			}
		}
		ends[stateName(w.backfill)]++
		w.faulty, w.meanwhile = false, nil
		for range 100 {
			_ = drivers[0].moveAll(t.Context())
			w.moveRun()
		}
		if !over(w.backfill) && w.backfill.GetState() != paused {
			w.fail("it does not come to an end")
		}
		if w.backfill.GetState() != succeeded {
			if err := resume(w.backfill); err != nil {
				w.fail("%v", err)
			}
			w.revision++
		}
		for range 100 {
			_ = drivers[1].moveAll(t.Context())
			w.moveRun()
		}
		if w.backfill.GetState() != succeeded {
			w.fail("it was resumed, and nothing went wrong any more")
		}
	}
	t.Logf("after the faults they were %v", ends)
}
