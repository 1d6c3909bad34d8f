package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/failpoint"
)

const (
	publishedKey     = "published"
	publishedSubject = "$KV." + publishedBucket + "." + publishedKey
)

// Published gives the record that readers see, and its revision; where nothing was published yet an empty record and
// revision 0.
func (b *Bus) Published(ctx context.Context) (*dispatchv1.Published, uint64, error) {
	s, err := b.stream(ctx, kvStream(publishedBucket))
	if err != nil {
		return nil, 0, fmt.Errorf("read what is published: %w", err)
	}
	msg, found, err := b.last(ctx, s, publishedSubject)
	if err != nil {
		return nil, 0, fmt.Errorf("read what is published: %w", err)
	}
	if !found {
		return &dispatchv1.Published{}, 0, nil
	}
	p, err := readPublished(msg.Data, msg.Sequence)
	return p, msg.Sequence, err
}

// MovePublished replaces the record that has this revision (0: there is none yet), and gives the new revision. ErrConflict
// means that it moved meanwhile.
func (b *Bus) MovePublished(ctx context.Context, next *dispatchv1.Published, revision uint64) (uint64, error) {
	what := fmt.Sprintf("publish version %d of run %s after revision %d", next.GetVersion(), next.GetRunId(), revision)
	data, err := marshal("the published record", next)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	var moved uint64
	err = failpoint.Around(ctx, failpoint.MovePublished, func() error {
		moved, err = b.publishAfter(ctx, what, kvStream(publishedBucket), publishedSubject, revision, data, 0)
		return err
	})
	return moved, err
}

// PublishedHistory gives the records that are kept, at most 64, newest first.
func (b *Bus) PublishedHistory(ctx context.Context) ([]*dispatchv1.Published, error) {
	var entries []jetstream.KeyValueEntry
	err := b.request(ctx, "read the history of what is published", func(ctx context.Context) error {
		kv, err := b.js.KeyValue(ctx, publishedBucket)
		if err != nil {
			return err
		}
		entries, err = kv.History(ctx, publishedKey)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			entries, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var records []*dispatchv1.Published
	for _, entry := range slices.Backward(entries) {
		p, err := readPublished(entry.Value(), entry.Revision())
		if err != nil {
			return nil, err
		}
		records = append(records, p)
	}
	return records, nil
}

// PublishedAt gives the record that readers saw at a time. ErrNotFound means that nothing was published by then, or that
// the record is older than the history kept.
func (b *Bus) PublishedAt(ctx context.Context, at time.Time) (*dispatchv1.Published, error) {
	records, err := b.PublishedHistory(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range records {
		if !p.GetTime().AsTime().After(at) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("read what was published at %s: %w: the %d records kept are all later, ask for a later time",
		at.UTC().Format(time.RFC3339), ErrNotFound, len(records))
}

// WatchPublished sends the present record, where there is one, then each new one; a slow receiver gets the latest only.
// The channel is closed when ctx ends.
func (b *Bus) WatchPublished(ctx context.Context) (<-chan *dispatchv1.Published, error) {
	present, revision, err := b.Published(ctx)
	if err != nil {
		return nil, err
	}
	seen := make(chan *dispatchv1.Published)
	go func() {
		defer close(seen)
		send := func(p *dispatchv1.Published) error {
			select {
			case seen <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if revision > 0 && send(present) != nil {
			return
		}
		o := followOptions{stream: kvStream(publishedBucket), subject: publishedSubject, from: revision + 1}
		err := b.follow(ctx, o, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			p, err := readPublished(msg.Data(), meta.Sequence.Stream)
			if err != nil {
				return err
			}
			return send(p)
		})
		logEnd(ctx, "watching what is published ended", err)
	}()
	out := make(chan *dispatchv1.Published)
	go latest(seen, out)
	return out, nil
}

// latest passes on the newest value only, and closes out when in is closed.
func latest[T any](in <-chan T, out chan<- T) {
	defer close(out)
	var to chan<- T
	var newest T
	for {
		select {
		case value, open := <-in:
			if !open {
				return
			}
			to, newest = out, value
		case to <- newest:
			to = nil
		}
	}
}

func readPublished(data []byte, revision uint64) (*dispatchv1.Published, error) {
	p := new(dispatchv1.Published)
	if err := proto.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("decode revision %d of the published record: %w: %w", revision, ErrProtocol, err)
	}
	return p, nil
}
