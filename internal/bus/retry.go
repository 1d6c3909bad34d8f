package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// transientError marks an error after which the same call may well succeed.
type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

func transient(err error) error { return transientError{err} }

// retry calls f until it succeeds, fails for good, or ctx ends, waiting longer each time up to longestRetry.
func retry(ctx context.Context, what string, f func(context.Context) error) error {
	begin, complained := time.Now(), time.Time{}
	wait := firstRetry
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if !isTransient(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if now := time.Now(); ctx.Err() == nil && now.Sub(begin) > firstComplaint && now.Sub(complained) > complaintInterval {
			complained = now
			slog.WarnContext(ctx, "NATS does not answer, trying again", "doing", what, "error", err)
		}
		if pause(ctx, wait) != nil {
			return fmt.Errorf("%s: gave up (%w) while the server did not answer (%w): check that NATS runs and can be reached", what, ctx.Err(), err)
		}
		wait = min(2*wait, longestRetry)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// isTransient tells whether the server may answer differently a moment later, nothing being wrong with the request.
func isTransient(err error) bool {
	var marked transientError
	if errors.As(err, &marked) {
		return true
	}
	for _, passing := range []error{nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse, jetstream.ErrNoHeartbeat, jetstream.ErrServerShutdown,
		jetstream.ErrConsumerLeadershipChanged, jetstream.ErrJetStreamNotEnabled, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == 503
}

// refusals are what the server did not permit. It says so beside the request, which gets no answer.
type refusals struct {
	mu    sync.Mutex
	count int
	last  error
}

func (r *refusals) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count, r.last = r.count+1, err
}

// seen gives how many there were, and the last.
func (r *refusals) seen() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.last
}

// link tells who waits for an answer that the connection is gone, and the answer with it.
type link struct {
	mu   sync.Mutex
	ctx  context.Context // ends with the connection
	stop context.CancelFunc
}

func newLink() *link {
	l := &link{}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

func (l *link) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.ctx, l.stop = context.WithCancel(context.Background())
}

// during gives a context that ends with ctx, after d, or with the connection, and tells then whether it was the connection.
func (l *link) during(ctx context.Context, d time.Duration) (one context.Context, lost func() bool, done func()) {
	l.mu.Lock()
	connection := l.ctx
	l.mu.Unlock()
	one, cancel := context.WithTimeout(ctx, d)
	detach := context.AfterFunc(connection, cancel)
	return one, func() bool { return connection.Err() != nil && ctx.Err() == nil }, func() { detach(); cancel() }
}

// try makes one request with a deadline of its own, so that a lost answer is noticed.
func (b *Bus) try(ctx context.Context, f func(context.Context) error) error {
	one, lost, done := b.link.during(ctx, b.attempt)
	defer done()
	if b.nc.IsClosed() {
		return nats.ErrConnectionClosed
	}
	if !b.nc.IsConnected() {
		return transient(nats.ErrDisconnected)
	}
	before, _ := b.refused.seen()
	err := f(one)
	if err == nil || one.Err() == nil || ctx.Err() != nil {
		return err
	}
	if lost() {
		return transient(fmt.Errorf("%w: %w", nats.ErrDisconnected, err))
	}
	if now, why := b.refused.seen(); now > before {
		return fmt.Errorf("no answer: %w (%w)", ErrNotPermitted, why)
	}
	return err
}

// request makes a request that may be repeated without harm, until it is answered.
func (b *Bus) request(ctx context.Context, what string, f func(context.Context) error) error {
	return retry(ctx, what, func(ctx context.Context) error { return b.try(ctx, f) })
}

// stream is a handle on a stream or on the stream below a bucket, which must exist.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	known := b.streams[name]
	b.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var s jetstream.Stream
	err := b.request(ctx, "find stream "+name, func(ctx context.Context) error {
		var err error
		s, err = b.js.Stream(ctx, name)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: start the control plane first, it sets up the streams", err)
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.streams[name] = s
	b.mu.Unlock()
	return s, nil
}
