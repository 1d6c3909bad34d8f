// Package backfill builds partitions again: a backfill is cut into intervals of business days, and each is built by a run of its
// own, one after the other, behind whatever is more urgent. decide.go says what to do next and is pure; the driver, which runs where
// the coordinator does, does it.
package backfill

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// The states, for short.
const (
	running    = int32(shoplakev1.BackfillState_BACKFILL_STATE_RUNNING)
	paused     = int32(shoplakev1.BackfillState_BACKFILL_STATE_PAUSED)
	cancelling = int32(shoplakev1.BackfillState_BACKFILL_STATE_CANCELLING)
	cancelled  = int32(shoplakev1.BackfillState_BACKFILL_STATE_CANCELLED)
	succeeded  = int32(shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED)
	failed     = int32(shoplakev1.BackfillState_BACKFILL_STATE_FAILED)

	intervalWaiting   = int32(shoplakev1.BackfillIntervalState_BACKFILL_INTERVAL_STATE_WAITING)
	intervalRunning   = int32(shoplakev1.BackfillIntervalState_BACKFILL_INTERVAL_STATE_RUNNING)
	intervalSucceeded = int32(shoplakev1.BackfillIntervalState_BACKFILL_INTERVAL_STATE_SUCCEEDED)
	intervalFailed    = int32(shoplakev1.BackfillIntervalState_BACKFILL_INTERVAL_STATE_FAILED)
)

// ErrState says that a backfill can't do what is asked of it in the state that it has.
var ErrState = errors.New("not in this state")

// run is what became of an interval's run.
type run struct {
	state shoplakev1.RunState
	// message is why it failed.
	message string
}

// ended says that nothing more will happen to the run.
func (r run) ended() bool {
	switch r.state {
	case shoplakev1.RunState_RUN_STATE_SUCCEEDED, shoplakev1.RunState_RUN_STATE_FAILED, shoplakev1.RunState_RUN_STATE_CANCELLED:
		return true
	}
	return false
}

// effect is what is to be done outside of the backfill's record.
type effect int

const (
	nothing effect = iota
	// submit makes the run of the current interval; its id is to be noted.
	submit
	// cancel cancels the run of the current interval.
	cancel
)

// current is the place of the interval that has a run, or gets one; -1 where none does.
func current(b *dispatchv1.Backfill) int {
	for i, interval := range b.GetIntervals() {
		if interval.GetState() == intervalRunning {
			return i
		}
	}
	return -1
}

// over says that nothing happens to a backfill by itself.
func over(b *dispatchv1.Backfill) bool {
	switch b.GetState() {
	case cancelled, succeeded, failed:
		return true
	}
	return false
}

// decide says what becomes of a backfill, and what is to be done: r is the run of its current interval, nil where that has none
// yet. What is to be done may be done again after a crash. A backfill that changes is to be kept before anything is done.
func decide(b *dispatchv1.Backfill, r *run) (next *dispatchv1.Backfill, do effect) {
	if over(b) {
		return b, nothing
	}
	next = proto.CloneOf(b)
	i := current(next)
	switch {
	case i >= 0 && r == nil:
		// Also in a backfill that was cancelled meanwhile: the run may have been made already, and only so its id is known.
		return b, submit
	case i >= 0 && !r.ended():
		if next.GetState() == cancelling && r.state != shoplakev1.RunState_RUN_STATE_CANCELLING {
			return b, cancel
		}
		return b, nothing
	case i >= 0:
		conclude(next, next.GetIntervals()[i], *r)
		return next, nothing
	}
	begin(next)
	if proto.Equal(next, b) {
		return b, nothing
	}
	return next, nothing
}

// conclude notes how the run of an interval ended.
func conclude(b *dispatchv1.Backfill, interval *dispatchv1.BackfillInterval, r run) {
	switch {
	case r.state == shoplakev1.RunState_RUN_STATE_SUCCEEDED:
		interval.State, interval.Error = intervalSucceeded, ""
	case b.GetState() == cancelling:
		interval.State = intervalWaiting
	default:
		interval.State, interval.Error = intervalFailed, shortened(r.message, len(b.GetIntervals()))
		if r.state == shoplakev1.RunState_RUN_STATE_CANCELLED {
			interval.Error = "its run was cancelled"
		}
	}
}

// allErrors bounds the errors of all intervals together, in bytes, and oneError that of each: a backfill is one message.
const allErrors, oneError = 500_000, 2_000

// shortened is an error as one of so many intervals keeps it; the run tells all of it.
func shortened(message string, intervals int) string {
	if most := min(oneError, allErrors/intervals); len(message) > most {
		return strings.ToValidUTF8(message[:most], "") + " ..."
	}
	return message
}

// begin starts the next interval of a backfill that has none under way, or ends the backfill.
func begin(b *dispatchv1.Backfill) {
	if b.GetState() == cancelling {
		b.State = cancelled
		return
	}
	var waiting, broken int
	first := -1
	for i, interval := range b.GetIntervals() {
		switch interval.GetState() {
		case intervalWaiting:
			if waiting++; first < 0 {
				first = i
			}
		case intervalFailed:
			broken++
		}
	}
	switch {
	case broken > 0 && (!b.GetContinues() || waiting == 0):
		b.State = failed
	case waiting == 0:
		b.State = succeeded
	case b.GetState() == running:
		interval := b.GetIntervals()[first]
		interval.State, interval.RunId, interval.Error = intervalRunning, "", ""
		interval.Attempt++
		interval.Defers = waiting > 1
	}
}

// requestID is that of the run of an interval: the same interval and attempt is the same run.
func requestID(b *dispatchv1.Backfill, i int) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "shoplake/backfills/%s/%d/%d", b.GetBackfillId(), i, b.GetIntervals()[i].GetAttempt())).String()
}

// pause, resume and stop are what people ask of a backfill. They change it, or say why that can't be.
func pause(b *dispatchv1.Backfill) error {
	switch b.GetState() {
	case running:
		b.State = paused
	case paused:
	default:
		return fmt.Errorf("pause backfill %s: %w: it is %s", b.GetBackfillId(), ErrState, stateName(b))
	}
	return nil
}

func resume(b *dispatchv1.Backfill) error {
	switch b.GetState() {
	case running:
		return nil
	case paused, failed, cancelled:
	default:
		return fmt.Errorf("resume backfill %s: %w: it is %s", b.GetBackfillId(), ErrState, stateName(b))
	}
	b.State, b.EndTime = running, nil
	for _, interval := range b.GetIntervals() {
		if interval.GetState() == intervalFailed {
			interval.State = intervalWaiting
		}
	}
	return nil
}

func stop(b *dispatchv1.Backfill) error {
	switch b.GetState() {
	case running, paused:
		b.State = cancelling
	case cancelling, cancelled:
	default:
		return fmt.Errorf("cancel backfill %s: %w: it is %s", b.GetBackfillId(), ErrState, stateName(b))
	}
	return nil
}
