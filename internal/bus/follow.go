package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// followBatch is how many messages are fetched ahead: with MaxPayload it bounds a reader's memory.
	followBatch = 32
	// followHeartbeat bounds how long a reader takes to notice that its server is gone: twice this.
	followHeartbeat = 2 * time.Second
	followExpiry    = 10 * time.Second
	// followIdle is after how long the server forgets a reader that went away.
	followIdle = 30 * time.Second
)

// errEnough ends following without an error.
var errEnough = errors.New("enough")

// followOptions says what to read of a stream.
type followOptions struct {
	stream, subject string
	// from is the first sequence to read.
	from        uint64
	headersOnly bool
}

// follow calls f with each message of a subject in order, each once, until ctx ends or f fails. It outlives restarts of the
// server: its place is kept here, not there.
func (b *Bus) follow(ctx context.Context, o followOptions, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	next := max(o.from, 1)
	for {
		var stop error
		err := b.request(ctx, "read "+o.subject, func(context.Context) error {
			var err error
			next, stop, err = b.followOnce(ctx, o, next, f)
			return err
		})
		if errors.Is(stop, errEnough) {
			return nil
		}
		if stop != nil {
			return stop
		}
		if err != nil {
			return err
		}
	}
}

// followOnce follows on one consumer, until it breaks or f fails with stop; it gives the next sequence to read.
func (b *Bus) followOnce(ctx context.Context, o followOptions, next uint64, f func(jetstream.Msg, *jetstream.MsgMetadata) error) (at uint64, stop, err error) {
	one, cancel := context.WithTimeout(ctx, b.attempt)
	consumer, err := b.js.CreateConsumer(one, o.stream, jetstream.ConsumerConfig{
		FilterSubject: o.subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: o.headersOnly, InactiveThreshold: followIdle,
		MemoryStorage: true, Replicas: 1,
	})
	cancel()
	if err != nil {
		return next, nil, err
	}
	defer func() {
		// Where this fails the server forgets the consumer by itself.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if b.nc.IsConnected() {
			_ = b.js.DeleteConsumer(clean, o.stream, consumer.CachedInfo().Name)
		}
	}()
	messages, err := consumer.Messages(jetstream.PullMaxMessages(followBatch), jetstream.PullExpiry(followExpiry),
		jetstream.PullHeartbeat(followHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return next, nil, err
	}
	defer messages.Stop()
	for expected := uint64(1); ; expected++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return next, nil, ctx.Err()
			}
			slog.DebugContext(ctx, "reader begins again", "subject", o.subject, "sequence", next, "reason", err)
			return next, nil, pause(ctx, firstRetry)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return next, err, nil
		}
		if meta.Sequence.Consumer != expected {
			// A message was lost between server and here: read it again.
			return next, nil, nil
		}
		if err := f(msg, meta); err != nil {
			return next, err, nil
		}
		next = meta.Sequence.Stream + 1
	}
}
