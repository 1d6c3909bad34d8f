//go:build unix

package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	// takeover is how soon another control plane must decide after the one that did was killed.
	takeover = 5 * time.Second
	// takeovers is how often it is killed: each time in the middle of a run.
	takeovers = 3
)

// Another control plane takes over soon: by the run's log, the time from the death of the one to the first decision of the next.
func TestTakeover(t *testing.T) {
	s := open(t, newTally(), 0, nil)
	for _, m := range s.members() {
		s.await("up/"+m.name, patience)
	}
	for n := range takeovers {
		historyOf(0)[n].drop(t, s.landing, n)
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		name := s.submit(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", RequestId: uuid.NewString()})
		entries, err := s.bus.WatchRun(ctx, s.runs[n], 0)
		if err != nil {
			t.Fatal(err)
		}
		var killed, led time.Time
		var back <-chan struct{} // closed when the killed one stands by
		var after *dispatchv1.RunEvent
		for entry := range entries {
			for _, event := range entry.Events.GetEvents() {
				switch {
				case killed.IsZero() && event.GetStagePlanned() != nil:
					leader, _ := s.roles()
					next := s.next("lead")
					back = s.next("up/" + leader.name)
					killed = time.Now()
					leader.kill()
					select {
					case <-next:
						led = time.Now()
					case <-ctx.Done():
						t.Fatal("nobody takes over")
					}
				case !killed.IsZero() && after == nil && event.GetTime().AsTime().After(led):
					after = event
				}
			}
			if after != nil {
				break
			}
		}
		if after == nil {
			t.Fatalf("%s: nothing was decided after the coordinator was killed", name)
		}
		took := after.GetTime().AsTime().Sub(killed)
		t.Logf("killed in the middle of %s: the other control plane coordinates after %v, and decides after %v", name, led.Sub(killed).Round(time.Millisecond), took.Round(time.Millisecond))
		if took > takeover {
			t.Errorf("the first decision came after %v, want at most %v", took, takeover)
		}
		if run := s.awaitEnd(ctx, name); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
			t.Errorf("%s ended as %v: %v", name, run.GetState(), run.GetError())
		}
		<-back
		cancel()
	}
}
