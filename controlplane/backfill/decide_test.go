package backfill

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// A backfill of as many intervals as there may be is one message, also when every one fails with a long error.
func TestABackfillThatFailsEverywhereIsOneMessage(t *testing.T) {
	t.Parallel()
	b := &dispatchv1.Backfill{BackfillId: strings.Repeat("0", 26), Flow: strings.Repeat("f", 60), State: running, Continues: true, CreateTime: timestamppb.Now()}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range mostIntervals {
		b.Intervals = append(b.Intervals, &dispatchv1.BackfillInterval{StartDate: day.AddDate(0, 0, i).Format(time.DateOnly), EndDate: day.AddDate(0, 0, i+1).Format(time.DateOnly),
			State: intervalWaiting, Partitions: 1 << 20})
	}
	for _, interval := range b.GetIntervals() {
		interval.RunId, interval.Attempt, interval.Defers = uuid.NewString()[:26], 1, true
		conclude(b, interval, run{state: shoplakev1.RunState_RUN_STATE_FAILED, message: strings.Repeat("ä", 8<<10)})
	}
	if next, _ := decide(b, nil); next.GetState() != failed {
		t.Fatalf("it ended as %s", stateName(next))
	}
	if n := proto.Size(b); n > bus.MaxMessage {
		t.Errorf("its record takes %d bytes, a message at most %d", n, bus.MaxMessage)
	}
	if few := shortened(strings.Repeat("x", 16<<10), 3); len(few) < oneError {
		t.Errorf("of three intervals each keeps %d bytes of its error", len(few))
	}
}
