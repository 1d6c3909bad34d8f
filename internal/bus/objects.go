package bus

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// objectTimeout bounds one transfer of an object.
const objectTimeout = time.Minute

// PipelineInfo is one stored pipeline.
type PipelineInfo struct {
	// Digest is the SHA-256 of the pipeline's content, in hex.
	Digest string
	// Time is when it was stored.
	Time time.Time
}

// PutPipeline stores the archive of a pipeline under its digest; one that is there already stays.
func (b *Bus) PutPipeline(ctx context.Context, digest string, archive []byte) error {
	what := "store pipeline " + digest
	known := false
	err := b.transfer(ctx, what, pipelineStore, func(ctx context.Context, store jetstream.ObjectStore) error {
		_, err := store.GetInfo(ctx, digest)
		known = err == nil
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil
		}
		return err
	})
	if err != nil || known {
		return err
	}
	return b.putObject(ctx, what, pipelineStore, digest, archive)
}

// Pipeline reads the archive of a pipeline; ErrNotFound where it was never stored.
func (b *Bus) Pipeline(ctx context.Context, digest string) ([]byte, error) {
	return b.object(ctx, "read pipeline "+digest, pipelineStore, digest)
}

// Pipelines lists the pipelines that are stored, newest first.
func (b *Bus) Pipelines(ctx context.Context) ([]PipelineInfo, error) {
	var pipelines []PipelineInfo
	err := b.transfer(ctx, "list pipelines", pipelineStore, func(ctx context.Context, store jetstream.ObjectStore) error {
		objects, err := store.List(ctx)
		if errors.Is(err, jetstream.ErrNoObjectsFound) {
			return nil
		}
		if err != nil {
			return err
		}
		pipelines = pipelines[:0]
		for _, object := range objects {
			pipelines = append(pipelines, PipelineInfo{Digest: object.Name, Time: object.ModTime})
		}
		return nil
	})
	slices.SortFunc(pipelines, func(a, b PipelineInfo) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Digest, b.Digest))
	})
	return pipelines, err
}

func (b *Bus) putObject(ctx context.Context, what, store, name string, data []byte) error {
	return b.transfer(ctx, what, store, func(ctx context.Context, s jetstream.ObjectStore) error {
		_, err := s.Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(data))
		return err
	})
}

func (b *Bus) object(ctx context.Context, what, store, name string) ([]byte, error) {
	var data []byte
	err := b.transfer(ctx, what, store, func(ctx context.Context, s jetstream.ObjectStore) error {
		var err error
		data, err = s.GetBytes(ctx, name)
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return ErrNotFound
		}
		if errors.Is(err, jetstream.ErrDigestMismatch) {
			// It was replaced while it was read.
			return transient(err)
		}
		return err
	})
	return data, err
}

// transfer works on an object store, again where the connection broke.
func (b *Bus) transfer(ctx context.Context, what, name string, f func(context.Context, jetstream.ObjectStore) error) error {
	return retry(ctx, what, func(ctx context.Context) error {
		var store jetstream.ObjectStore
		err := b.try(ctx, func(ctx context.Context) error {
			var err error
			store, err = b.js.ObjectStore(ctx, name)
			return err
		})
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return fmt.Errorf("%w: start the control plane first, it sets up the stores", err)
		}
		if err != nil {
			return err
		}
		one, lost, done := b.link.during(ctx, objectTimeout)
		defer done()
		err = f(one, store)
		if err != nil && one.Err() != nil && lost() {
			return transient(fmt.Errorf("%w: %w", nats.ErrDisconnected, err))
		}
		return err
	})
}
