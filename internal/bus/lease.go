package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// leaseSubject is the key that whoever coordinates holds.
const leaseSubject = "$KV." + leaseBucket + ".coordinator"

// minLease is the shortest time to live that a message can have.
const minLease = time.Second

// Lease is the right to coordinate, held until it is lost or given back.
type Lease struct {
	bus    *Bus
	ttl    time.Duration
	value  []byte
	epoch  uint64
	lost   chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}
	mu     sync.Mutex
	seq    uint64
	resign sync.Once
}

// leaseHolder is what the key holds, for people who look.
type leaseHolder struct {
	Holder string `json:"holder"`
	// Nonce tells two campaigns of one holder apart.
	Nonce string `json:"nonce"`
}

// Campaign waits until nobody else holds the lease, takes it and keeps renewing it until Resign, or until it is lost. ttl,
// at least 1 s, is how long after its holder's last renewal it becomes free. ctx bounds the waiting, not the holding.
func (b *Bus) Campaign(ctx context.Context, holder string, ttl time.Duration) (*Lease, error) {
	what := "take the coordinator's lease as " + holder
	if ttl < minLease {
		return nil, fmt.Errorf("%s: a time to live of %v is too short: give at least %v", what, ttl, minLease)
	}
	// The server counts whole seconds.
	ttl = ttl.Truncate(time.Second)
	value, err := json.Marshal(leaseHolder{Holder: holder, Nonce: rand.Text()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s, err := b.stream(ctx, kvStream(leaseBucket))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	freed := make(chan struct{}, 1)
	for watched := false; ; {
		after, free, err := b.leaseState(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if free {
			l, err := b.take(ctx, what, after, value, ttl)
			if errors.Is(err, ErrConflict) {
				continue
			}
			return l, err
		}
		if !watched {
			watched = true
			go b.watchLease(waiting, after+1, freed)
		}
		// The watch is the quick way; the timer is there for a marker that never comes.
		timer := time.NewTimer(ttl / 3)
		select {
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w while another holds it", what, ctx.Err())
		}
	}
}

// take takes a lease that is free; ErrConflict where another was first.
func (b *Bus) take(ctx context.Context, what string, after uint64, value []byte, ttl time.Duration) (*Lease, error) {
	base, _, err := b.epochBase(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	asked := time.Now()
	var seq uint64
	err = failpoint.Around(ctx, failpoint.TakeLease, func() error {
		seq, err = b.publishAfter(ctx, what, kvStream(leaseBucket), leaseSubject, after, value, ttl)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := b.hold(ctx, ttl, value, seq, base+seq, asked)
	// Epochs grow from election to election only where the base at the moment of each is counted: was it this one?
	now, _, err := b.epochBase(ctx)
	if err == nil && now == base {
		return l, nil
	}
	if err == nil {
		err = fmt.Errorf("%s: the epochs were raised meanwhile: %w", what, ErrConflict)
	}
	return nil, errors.Join(err, l.Resign(ctx))
}

// leaseState tells whether the lease is free, and the sequence that taking it must follow.
func (b *Bus) leaseState(ctx context.Context, s jetstream.Stream) (after uint64, free bool, err error) {
	msg, found, err := b.last(ctx, s, leaseSubject)
	if err != nil || !found {
		return 0, true, err
	}
	return msg.Sequence, isMarker(msg.Header), nil
}

// isMarker tells whether a message says that a key's value is gone.
func isMarker(h map[string][]string) bool {
	return len(h["KV-Operation"]) > 0 || len(h[jetstream.MarkerReasonHeader]) > 0
}

// watchLease signals each time the lease becomes free.
func (b *Bus) watchLease(ctx context.Context, from uint64, freed chan<- struct{}) {
	o := followOptions{stream: kvStream(leaseBucket), subject: leaseSubject, from: from, headersOnly: true}
	err := b.follow(ctx, o, func(msg jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if isMarker(msg.Headers()) {
			select {
			case freed <- struct{}{}:
			default:
			}
		}
		return nil
	})
	logEnd(ctx, "watching the coordinator's lease ended", err)
}

func (b *Bus) hold(ctx context.Context, ttl time.Duration, value []byte, seq, epoch uint64, asked time.Time) *Lease {
	holding, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lease{
		bus: b, ttl: ttl, value: value, epoch: epoch, seq: seq,
		lost: make(chan struct{}), ended: make(chan struct{}), stop: stop,
	}
	go l.keep(holding, asked)
	return l
}

// keep renews the lease three times in its life, and lets go when that fails.
func (l *Lease) keep(ctx context.Context, renewed time.Time) {
	defer close(l.ended)
	for {
		if pause(ctx, time.Until(renewed.Add(l.ttl/3))) != nil {
			return
		}
		asked := time.Now()
		// The lease is counted from before the request: the server counts from a later moment, so it frees it later.
		renewing, cancel := context.WithDeadline(ctx, renewed.Add(l.ttl))
		l.mu.Lock()
		var seq uint64
		err := failpoint.Around(renewing, failpoint.RenewLease, func() (err error) {
			seq, err = l.bus.publishAfter(renewing, "renew the coordinator's lease", kvStream(leaseBucket), leaseSubject, l.seq, l.value, l.ttl)
			return err
		})
		if err == nil {
			l.seq = seq
		}
		l.mu.Unlock()
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.WarnContext(ctx, "lost the coordinator's lease", "epoch", l.epoch, "error", err)
			close(l.lost)
			return
		}
		renewed = asked
	}
}

// Epoch is the lease's revision at the election, and what RaiseEpochs added: it is higher than that of every former holder.
func (l *Lease) Epoch() uint64 { return l.epoch }

// Lost is closed as soon as another may hold the lease. Resign does not close it.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Resign stops renewing and frees the lease at once. Where that fails the lease becomes free by itself after its time to live.
func (l *Lease) Resign(ctx context.Context) error {
	var err error
	l.resign.Do(func() {
		l.stop()
		<-l.ended
		select {
		case <-l.lost:
			return
		default:
		}
		var kv jetstream.KeyValue
		err = l.bus.request(ctx, "give back the coordinator's lease", func(ctx context.Context) error {
			var err error
			if kv, err = l.bus.js.KeyValue(ctx, leaseBucket); err != nil {
				return err
			}
			err = kv.Delete(ctx, "coordinator", jetstream.LastRevision(l.seq))
			if isWrongSequence(err) {
				return nil
			}
			return err
		})
	})
	return err
}
