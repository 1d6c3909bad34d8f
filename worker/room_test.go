package worker

import (
	"context"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func TestShareOf(t *testing.T) {
	t.Parallel()
	r := newRoom(4)
	for name, c := range map[string]struct {
		task       *dispatchv1.Task
		deliveries int
		want       share
	}{
		"says nothing":              {&dispatchv1.Task{}, 1, share{slots: 1}},
		"asks for three":            {&dispatchv1.Task{Slots: 3}, 1, share{slots: 3}},
		"asks for more than it has": {&dispatchv1.Task{Slots: 9}, 1, share{slots: 4}},
		"ran out of memory":         {&dispatchv1.Task{Alone: true}, 1, share{slots: 4, alone: true}},
		"comes again":               {&dispatchv1.Task{}, 2, share{slots: 4, alone: true}},
	} {
		if got := r.shareOf(c.task, c.deliveries); got != c.want {
			t.Errorf("a task that %s gets %+v, want %+v", name, got, c.want)
		}
	}
}

// Who asks for the whole worker gets it, though small tasks keep coming.
func TestRoomIsNotTakenByTheSmallAlone(t *testing.T) {
	t.Parallel()
	r := newRoom(2)
	first, err := r.take(t.Context(), share{slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.take(t.Context(), share{slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	whole := make(chan func())
	asking := make(chan struct{})
	go func() {
		close(asking)
		giveBack, err := r.take(context.Background(), share{slots: 2})
		if err != nil {
			t.Error(err)
		}
		whole <- giveBack
	}()
	<-asking
	first()
	// One slot is free. Whether the one who asks for both has come or not, a small task that asks now must not keep it from them
	// for ever: it ends, and both are free.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if giveBack, err := r.take(ctx, share{slots: 1}); err == nil {
			giveBack()
		}
	}()
	second()
	(<-whole)()
	cancel()
}
