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
	// asking counts those who ask for more than one slot. lent is what slots took that wait for tasks: each gives it back.
	asking int
	lent   map[int]func()
	lends  int
}

func newRoom(slots int) *room {
	return &room{slots: slots, free: semaphore.NewWeighted(int64(slots)), lent: map[int]func(){}}
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

// ask counts those who ask for more than one slot. What was lent is given back at once.
func (r *room) ask(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking += n; r.asking == 0 {
		return
	}
	for key, giveBack := range r.lent {
		giveBack()
		delete(r.lent, key)
	}
}

// lend is for a slot that was taken and waits for a task: what it took is given back when somebody asks for more than one slot.
// keep ends that; it is false where it was given back.
func (r *room) lend(giveBack func()) (keep func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking > 0 {
		giveBack()
		return func() bool { return false }
	}
	r.lends++
	key := r.lends
	r.lent[key] = giveBack
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, kept := r.lent[key]
		delete(r.lent, key)
		return kept
	}
}
