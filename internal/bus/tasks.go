package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/failpoint"
)

const (
	// defaultAckWait is after how long without a sign of life a task is given to another worker.
	defaultAckWait = 30 * time.Second
	// unreadableDelay is after how long a message that this program cannot read is offered again, perhaps to one that can.
	unreadableDelay = 15 * time.Second
	// ackTry is how long an acknowledgement is waited for before it is sent again.
	ackTry = time.Second
)

// traceContext carries W3C trace context in headers, whatever the process's own propagators are.
var traceContext = propagation.TraceContext{}

// Release puts a task into the queue of a pool of workers. Releasing the same task of the same plan with the same release
// number again is one release.
func (b *Bus) Release(ctx context.Context, pool string, task *dispatchv1.Task) error {
	what := fmt.Sprintf("release task %s of %s in run %s", task.GetTaskId(), task.GetStage(), task.GetRunId())
	if err := errors.Join(token("pool", pool), token("run id", task.GetRunId())); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	data, err := encode("task "+task.GetTaskId(), task, func(t *dispatchv1.Task) { t.ProtocolVersion = Protocol })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	id := fmt.Sprintf("%s/%s/%s/%s/%d", task.GetRunId(), task.GetStage(), task.GetPlanSha256(), task.GetTaskId(), task.GetRelease())
	header := nats.Header{}
	traceContext.Inject(ctx, propagation.HeaderCarrier(header))
	return failpoint.Around(ctx, failpoint.ReleaseTask, func() error {
		return b.publish(ctx, what, taskSubject+pool+"."+lifeOf(task.GetRunId(), task.GetLife()), id, header, data)
	})
}

// TaskOptions says how tasks are taken.
type TaskOptions struct {
	// AckWait is after how long without Extend a task goes to another worker; 0 is 30 s. One value a pool: the last one set holds.
	AckWait time.Duration
}

// TaskSource is where a worker takes tasks from. It is safe for concurrent use.
type TaskSource struct {
	bus     *Bus
	pool    string
	ackWait time.Duration

	mu       sync.Mutex
	consumer jetstream.Consumer
}

// Tasks opens the queue of a pool. It waits for a control plane that has not set up the queue yet, until ctx ends.
func (b *Bus) Tasks(ctx context.Context, pool string, o TaskOptions) (*TaskSource, error) {
	if err := token("pool", pool); err != nil {
		return nil, fmt.Errorf("take tasks: %w", err)
	}
	if o.AckWait == 0 {
		o.AckWait = defaultAckWait
	}
	s := &TaskSource{bus: b, pool: pool, ackWait: o.AckWait}
	err := retry(ctx, "open the tasks of pool "+pool, func(ctx context.Context) error {
		_, err := s.open(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open gives the pool's consumer, making it where it is not there.
func (s *TaskSource) open(ctx context.Context) (jetstream.Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.consumer != nil {
		return s.consumer, nil
	}
	err := s.bus.try(ctx, func(ctx context.Context) error {
		var err error
		s.consumer, err = s.bus.js.CreateOrUpdateConsumer(ctx, taskStream, jetstream.ConsumerConfig{
			Durable: consumerOf(s.pool), FilterSubject: taskSubject + s.pool + ".*", AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: s.ackWait, MaxDeliver: -1, MaxAckPending: -1,
		})
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, transient(fmt.Errorf("%w: the control plane sets it up, start it", err))
	}
	return s.consumer, err
}

func consumerOf(pool string) string { return "pool-" + pool }

// Next waits for a task. What it returns must be acknowledged, given back, or extended before AckWait has passed.
func (s *TaskSource) Next(ctx context.Context) (*Delivery, error) {
	var delivery *Delivery
	for delivery == nil {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("take a task of pool %s: none came: %w", s.pool, err)
		}
		err := retry(ctx, "take a task of pool "+s.pool, func(ctx context.Context) error {
			msg, err := s.fetch(ctx)
			if err != nil || msg == nil {
				return err
			}
			delivery = s.read(ctx, msg)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return delivery, nil
}

// fetch asks for one message; nil where none came for a while, or until ctx ended: an empty queue is no fault.
func (s *TaskSource) fetch(ctx context.Context) (jetstream.Msg, error) {
	consumer, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if !s.bus.nc.IsConnected() && !s.bus.nc.IsClosed() {
		return nil, transient(nats.ErrDisconnected)
	}
	// The context's deadline must not reach the library, which refuses one that is shorter than two heartbeats.
	waiting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(waiting), jetstream.FetchHeartbeat(followHeartbeat))
	if err != nil {
		return nil, err
	}
	if msg, ok := <-batch.Messages(); ok {
		if ctx.Err() != nil {
			// It arrived when nobody wanted it any more: to another worker at once, not after AckWait.
			_ = msg.Nak()
			return nil, nil
		}
		return msg, nil
	}
	err = batch.Error()
	switch {
	case err == nil, ctx.Err() != nil:
		return nil, nil
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, jetstream.ErrNoHeartbeat):
		// The consumer may be gone with its server: make it again.
		s.mu.Lock()
		s.consumer = nil
		s.mu.Unlock()
		return nil, transient(err)
	}
	return nil, err
}

// read makes a delivery of a message; nil for one that this program cannot read, which stays in the queue.
func (s *TaskSource) read(ctx context.Context, msg jetstream.Msg) *Delivery {
	task := new(dispatchv1.Task)
	meta, err := msg.Metadata()
	if err == nil {
		err = decode("a task", msg.Data(), task)
	}
	if err != nil {
		slog.ErrorContext(ctx, "left a task in the queue that cannot be read", "subject", msg.Subject(), "error", err)
		_ = msg.NakWithDelay(unreadableDelay)
		return nil
	}
	return &Delivery{Task: task, Deliveries: int(meta.NumDelivered), bus: s.bus, msg: msg}
}

// Delivery is a task given to this worker for a while. Another worker may hold it too, if this one let AckWait pass.
type Delivery struct {
	Task *dispatchv1.Task
	// Deliveries counts how often the queue gave this release out, from 1. It may be too low after a crash of the server.
	Deliveries int
	bus        *Bus
	msg        jetstream.Msg
}

// Context is parent with the remote span that released the task.
func (d *Delivery) Context(parent context.Context) context.Context {
	return traceContext.Extract(parent, propagation.HeaderCarrier(d.msg.Headers()))
}

// Extend keeps the task for another AckWait.
func (d *Delivery) Extend(ctx context.Context) error {
	return d.say(ctx, "extend", d.msg.InProgress)
}

// Ack removes the task from the queue, and returns when the server confirms, also one that was away meanwhile, or when ctx ends.
// It is accepted after redelivery too.
func (d *Delivery) Ack(ctx context.Context) error {
	err := failpoint.Around(ctx, failpoint.AckTask, func() error {
		return d.bus.request(ctx, "acknowledge "+d.name(), func(ctx context.Context) error {
			// A server that went away with the request never answers it.
			one, cancel := context.WithTimeout(ctx, ackTry)
			defer cancel()
			return d.msg.DoubleAck(one)
		})
	})
	if err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("%w: it may be given out again", err)
	}
	return nil
}

// Nak gives the task back, to be given out again after a delay.
func (d *Delivery) Nak(ctx context.Context, delay time.Duration) error {
	return d.say(ctx, "give back", func() error { return d.msg.NakWithDelay(delay) })
}

func (d *Delivery) say(ctx context.Context, what string, f func() error) error {
	err := ctx.Err()
	if err == nil {
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: it is given out again when its time is over", what, d.name(), err)
	}
	return nil
}

func (d *Delivery) name() string {
	return fmt.Sprintf("task %s of %s in run %s", d.Task.GetTaskId(), d.Task.GetStage(), d.Task.GetRunId())
}

// lifeOf names one life of a run in a subject: that one is cancelled must not touch the next.
func lifeOf(runID string, life uint32) string {
	if life == 0 {
		return runID
	}
	return fmt.Sprintf("%s_%d", runID, life)
}

// PurgeTasks removes the tasks of one life of a run from all queues; workers that hold one keep it.
func (b *Bus) PurgeTasks(ctx context.Context, runID string, life uint32) error {
	what := "remove the waiting tasks of run " + runID
	if err := token("run id", runID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s, err := b.stream(ctx, taskStream)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return failpoint.Around(ctx, failpoint.PurgeTasks, func() error {
		return b.request(ctx, what, func(ctx context.Context) error {
			return s.Purge(ctx, jetstream.WithPurgeSubject(taskSubject+"*."+lifeOf(runID, life)))
		})
	})
}

// Queue counts a pool's tasks: waiting for a worker, and pending with one.
func (b *Bus) Queue(ctx context.Context, pool string) (waiting, pending int, err error) {
	if err := token("pool", pool); err != nil {
		return 0, 0, fmt.Errorf("count tasks: %w", err)
	}
	s, err := b.stream(ctx, taskStream)
	if err != nil {
		return 0, 0, fmt.Errorf("count the tasks of pool %s: %w", pool, err)
	}
	err = b.request(ctx, "count the tasks of pool "+pool, func(ctx context.Context) error {
		consumer, err := s.Consumer(ctx, consumerOf(pool))
		if err == nil {
			info := consumer.CachedInfo()
			waiting, pending = int(info.NumPending), info.NumAckPending
			return nil
		}
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		// No worker of this pool was ever there: everything waits.
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(taskSubject+pool+".*"))
		if err != nil {
			return err
		}
		waiting, pending = 0, 0
		for subject, n := range info.State.Subjects {
			if strings.HasPrefix(subject, taskSubject+pool+".") {
				waiting += int(n)
			}
		}
		return nil
	})
	return waiting, pending, err
}
