package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// Backfill gives a backfill and its revision; ErrNotFound where there is none.
func (b *Bus) Backfill(ctx context.Context, id string) (*dispatchv1.Backfill, uint64, error) {
	what := "read backfill " + id
	if err := token("backfill id", id); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	msg, err := b.value(ctx, what, backfillBucket, id)
	if err != nil {
		return nil, 0, err
	}
	backfill := new(dispatchv1.Backfill)
	if err := decode("backfill "+id, msg.Data, backfill); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	return backfill, msg.Sequence, nil
}

// MoveBackfill replaces the backfill that has this revision (0: there is none yet), and gives the new revision. ErrConflict means
// that it moved meanwhile.
func (b *Bus) MoveBackfill(ctx context.Context, next *dispatchv1.Backfill, revision uint64) (uint64, error) {
	id := next.GetBackfillId()
	what := fmt.Sprintf("move backfill %s after revision %d", id, revision)
	if err := token("backfill id", id); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := encode("backfill "+id, next, func(f *dispatchv1.Backfill) { f.ProtocolVersion = Protocol })
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return b.publishAfter(ctx, what, kvStream(backfillBucket), keySubject(backfillBucket, id), revision, data, 0)
}

// Backfills lists the ids of all backfills, the oldest first. moved grows whenever one of them moves.
func (b *Bus) Backfills(ctx context.Context) (_ []string, moved uint64, err error) {
	const prefix = "$KV." + backfillBucket + "."
	// In this order what moves meanwhile is seen to have moved the next time.
	if moved, err = b.lastSequence(ctx, kvStream(backfillBucket)); err != nil {
		return nil, 0, fmt.Errorf("list backfills: %w", err)
	}
	subjects, err := b.subjects(ctx, kvStream(backfillBucket), prefix+">")
	if err != nil {
		return nil, 0, fmt.Errorf("list backfills: %w", err)
	}
	ids := make([]string, 0, len(subjects))
	for subject := range subjects {
		ids = append(ids, strings.TrimPrefix(subject, prefix))
	}
	slices.Sort(ids)
	return ids, moved, nil
}

// WatchBackfills sends the id of each backfill that moves from now on. The channel is closed when ctx ends.
func (b *Bus) WatchBackfills(ctx context.Context) (<-chan string, error) {
	return b.watchSubjects(ctx, "watch for backfills", kvStream(backfillBucket), "$KV."+backfillBucket+".")
}
