package worker

import (
	"context"
	"testing"
	"time"

	"github.com/shoplake/shoplake/internal/bus"
)

// deaf is a source that does not come back, whatever it is told.
type deaf struct{ asked chan struct{} }

func (d deaf) Next(context.Context) (*bus.Delivery, error) {
	d.asked <- struct{}{}
	select {}
}

// empty is a source that has no tasks.
type empty struct{ asked chan struct{} }

func (e empty) Next(ctx context.Context) (*bus.Delivery, error) {
	select {
	case e.asked <- struct{}{}:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A task that takes the whole worker does not wait until the other slots have waited long enough for tasks of their own.
func TestIdleSlotsGiveWayToAWideTask(t *testing.T) {
	t.Parallel()
	w := &Worker{slots: []*slot{{}, {}}, room: newRoom(3)}
	source := empty{asked: make(chan struct{})}
	for _, s := range w.slots {
		go w.pull(t.Context(), s, source)
		<-source.asked
	}
	soon, cancel := context.WithTimeout(t.Context(), turn/2)
	defer cancel()
	giveBack, err := w.room.take(soon, share{slots: 3})
	if err != nil {
		t.Fatalf("all slots are idle, and the worker is not to be had: %v", err)
	}
	giveBack()
}

func TestASlotThatTakesNoTasksIsDead(t *testing.T) {
	t.Parallel()
	w := &Worker{slots: []*slot{{}, {}}, room: newRoom(2)}
	source := deaf{asked: make(chan struct{})}
	for _, s := range w.slots {
		go w.pull(t.Context(), s, source)
		<-source.asked
	}
	if !w.Alive() {
		t.Error("slots that wait for tasks count as dead")
	}
	now := time.Now()
	if w.slots[0].stuck(now.Add(turn)) || !w.slots[0].stuck(now.Add((stuckTurns+1)*turn)) {
		t.Errorf("a slot that does not come back must count as dead after %v", stuckTurns*turn)
	}
	w.slots[0].busy.Store(true)
	if w.slots[0].stuck(now.Add(24 * time.Hour)) {
		t.Error("a slot that works counts as dead")
	}
	w.slots[1].turned.Store(now.Add(-(stuckTurns + 1) * turn).UnixNano())
	if w.Alive() {
		t.Error("one dead slot is enough for a worker to be dead")
	}
}
