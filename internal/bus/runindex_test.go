package bus

import (
	"slices"
	"testing"
)

func TestRunIndex(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	for _, id := range []string{"RUN1", "RUN2", "RUN3"} {
		must[uint64](t)(b.AppendRun(ctx, id, 0, submitted("daily")))
	}
	check(t, b.MarkEnded(ctx, "RUN1", 1))
	check(t, b.MarkEnded(ctx, "RUN1", 1))
	check(t, b.MarkArchived(ctx, "RUN1", 1))
	check(t, b.MarkEnded(ctx, "RUN2", 2)) // its log has one message only: it lost its end
	index := must[*RunIndex](t)(b.RunIndex(ctx))
	if open := index.Open(); !slices.Equal(open, []string{"RUN2", "RUN3"}) {
		t.Errorf("open are %v", open)
	}
	if !index.IsArchived("RUN1") || len(index.Archived) != 1 || index.Ended["RUN2"] != 2 {
		t.Errorf("the index is %+v", index)
	}
	must[uint64](t)(b.AppendRun(ctx, "RUN1", 1, submitted("daily"))) // it was opened again
	index = must[*RunIndex](t)(b.RunIndex(ctx))
	if index.HasEnded("RUN1") || index.IsArchived("RUN1") {
		t.Error("a run that was opened again counts as ended")
	}
	check(t, b.MarkEnded(ctx, "RUN1", 2))
	index = must[*RunIndex](t)(b.RunIndex(ctx))
	if !index.HasEnded("RUN1") || index.IsArchived("RUN1") {
		t.Error("the second end of a run does not count, or counts as archived")
	}
	check(t, b.UnmarkEnded(ctx, "RUN2"))
	check(t, b.PutCheckpoint(ctx, "RUN1", []byte("state")))
	for range 2 {
		check(t, b.ForgetRun(ctx, "RUN1"))
	}
	_, err := b.Checkpoint(ctx, "RUN1")
	wantError(t, err, ErrNotFound)
	index = must[*RunIndex](t)(b.RunIndex(ctx))
	if len(index.Logs) != 2 || len(index.Ended) != 0 || len(index.Archived) != 0 {
		t.Errorf("the index is %+v", index)
	}
	_, err = b.ReadRun(ctx, "RUN1", 1)
	wantError(t, err, ErrShort)
	_, err = b.ReadRun(ctx, "RUN3", 9)
	wantError(t, err, ErrShort)
	if err := b.ForgetRun(ctx, "*"); err == nil {
		t.Error("every run was forgotten at once")
	}
}
