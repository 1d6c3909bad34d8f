package bus

import (
	"testing"
	"time"
)

func TestEpochsAreRaised(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	raise := func(seen uint64, want bool) {
		t.Helper()
		if raised := must[bool](t)(b.RaiseEpochs(ctx, seen)); raised != want {
			t.Errorf("the epochs were raised above %d: %v, want %v", seen, raised, want)
		}
	}
	raise(0, false)
	first := must[*Lease](t)(b.Campaign(ctx, "a", 2*time.Second))
	raise(first.Epoch(), false)
	raise(1000, true)
	raise(1000, false)
	check(t, first.Resign(ctx))
	second := must[*Lease](t)(b.Campaign(ctx, "a", 2*time.Second))
	if second.Epoch() <= 1000 {
		t.Errorf("the epoch is %d after it was raised above 1000", second.Epoch())
	}
	raise(second.Epoch(), false)
	raise(second.Epoch()+1000, true)
	check(t, second.Resign(ctx))
}
