package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// PutCheckpoint keeps the folded state of a run, of any size, in place of a former one. What fits into a message is one: written
// whole or not at all, and read by one request. The few that are larger lie in an object store, and their key has no value.
func (b *Bus) PutCheckpoint(ctx context.Context, runID string, data []byte) error {
	what := "keep the checkpoint of run " + runID
	return failpoint.Around(ctx, failpoint.KeepCheckpoint, func() error {
		if len(data) > MaxMessage {
			if err := b.putObject(ctx, what, checkpointStore, runID, data); err != nil {
				return err
			}
			data = nil
		}
		_, err := b.put(ctx, what, checkpointBucket, runID, data)
		return err
	})
}

// Checkpoint reads the checkpoint of a run; ErrNotFound where there is none. It may be older than the one put last by
// another process, so the log is read from where it ends.
func (b *Bus) Checkpoint(ctx context.Context, runID string) ([]byte, error) {
	what := "read the checkpoint of run " + runID
	msg, err := b.value(ctx, what, checkpointBucket, runID)
	if err != nil {
		return nil, err
	}
	if len(msg.Data) > 0 {
		return msg.Data, nil
	}
	return b.object(ctx, what, checkpointStore, runID)
}

// RemoveCheckpoint forgets the checkpoint of a run, where there is one.
func (b *Bus) RemoveCheckpoint(ctx context.Context, runID string) error {
	what := "forget the checkpoint of run " + runID
	msg, err := b.value(ctx, what, checkpointBucket, runID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil && len(msg.Data) == 0 {
		err = b.transfer(ctx, what, checkpointStore, func(ctx context.Context, store jetstream.ObjectStore) error {
			err := store.Delete(ctx, runID)
			if errors.Is(err, jetstream.ErrObjectNotFound) {
				return nil
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	return b.purge(ctx, what, kvStream(checkpointBucket), keySubject(checkpointBucket, runID))
}

// purge removes the messages of a subject, and leaves no marker.
func (b *Bus) purge(ctx context.Context, what, stream, subject string) error {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return err
	}
	return b.request(ctx, what, func(ctx context.Context) error { return s.Purge(ctx, jetstream.WithPurgeSubject(subject)) })
}
