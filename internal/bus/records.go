package bus

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/failpoint"
)

// plainKey is what a bucket takes as a key as it is.
var plainKey = regexp.MustCompile(`^[-/_=a-zA-Z0-9]+$`)

// keySubject is the subject of a key; a key that a bucket does not take is replaced by its hash.
func keySubject(bucket, key string) string {
	if !plainKey.MatchString(key) {
		sum := sha256.Sum256([]byte(key))
		key = "sha256=" + hex.EncodeToString(sum[:])
	}
	return "$KV." + bucket + "." + key
}

// value reads a key; ErrNotFound where it has no value.
func (b *Bus) value(ctx context.Context, what, bucket, key string) (*jetstream.RawStreamMsg, error) {
	s, err := b.stream(ctx, kvStream(bucket))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	msg, found, err := b.last(ctx, s, keySubject(bucket, key))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !found || isMarker(msg.Header) {
		return nil, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return msg, nil
}

// put sets a key.
func (b *Bus) put(ctx context.Context, what, bucket, key string, data []byte) (uint64, error) {
	var revision uint64
	err := b.request(ctx, what, func(ctx context.Context) error {
		ack, err := b.js.Publish(ctx, keySubject(bucket, key), data)
		if err == nil {
			revision = ack.Sequence
		}
		return err
	})
	return revision, err
}

// ClaimRequest remembers for 48 h that a request began a run. Where the request is known already, existing is the run that
// it began and created is false; otherwise existing is runID.
func (b *Bus) ClaimRequest(ctx context.Context, requestID, runID string) (existing string, created bool, err error) {
	what := "claim request " + requestID
	if requestID == "" {
		return "", false, errors.New("claim request: it has no id")
	}
	if err := token("run id", runID); err != nil {
		return "", false, fmt.Errorf("%s: %w", what, err)
	}
	for {
		err = failpoint.Around(ctx, failpoint.ClaimRequest, func() error {
			_, err := b.publishAfter(ctx, what, kvStream(requestBucket), keySubject(requestBucket, requestID), 0, []byte(runID), 0)
			return err
		})
		if err == nil {
			return runID, true, nil
		}
		if !errors.Is(err, ErrConflict) {
			return "", false, err
		}
		msg, err := b.value(ctx, what, requestBucket, requestID)
		if errors.Is(err, ErrNotFound) {
			// It was forgotten just now.
			continue
		}
		if err != nil {
			return "", false, err
		}
		return string(msg.Data), string(msg.Data) == runID, nil
	}
}

// Heartbeat tells that a worker lives; it is forgotten 15 s after the last one.
func (b *Bus) Heartbeat(ctx context.Context, w *dispatchv1.WorkerStatus) error {
	what := "tell that worker " + w.GetWorkerId() + " lives"
	if err := token("worker id", w.GetWorkerId()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	data, err := encode("the status of worker "+w.GetWorkerId(), w, func(w *dispatchv1.WorkerStatus) { w.ProtocolVersion = Protocol })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err = b.put(ctx, what, workerBucket, w.GetWorkerId(), data)
	return err
}

// Workers lists the workers that live, by id.
func (b *Bus) Workers(ctx context.Context) ([]*dispatchv1.WorkerStatus, error) {
	s, err := b.stream(ctx, kvStream(workerBucket))
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	subjects, err := b.subjects(ctx, kvStream(workerBucket), "$KV."+workerBucket+".>")
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	var workers []*dispatchv1.WorkerStatus
	for subject := range subjects {
		msg, found, err := b.last(ctx, s, subject)
		if err != nil {
			return nil, fmt.Errorf("list workers: %w", err)
		}
		if !found || isMarker(msg.Header) {
			continue
		}
		w := new(dispatchv1.WorkerStatus)
		if err := decode("a worker's status", msg.Data, w); err != nil {
			slog.WarnContext(ctx, "left a worker out of the list", "key", strings.TrimPrefix(subject, "$KV."), "error", err)
			continue
		}
		workers = append(workers, w)
	}
	slices.SortFunc(workers, func(a, b *dispatchv1.WorkerStatus) int { return cmp.Compare(a.GetWorkerId(), b.GetWorkerId()) })
	return workers, nil
}

// RemoveWorker forgets a worker that left.
func (b *Bus) RemoveWorker(ctx context.Context, workerID string) error {
	what := "forget worker " + workerID
	if err := token("worker id", workerID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return b.request(ctx, what, func(ctx context.Context) error {
		_, err := b.js.PublishMsg(ctx, &nats.Msg{
			Subject: keySubject(workerBucket, workerID),
			Header:  nats.Header{"KV-Operation": {"PURGE"}, jetstream.MsgRollup: {jetstream.MsgRollupSubject}},
		})
		return err
	})
}

// LakeSetting is the setting that holds the lake's id: a worker sees by it that it has the control plane's lake. It is the only
// one that workers may read.
const LakeSetting = "lake"

// PutSetting sets a setting, whatever it was, and gives its new revision.
func (b *Bus) PutSetting(ctx context.Context, key string, value []byte) (uint64, error) {
	if err := settingFits(key, value); err != nil {
		return 0, err
	}
	return b.put(ctx, "set "+key, settingBucket, key, value)
}

// Setting reads a setting and its revision; ErrNotFound where it was never set.
func (b *Bus) Setting(ctx context.Context, key string) ([]byte, uint64, error) {
	msg, err := b.value(ctx, "read setting "+key, settingBucket, key)
	if err != nil {
		return nil, 0, err
	}
	return msg.Data, msg.Sequence, nil
}

// CompareAndSetSetting sets a setting that has this revision (0: it was never set), and gives its new revision. ErrConflict
// means that it changed meanwhile.
func (b *Bus) CompareAndSetSetting(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := settingFits(key, value); err != nil {
		return 0, err
	}
	return b.publishAfter(ctx, fmt.Sprintf("set %s after revision %d", key, revision), kvStream(settingBucket),
		keySubject(settingBucket, key), revision, value, 0)
}

func settingFits(key string, value []byte) error {
	if key == "" {
		return errors.New("set a setting: it has no key")
	}
	return sized("setting "+key, value)
}
