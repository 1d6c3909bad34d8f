package bus

import (
	"slices"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func TestFlowStates(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	state, revision, err := b.FlowState(ctx, "daily")
	check(t, err)
	if state.GetPaused() || revision != 0 {
		t.Errorf("at first the state is %v at %d", state, revision)
	}
	revision = must[uint64](t)(b.MoveFlowState(ctx, "daily", &dispatchv1.FlowState{Paused: true}, 0))
	for _, stale := range []uint64{0, revision + 1} {
		_, err = b.MoveFlowState(ctx, "daily", &dispatchv1.FlowState{}, stale)
		wantError(t, err, ErrConflict)
	}
	must[uint64](t)(b.MoveFlowState(ctx, "week_ly", &dispatchv1.FlowState{}, 0))
	state, got, err := b.FlowState(ctx, "daily")
	check(t, err)
	if !state.GetPaused() || got != revision {
		t.Errorf("the state is %v at %d, want revision %d", state, got, revision)
	}
	flows := must[[]string](t)(b.FlowsWithState(ctx))
	if slices.Sort(flows); !slices.Equal(flows, []string{"daily", "week_ly"}) {
		t.Errorf("states of %v", flows)
	}
	if _, err := b.MoveFlowState(ctx, "a.b", &dispatchv1.FlowState{}, 0); err == nil {
		t.Error("a flow's name reached another subject")
	}
}
