// Package worker does the tasks that the control plane releases: it pulls one at a time for each slot, keeps it alive while
// it works, stages files in the lake, and reports what became of the attempt. It commits nothing and decides nothing.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/internal/scratch"
)

const (
	// DefaultPool is the pool of workers that tasks go to unless told otherwise.
	DefaultPool = "default"
	// DefaultAckWait is how long a task may go without a sign of life before another worker gets it.
	DefaultAckWait = 10 * time.Second
	// heartbeat is how often a worker tells that it is there.
	heartbeat = 2 * time.Second
	// finishWait is how long an acknowledgement is tried when the server is away.
	finishWait = 10 * time.Second
	// turn is how long a slot waits for a task before it shows that it still does; one that has shown nothing for stuckTurns of
	// them takes no tasks any more, whatever the process says.
	turn       = 20 * time.Second
	stuckTurns = 4
	// retryPause is how long a slot waits after it could not get a task.
	retryPause = time.Second
)

// Config is what a worker works with.
type Config struct {
	// ID names the worker; made up where empty.
	ID  string
	Bus bus.Config
	// Warehouse is the lake's folder, Landing the folder that holds a folder for each source.
	Warehouse, Landing string
	// ScratchDir is where the engine spills and readers keep cells, each worker in a folder of its own. Those of workers that no
	// longer run are removed at the start.
	ScratchDir string
	// Slots is how many tasks are done at a time; 1 where 0.
	Slots int
	// MemoryLimit in bytes is shared by the slots; the engine's default where 0.
	MemoryLimit int64
	// Threads of each task's engine; all processors where 0.
	Threads int
	// AckWait is how long a task may go without a sign of life of its worker before another one gets it; DefaultAckWait where 0.
	// One value a pool: that of the worker that started last holds.
	AckWait time.Duration
	Pool    string
	Version string
	Log     *slog.Logger
}

// Worker is a running worker.
type Worker struct {
	Config
	bus       *bus.Bus
	lake      *lake.Lake
	scratch   *scratch.Folder
	pipelines *pipelinestore.Store
	plans     *plans
	started   time.Time
	tasksDone atomic.Int64
	done      chan struct{}
	stop      context.CancelFunc // ends the pulling of tasks
	kill      context.CancelFunc // ends the tasks too
	killed    context.Context
	slots     []*slot
	room      *room
	draining  atomic.Bool

	mu      sync.Mutex
	current map[string]*attempt
	// cancelled are the latest runs and stages that were cancelled, each up to the life that was, the oldest first: a task of theirs
	// that was on its way here is not begun.
	cancelled []bus.Cancelled
}

// attempt is a task under way.
type attempt struct {
	name   string
	runID  string
	life   uint32
	stage  string
	cancel context.CancelCauseFunc
}

// cancelledKept is how many cancelled runs and stages a worker remembers.
const cancelledKept = 256

// slot is a loop that takes tasks.
type slot struct {
	busy atomic.Bool
	// turned is when it last began to wait for a task, in Unix nanoseconds.
	turned atomic.Int64
}

// stuck says that a slot neither works nor waits for work: it counts as dead, though its process lives.
func (s *slot) stuck(now time.Time) bool {
	return !s.busy.Load() && now.Sub(time.Unix(0, s.turned.Load())) > stuckTurns*turn
}

// source is where tasks come from.
type source interface {
	Next(ctx context.Context) (*bus.Delivery, error)
}

// errCancelled is why a task ends whose run was cancelled, or whose stage has failed.
var errCancelled = errors.New("nobody waits for it any more")

// Start connects, registers and begins to pull tasks. It fails where the lake's folder is not that of the lake that the
// control plane uses.
func Start(ctx context.Context, c Config) (_ *Worker, err error) {
	if c.ID == "" {
		c.ID = ulid.Make().String()
	}
	c.Slots, c.Log = max(1, c.Slots), c.Log.With("worker", c.ID)
	if c.Pool == "" {
		c.Pool = DefaultPool
	}
	if c.AckWait == 0 {
		c.AckWait = DefaultAckWait
	}
	own, err := scratch.Claim(ctx, c.ScratchDir, c.ID, c.Log)
	if err != nil {
		return nil, fmt.Errorf("make the worker's scratch folder in %s: %w", c.ScratchDir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, own.Release())
		}
	}()
	b, err := bus.Connect(ctx, c.Bus)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	l, err := lake.Attach(ctx, lake.Config{Warehouse: c.Warehouse})
	if err == nil {
		err = sameLake(ctx, b, l)
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("attach to the lake in %s: %w", c.Warehouse, err)
	}
	w := &Worker{Config: c, bus: b, lake: l, scratch: own, pipelines: pipelinestore.New(b), started: time.Now(), done: make(chan struct{}), current: map[string]*attempt{}}
	w.room = newRoom(c.Slots)
	if w.plans, err = newPlans(max(2, c.Slots), w.readPlan); err != nil {
		b.Close()
		return nil, err
	}
	for range c.Slots {
		s := &slot{}
		s.turned.Store(time.Now().UnixNano())
		w.slots = append(w.slots, s)
	}
	tasks, err := b.Tasks(ctx, c.Pool, bus.TaskOptions{AckWait: c.AckWait})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("subscribe to the tasks of pool %s: %w", c.Pool, err)
	}
	w.killed, w.kill = context.WithCancel(context.WithoutCancel(ctx))
	cancels, err := b.WatchCancels(w.killed)
	if err != nil {
		w.kill()
		b.Close()
		return nil, fmt.Errorf("watch for cancelled runs: %w", err)
	}
	pulling, stop := context.WithCancel(ctx)
	w.stop = stop
	if err := b.Heartbeat(ctx, w.status()); err != nil {
		w.kill()
		b.Close()
		return nil, fmt.Errorf("register: %w", err)
	}
	go w.run(pulling, tasks, cancels)
	return w, nil
}

// sameLake refuses a folder that is another lake than the control plane's: better now than when a task fails.
func sameLake(ctx context.Context, b *bus.Bus, l *lake.Lake) error {
	id, _, err := b.Setting(ctx, bus.LakeSetting)
	if err != nil {
		return fmt.Errorf("ask which lake the control plane uses (is one running?): %w", err)
	}
	if string(id) != l.ID() {
		return fmt.Errorf("it is the lake %s, but the control plane uses the lake %s: mount the same folder here", l.ID(), id)
	}
	return nil
}

// Done is closed when the worker has stopped.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Close stops pulling and waits for the tasks under way until ctx ends; then these are given back. It returns when all is stopped.
func (w *Worker) Close(ctx context.Context) error {
	w.draining.Store(true)
	w.stop()
	w.tellAlive() // so that people see why it takes nothing more
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	w.kill()
	<-w.done
	return nil
}

// Alive says whether every slot works or waits for work.
func (w *Worker) Alive() bool {
	now := time.Now()
	for _, s := range w.slots {
		if s.stuck(now) {
			return false
		}
	}
	return true
}

func (w *Worker) run(pulling context.Context, tasks source, cancels <-chan bus.Cancelled) {
	defer close(w.done)
	defer w.bus.Close()
	defer w.kill()
	var slots sync.WaitGroup
	for _, s := range w.slots {
		slots.Go(func() { w.pull(pulling, s, tasks) })
	}
	idle := make(chan struct{})
	go func() { slots.Wait(); close(idle) }()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-idle:
			w.leave()
			return
		case <-tick.C:
			if !w.Alive() {
				// To live on would keep others from having its place.
				w.Log.Error("a slot takes no tasks any more: the worker stops; start it again")
				return
			}
			w.tellAlive()
		case c, ok := <-cancels:
			if !ok {
				cancels = nil
				continue
			}
			w.cancelOf(c)
		}
	}
}

// tellAlive waits no longer for a server that is away than until the next heartbeat.
func (w *Worker) tellAlive() {
	ctx, cancel := context.WithTimeout(w.killed, heartbeat)
	defer cancel()
	if err := w.bus.Heartbeat(ctx, w.status()); err != nil && w.killed.Err() == nil {
		w.Log.Warn("could not tell that the worker is alive; trying again", "error", err)
	}
}

// leave tells that the worker is gone, and clears its scratch folder.
func (w *Worker) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.killed), 2*time.Second)
	defer cancel()
	if err := w.bus.RemoveWorker(ctx, w.ID); err != nil {
		w.Log.Debug("could not sign off; the registration runs out by itself", "error", err)
	}
	if err := w.scratch.Release(); err != nil {
		w.Log.Warn("could not clear the scratch folder", "error", err)
	}
}

func (w *Worker) pull(ctx context.Context, s *slot, tasks source) {
	for ctx.Err() == nil {
		s.turned.Store(time.Now().UnixNano())
		// A task is asked for only when there is room for one.
		waiting, cancel := context.WithTimeout(ctx, turn)
		free, err := w.room.take(waiting, share{slots: 1})
		if err != nil {
			cancel()
			continue
		}
		keep := w.room.lend(free)
		d, err := tasks.Next(waiting)
		over := waiting.Err() != nil
		cancel()
		if !keep() {
			free = nil
		}
		switch {
		case err == nil:
			s.busy.Store(true)
			w.do(d, free)
			s.turned.Store(time.Now().UnixNano())
			s.busy.Store(false)
		default:
			if free != nil {
				free()
			}
			if over {
				continue
			}
			w.Log.Warn("could not get a task; trying again", "error", err)
			pause(ctx, retryPause)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (w *Worker) cancelOf(c bus.Cancelled) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.cancelled, c) {
		w.cancelled = append(w.cancelled, c)
		w.cancelled = w.cancelled[max(0, len(w.cancelled)-cancelledKept):]
	}
	for _, a := range w.current {
		if a.of(c) {
			a.cancel(errCancelled)
		}
	}
}

// of says whether an attempt is at a task of what was cancelled. The next life of a run is another matter.
func (a *attempt) of(c bus.Cancelled) bool {
	return a.runID == c.RunID && a.life <= c.Life && (c.Stage == "" || c.Stage == a.stage)
}

// began notes an attempt, so that it can be cancelled.
func (w *Worker) began(id string, a *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current[id] = a
	if slices.ContainsFunc(w.cancelled, a.of) {
		a.cancel(errCancelled)
	}
}

func (w *Worker) status() *dispatchv1.WorkerStatus {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s := &dispatchv1.WorkerStatus{
		ProtocolVersion: bus.Protocol, WorkerId: w.ID, Version: w.Version, Host: host, Pid: int32(os.Getpid()), Slots: int32(w.Slots),
		MemoryLimitBytes: w.MemoryLimit, StartTime: timestamppb.New(w.started), Time: timestamppb.Now(), TasksDone: w.tasksDone.Load(), Pool: w.Pool, Draining: w.draining.Load(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.current {
		s.Tasks = append(s.Tasks, a.name)
	}
	return s
}
