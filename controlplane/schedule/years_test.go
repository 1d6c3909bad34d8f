package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// Three years with a leap day in four time zones, by the scheduler itself: its clock runs, jumps ahead and back, it is down for days,
// and others take over. Each time that a clock on the wall calls for becomes one run, in the order of the times, and nothing else does.
func TestThreeYearsOfRuns(t *testing.T) {
	t.Parallel()
	from, to := time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(2029, 12, 31, 23, 59, 0, 0, time.UTC)
	var flows []*pipeline.Flow
	want, got := map[string][]time.Time{}, map[string][]time.Time{}
	for i, zone := range zones[:4] {
		name := string(rune('a' + i))
		flows = append(flows, flow(name, func(f *pipeline.Flow) {
			f.Schedule = &pipeline.Schedule{Cron: shifty, TimeZone: zone, CatchUp: pipeline.CatchUpAll, Concurrency: 1, OnOverlap: pipeline.OverlapQueue}
		}))
		want[name] = newClock(t, zone, from, to).walk(shifty)
	}
	b := setup(t, flows...)
	// tick lets every flow run what is due, one run after the other.
	tick := func() (next time.Time) {
		for more := true; more; {
			var err error
			if next, err = b.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			more = false
			for _, open := range b.book.open {
				for _, r := range slices.Clone(open) {
					err := b.Runs.View(t.Context(), r.ID, func(s *runs.State) error {
						got[s.Submitted.GetFlow()] = append(got[s.Submitted.GetFlow()], s.Submitted.GetNominalTime().AsTime())
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					b.finish(r.ID, good)
					if _, err := b.book.look(t.Context(), r.ID); err != nil {
						t.Fatal(err)
					}
					more = true
				}
			}
		}
		return next
	}
	random := rand.New(rand.NewPCG(3, 0))
	b.now = from
	for next := tick(); b.now.Before(to); next = tick() {
		switch n := random.IntN(100); {
		case n < 60:
			b.now = next
		case n < 85:
			b.now = b.now.Add(time.Duration(random.Int64N(int64(12 * time.Hour))))
		case n < 92:
			b.now = b.now.Add(time.Duration(random.Int64N(int64(20 * 24 * time.Hour))))
		default:
			b.now = b.now.Add(-time.Duration(random.Int64N(int64(10 * 24 * time.Hour))))
		}
		if b.now.After(to) {
			b.now = to
		}
		if random.IntN(150) == 0 {
			b.Scheduler = b.another()
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-wall +scheduler):\n%s", diff)
	}
	sum := 0
	for _, times := range want {
		sum += len(times)
	}
	if n := len(b.all()); n != sum || sum < 300 {
		t.Errorf("%d runs were submitted, want %d", n, sum)
	}
}
