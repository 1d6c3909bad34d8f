package bus

import (
	"slices"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func TestBackfills(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	_, _, err := b.Backfill(ctx, "B1")
	wantError(t, err, ErrNotFound)
	first := must[uint64](t)(b.MoveBackfill(ctx, &dispatchv1.Backfill{BackfillId: "B1", Flow: "daily"}, 0))
	_, err = b.MoveBackfill(ctx, &dispatchv1.Backfill{BackfillId: "B1"}, 0)
	wantError(t, err, ErrConflict)
	must[uint64](t)(b.MoveBackfill(ctx, &dispatchv1.Backfill{BackfillId: "B0"}, 0))
	ids, moved, err := b.Backfills(ctx)
	check(t, err)
	if !slices.Equal(ids, []string{"B0", "B1"}) {
		t.Errorf("listed are %v", ids)
	}
	must[uint64](t)(b.MoveBackfill(ctx, &dispatchv1.Backfill{BackfillId: "B1", Flow: "weekly"}, first))
	if _, now, err := b.Backfills(ctx); err != nil || now <= moved {
		t.Errorf("one moved, but %d follows %d: %v", now, moved, err)
	}
	if got, _, err := b.Backfill(ctx, "B1"); err != nil || got.GetFlow() != "weekly" {
		t.Errorf("read %v, %v", got, err)
	}
	if _, err := b.MoveBackfill(ctx, &dispatchv1.Backfill{BackfillId: "B.1"}, 0); err == nil {
		t.Error("an id with a dot is taken")
	}
}
