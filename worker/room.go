package worker

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// room is what a worker has for tasks: slots, each with a part of the memory and the processors.
type room struct {
	slots int
	free  *semaphore.Weighted

	mu sync.Mutex
	// asking counts those who ask for more than one slot; idle ends the waiting for tasks of slots that would be in their way.
	asking int
	idle   map[int]context.CancelFunc
	idles  int
}

func newRoom(slots int) *room {
	return &room{slots: slots, free: semaphore.NewWeighted(int64(slots)), idle: map[int]context.CancelFunc{}}
}

// share is what a task gets of a worker.
type share struct {
	slots int
	// alone says that nothing runs beside it, and that it should rather spill than be quick.
	alone bool
}

// shareOf says what a task gets: as many slots as it asks for and there are, all of them where an attempt ran out of memory. One
// that comes again though nobody said what became of it may have brought its worker down, by taking more memory than there is: it
// gets all too.
func (r *room) shareOf(t *dispatchv1.Task, deliveries int) share {
	if t.GetAlone() || deliveries > 1 {
		return share{slots: r.slots, alone: true}
	}
	return share{slots: min(max(1, int(t.GetSlots())), r.slots)}
}

// take waits for the share, and returns what gives it back. Who asks for much is not passed by who asks for little.
func (r *room) take(ctx context.Context, s share) (giveBack func(), err error) {
	if s.slots > 1 {
		r.ask(1)
		defer r.ask(-1)
	}
	if err := r.free.Acquire(ctx, int64(s.slots)); err != nil {
		return nil, err
	}
	return func() { r.free.Release(int64(s.slots)) }, nil
}

// ask counts those who ask for more than one slot. Slots that are taken and have no task are given back at once.
func (r *room) ask(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking += n; r.asking == 0 {
		return
	}
	for _, end := range r.idle {
		end()
	}
}

// wait is a context for a slot that waits for a task: it ends when somebody asks for more than one slot.
func (r *room) wait(ctx context.Context) (waiting context.Context, done func()) {
	waiting, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking > 0 {
		cancel()
	}
	r.idles++
	key := r.idles
	r.idle[key] = cancel
	return waiting, func() {
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.idle, key)
	}
}
