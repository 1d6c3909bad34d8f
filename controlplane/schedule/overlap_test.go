package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
)

func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy            pipeline.Overlap
		concurrency, open int
		want              Decision
	}{
		{pipeline.OverlapQueue, 1, 0, Submit},
		{pipeline.OverlapQueue, 1, 1, Queue},
		{pipeline.OverlapQueue, 2, 1, Submit},
		{pipeline.OverlapSkip, 1, 0, Submit},
		{pipeline.OverlapSkip, 1, 1, Skip},
		{pipeline.OverlapSkip, 3, 3, Skip},
		{pipeline.OverlapCancelRunning, 1, 0, Submit},
		{pipeline.OverlapCancelRunning, 1, 1, CancelRunning},
		{pipeline.OverlapCancelRunning, 2, 1, Submit},
		{pipeline.OverlapCancelRunning, 2, 5, CancelRunning},
	} {
		if got := Overlap(c.policy, c.concurrency, c.open); got != c.want {
			t.Errorf("%s with %d of %d open: %v, want %v", c.policy, c.open, c.concurrency, got, c.want)
		}
	}
}

func always(Occurrence) (string, bool) { return "", true }

func flowWith(policy pipeline.Overlap, concurrency int) *pipeline.Flow {
	return &pipeline.Flow{Name: "f", Schedule: &pipeline.Schedule{
		Cron: "*/10 * * * *", TimeZone: "UTC", CatchUp: pipeline.CatchUpAll, Concurrency: concurrency, OnOverlap: policy,
	}}
}

func TestCancelRunning(t *testing.T) {
	t.Parallel()
	st := State{Waiting: []Occurrence{at(monday), {Key: "files/1"}, at(monday.Add(time.Hour))}}
	open := []OpenRun{{ID: "1"}, {ID: "2", Cancelling: true}, {ID: "3"}}
	turn, next := Decide(flowWith(pipeline.OverlapCancelRunning, 2), st, open, always)
	// One of three is ending; with two at once and one to come, one more has to go: the oldest.
	if diff := cmp.Diff([]string{"1"}, turn.Cancel); diff != "" {
		t.Errorf("cancelled (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Occurrence{{Key: "files/1"}, at(monday.Add(time.Hour))}, next.Waiting); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Occurrence{at(monday)}, turn.Skipped); diff != "" {
		t.Errorf("gave way (-want +got):\n%s", diff)
	}
	if len(st.Waiting) != 3 || len(next.Submitting) != 0 {
		t.Errorf("before %v, submitting %v", st.Waiting, next.Submitting)
	}
}

func TestEventsWait(t *testing.T) {
	t.Parallel()
	for _, policy := range []pipeline.Overlap{pipeline.OverlapQueue, pipeline.OverlapSkip, pipeline.OverlapCancelRunning} {
		st := Add(Add(State{}, Occurrence{Key: "files/1"}), Occurrence{Key: "after/2"})
		turn, next := Decide(flowWith(policy, 1), st, []OpenRun{{ID: "1"}}, always)
		if len(turn.Cancel) != 0 || len(turn.Skipped) != 0 || len(next.Submitting) != 0 || !cmp.Equal(next.Waiting, []Occurrence{{Key: "files/1"}}) {
			t.Errorf("%s: %+v, %+v", policy, turn, next)
		}
		if _, next = Decide(flowWith(policy, 1), next, nil, always); len(next.Submitting) != 1 || len(next.Waiting) != 0 {
			t.Errorf("%s: with nothing open %+v", policy, next)
		}
		if _, next = Decide(flowWith(policy, 1), Pause(st), nil, always); len(next.Submitting) != 0 || len(next.Waiting) != 1 {
			t.Errorf("%s: while paused %+v", policy, next)
		}
	}
}

// office is a control plane in a test: it may be killed between any two steps, and remembers what it stored.
type office struct {
	t      *testing.T
	random *rand.Rand
	flow   *pipeline.Flow
	stored State
	now    time.Time
	// runs holds each run by request id, with when it will have ended; the order is theirs.
	runs      map[string]time.Time
	order     []string
	cancelled map[string]bool
	skipped   map[string]bool
}

func (o *office) open() []OpenRun {
	var open []OpenRun
	for _, id := range o.order {
		if o.runs[id].After(o.now) {
			open = append(open, OpenRun{ID: id, Cancelling: o.cancelled[id]})
		}
	}
	return open
}

// killed says that the process dies here.
func (o *office) killed() bool { return o.random.IntN(12) == 0 }

// tick is what the scheduler does: remember what is to be submitted, submit it, forget it.
func (o *office) tick() {
	if len(o.stored.Submitting) == 0 {
		turn, next, err := Advance(o.flow, o.stored, o.now, o.open(), always)
		if err != nil {
			o.t.Fatal(err)
		}
		if o.killed() {
			return
		}
		o.stored = next
		for _, s := range turn.Skipped {
			o.skipped[s.Key] = true
		}
		for _, id := range turn.Cancel {
			o.cancelled[id] = true
			o.runs[id] = o.now.Add(time.Minute)
		}
	}
	for _, s := range o.stored.Submitting {
		if o.killed() {
			return
		}
		id := RequestID(o.flow.Name, s)
		if _, again := o.runs[id]; !again {
			if n := len(o.open()); n >= o.flow.Schedule.Concurrency {
				o.t.Errorf("%s was submitted while %d runs were open", s.Key, n)
			}
			o.order = append(o.order, id)
			o.runs[id] = o.now.Add(time.Duration(5+o.random.IntN(60)) * time.Minute)
		}
	}
	if !o.killed() {
		o.stored.Submitting = nil
	}
}

// A control plane that is killed between any two steps submits every occurrence once, in order, and never more at once than may be.
func TestOverlapWithCrashes(t *testing.T) {
	t.Parallel()
	for _, policy := range []pipeline.Overlap{pipeline.OverlapQueue, pipeline.OverlapSkip, pipeline.OverlapCancelRunning} {
		for seed := range uint64(8) {
			o := &office{
				t: t, random: rand.New(rand.NewPCG(seed, 1)), flow: flowWith(policy, 1+int(seed%3)), now: monday,
				runs: map[string]time.Time{}, cancelled: map[string]bool{}, skipped: map[string]bool{},
			}
			end := monday.Add(24 * time.Hour)
			for o.tick(); o.now.Before(end); o.tick() {
				o.now = o.now.Add(time.Duration(o.random.IntN(8)) * time.Minute)
			}
			last := o.now
			for range 10_000 { // until everything that waits had its turn
				if o.tick(); len(o.stored.Waiting)+len(o.stored.Submitting) == 0 {
					break
				}
				o.now = last // no new time comes
				for id := range o.runs {
					o.runs[id] = monday
				}
			}
			what := fmt.Sprintf("seed %d, %s, %d at once", seed, policy, o.flow.Schedule.Concurrency)
			var submitted []string
			due := 0
			for nominal := monday; !nominal.After(last); nominal = nominal.Add(10 * time.Minute) {
				occurrence := at(nominal)
				id := RequestID("f", occurrence)
				_, ran := o.runs[id]
				switch {
				case ran && o.skipped[occurrence.Key]:
					t.Errorf("%s: %s ran, and was skipped", what, occurrence.Key)
				case ran:
					submitted = append(submitted, id)
				}
				if ran || o.skipped[occurrence.Key] {
					due++
				} else if policy == pipeline.OverlapQueue && due > 0 {
					t.Errorf("%s: %s never ran", what, occurrence.Key)
				}
			}
			if !slices.Equal(submitted, o.order) {
				t.Errorf("%s: %d runs, not in the order of their times", what, len(o.order))
			}
			if due < 140 { // of 144; before the first state was stored there was no schedule yet
				t.Errorf("%s: %d times were dealt with", what, due)
			}
			if policy == pipeline.OverlapQueue && len(o.skipped)+len(o.cancelled) > 0 || policy == pipeline.OverlapSkip && (len(o.skipped) == 0 || len(o.cancelled) > 0) ||
				policy == pipeline.OverlapCancelRunning && len(o.cancelled) == 0 {
				t.Errorf("%s: %d were skipped, %d cancelled", what, len(o.skipped), len(o.cancelled))
			}
		}
	}
}

func TestLate(t *testing.T) {
	t.Parallel()
	f := &pipeline.Flow{
		Schedule: &pipeline.Schedule{Cron: "30 5 * * 1", TimeZone: "UTC", StartDate: "2021-03-01"},
		Late:     &pipeline.Late{Source: "inventory", After: 12 * time.Hour},
	}
	o := at(monday.Add(5*time.Hour + 30*time.Minute))
	e, ok, err := Expected(f, State{}, o)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	want := Expectation{Source: "inventory", Since: o.Nominal.AddDate(0, 0, -7), Until: o.Nominal.Add(12 * time.Hour)}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("expected (-want +got):\n%s", diff)
	}
	f.Late.After = 20 * 24 * time.Hour
	if e, _, _ := Expected(f, State{}, o); !e.Until.Equal(o.Nominal.AddDate(0, 0, 7)) {
		t.Errorf("a run waits until %v, longer than the next one's time", e.Until)
	}
	if e, _, _ := Expected(f, State{Landed: monday}, o); !e.Since.Equal(monday) {
		t.Errorf("a file of %v counts, that of %v did already", e.Since, monday)
	}
	if _, ok, _ := Expected(f, State{}, Occurrence{Key: "files/1"}); ok {
		t.Error("an event waits for a file")
	}
	hour := func(n int) time.Time { return o.Nominal.Add(time.Duration(n) * time.Hour) }
	for i, c := range []struct {
		landed, now time.Time
		ready, late bool
	}{
		{hour(-10), hour(0), true, false},
		{hour(-7 * 24), hour(0), false, false}, // the last week's
		{time.Time{}, hour(11), false, false},
		{hour(3), hour(4), true, true},
		{time.Time{}, hour(12), true, true},
		{hour(-8 * 24), hour(100), true, true},
	} {
		note, ready := e.Ready(o, c.landed, c.now)
		if ready != c.ready || (note != "") != c.late {
			t.Errorf("case %d: ready %t, %q", i, ready, note)
		}
	}
}
