package schedule

import (
	"strings"
	"testing"

	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// Runs of a backfill neither keep a flow from running nor start others after it.
func TestBackfillsStandInNobodysWay(t *testing.T) {
	t.Parallel()
	b := &book{open: map[string][]OpenRun{}, good: map[string]string{}}
	for id, submitted := range map[string]*dispatchv1.RunSubmitted{"01": {Flow: "daily", Backfill: "B"}, "02": {Flow: "daily"}} {
		s := runs.NewState(id)
		for _, e := range []*dispatchv1.RunEvent{
			{Kind: &dispatchv1.RunEvent_Submitted{Submitted: submitted}},
			{Kind: &dispatchv1.RunEvent_Finished{Finished: &dispatchv1.RunFinished{State: "RUN_STATE_SUCCEEDED"}}},
		} {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
			if news, want := b.note(s), id == "02"; news != want {
				t.Errorf("run %s after %v is news: %t, want %t", id, e, news, want)
			}
			if id == "01" && (len(b.open["daily"]) > 0 || strings.HasSuffix(b.good["daily"], "/01")) {
				t.Errorf("the backfill's run is taken for one of the flow: %v, %v", b.open, b.good)
			}
		}
	}
}
