package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
)

var monday = time.Date(2021, 3, 1, 0, 0, 0, 0, time.UTC)

func daily(catchUp pipeline.CatchUp) *pipeline.Schedule {
	return &pipeline.Schedule{Cron: "0 4 * * *", TimeZone: "UTC", CatchUp: catchUp, Concurrency: 1, OnOverlap: pipeline.OverlapQueue}
}

// due asks and takes over the state.
func due(t *testing.T, s *pipeline.Schedule, st *State, now time.Time) []string {
	t.Helper()
	occurrences, next, err := Due(s, *st, now)
	if err != nil {
		t.Fatal(err)
	}
	*st = next
	var times []string
	for _, o := range occurrences {
		times = append(times, o.Nominal.Format("01-02 15:04"))
	}
	return times
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v is due, want %v", what, got, want)
	}
}

func TestDowntime(t *testing.T) {
	t.Parallel()
	for catchUp, want := range map[pipeline.CatchUp][]string{
		pipeline.CatchUpAll:    {"03-02 04:00", "03-03 04:00", "03-04 04:00"},
		pipeline.CatchUpLatest: {"03-04 04:00"},
		pipeline.CatchUpNone:   nil,
	} {
		var st State
		expect(t, "what was before the first sight", due(t, daily(catchUp), &st, monday.Add(5*time.Hour)))
		expect(t, string(catchUp)+" after three days", due(t, daily(catchUp), &st, monday.Add(3*24*time.Hour+6*time.Hour)), want...)
		expect(t, "the same moment again", due(t, daily(catchUp), &st, monday.Add(3*24*time.Hour+6*time.Hour)))
		expect(t, "on time", due(t, daily(catchUp), &st, monday.Add(4*24*time.Hour+4*time.Hour+2*time.Second)), "03-05 04:00")
	}
}

func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	var st State
	s := daily(pipeline.CatchUpAll)
	due(t, s, &st, monday)
	expect(t, "on time", due(t, s, &st, monday.Add(4*time.Hour)), "03-01 04:00")
	expect(t, "an hour back", due(t, s, &st, monday.Add(3*time.Hour)))
	expect(t, "again at that time", due(t, s, &st, monday.Add(4*time.Hour)))
	expect(t, "a year ahead", due(t, daily(pipeline.CatchUpLatest), &st, monday.AddDate(1, 0, 0).Add(5*time.Hour)), "03-01 04:00")
	expect(t, "back from there", due(t, s, &st, monday.Add(30*time.Hour)))
	if next, err := Upcoming(s, st, monday.Add(30*time.Hour)); err != nil || !next.Equal(monday.AddDate(1, 0, 1).Add(4*time.Hour)) {
		t.Errorf("next is %v (%v): it has to lie behind the furthest time that was seen", next, err)
	}
	st = Resume(Pause(st), monday.Add(30*time.Hour))
	expect(t, "after a person said that the clock is right now", due(t, s, &st, monday.Add(53*time.Hour)), "03-03 04:00")
}

func TestPause(t *testing.T) {
	t.Parallel()
	for catchUp, want := range map[pipeline.CatchUp][]string{
		pipeline.CatchUpAll:    {"03-02 04:00", "03-03 04:00"},
		pipeline.CatchUpLatest: {"03-03 04:00"},
		pipeline.CatchUpNone:   nil,
	} {
		var st State
		s := daily(catchUp)
		due(t, s, &st, monday.Add(5*time.Hour))
		st = Pause(st)
		expect(t, "while paused", due(t, s, &st, monday.Add(40*time.Hour)))
		if next, err := Upcoming(s, st, monday.Add(40*time.Hour)); err != nil || !next.IsZero() {
			t.Errorf("a paused flow is to run at %v (%v)", next, err)
		}
		st = Resume(st, monday.Add(60*time.Hour))
		expect(t, string(catchUp)+" after a pause", due(t, s, &st, monday.Add(60*time.Hour)), want...)
	}
}

func TestEdits(t *testing.T) {
	t.Parallel()
	var st State
	s := daily(pipeline.CatchUpAll)
	due(t, s, &st, monday.Add(5*time.Hour))

	earlier := *s
	earlier.Cron = "0 3 * * *"
	expect(t, "the former schedule's missed time, and none of the new one's before now", due(t, &earlier, &st, monday.Add(29*time.Hour)), "03-02 04:00")
	expect(t, "the new schedule", due(t, &earlier, &st, monday.Add(52*time.Hour)), "03-03 03:00")

	other := earlier
	other.CatchUp = pipeline.CatchUpLatest
	expect(t, "another catch-up is no other schedule", due(t, &other, &st, monday.Add(100*time.Hour)), "03-05 03:00")

	bounded := other
	bounded.EndDate = "2021-03-07"
	due(t, &bounded, &st, monday.Add(101*time.Hour))
	expect(t, "the last day", due(t, &bounded, &st, monday.Add(6*24*time.Hour)), "03-06 03:00")
	expect(t, "after the last day", due(t, &bounded, &st, monday.Add(20*24*time.Hour)))
	expect(t, "a later last day brings nothing back", due(t, &other, &st, monday.Add(20*24*time.Hour+time.Hour)))

	st.Waiting = []Occurrence{at(monday), {Key: "files/1"}}
	expect(t, "no schedule", due(t, nil, &st, monday.AddDate(0, 6, 0)))
	if len(st.Waiting) != 1 || st.Waiting[0].Key != "files/1" {
		t.Errorf("of what waits, %v stayed without a schedule", st.Waiting)
	}
	expect(t, "a schedule again", due(t, s, &st, monday.AddDate(1, 0, 0)))
}

// However many times were missed, what waits is bounded, and nothing of `all` is lost.
func TestManyMissed(t *testing.T) {
	t.Parallel()
	s := daily(pipeline.CatchUpAll)
	s.Cron = "*/5 * * * *"
	var st State
	due(t, s, &st, monday)
	now := monday.AddDate(0, 0, 10)
	taken := 0
	for range 100 {
		occurrences, next, err := Due(s, st, now)
		if err != nil {
			t.Fatal(err)
		}
		st = next
		st.Waiting = append(st.Waiting, occurrences...)
		if len(st.Waiting) > maxWaiting {
			t.Fatalf("%d wait", len(st.Waiting))
		}
		for _, o := range st.Waiting[:min(len(st.Waiting), 50)] {
			if want := monday.Add(time.Duration(taken+1) * 5 * time.Minute); !o.Nominal.Equal(want) {
				t.Fatalf("number %d is %v, want %v", taken, o.Nominal, want)
			}
			taken++
		}
		st.Waiting = st.Waiting[min(len(st.Waiting), 50):]
	}
	if taken != 10*24*12 {
		t.Errorf("%d were taken, want %d", taken, 10*24*12)
	}
}

// behind is the place of the first of the times that lies behind a moment.
func behind(times []time.Time, moment time.Time) int {
	i, _ := slices.BinarySearchFunc(times, moment.Add(time.Nanosecond), time.Time.Compare)
	return i
}

// walkThrough lets a clock run, stop, jump and pause at random for three years, and gives what was due, and what a plain account
// says should have been.
func walkThrough(t *testing.T, seed uint64, s *pipeline.Schedule, wall []time.Time, from, to time.Time) (got, want []string) {
	random := rand.New(rand.NewPCG(seed, 0))
	var st State
	now, seen := from, from
	due(t, s, &st, now)
	for now.Before(to) {
		switch n := random.IntN(100); {
		case n < 70:
			now = now.Add(time.Duration(random.Int64N(int64(6 * time.Hour))))
		case n < 80:
			now = now.Add(time.Duration(random.Int64N(int64(20 * 24 * time.Hour))))
		case n < 90:
			now = now.Add(-time.Duration(random.Int64N(int64(10 * 24 * time.Hour))))
		default: // to the very moment of a run, or seconds behind it
			if i := behind(wall, now); i < len(wall) {
				now = wall[i].Add(time.Duration(random.IntN(3)) * time.Second)
			}
		}
		paused := random.IntN(20) == 0
		if st.Paused = paused; !paused && now.After(seen) {
			missed := wall[behind(wall, seen):behind(wall, now)]
			if n := len(missed); s.CatchUp != pipeline.CatchUpAll && n > 0 {
				missed = missed[n-1:]
				if s.CatchUp == pipeline.CatchUpNone && now.Sub(missed[0]) >= punctual {
					missed = nil
				}
			}
			for _, at := range missed {
				want = append(want, at.Format("2006-01-02 15:04"))
			}
			seen = now
		}
		occurrences, next, err := Due(s, st, now)
		if err != nil {
			t.Fatal(err)
		}
		st = next
		for _, o := range occurrences {
			got = append(got, o.Nominal.Format("2006-01-02 15:04"))
		}
	}
	return got, want
}

func TestRandomClocks(t *testing.T) {
	t.Parallel()
	from, to := time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(2029, 12, 31, 23, 59, 0, 0, time.UTC)
	for _, zone := range zones {
		wall := newClock(t, zone, from, to.AddDate(0, 0, 30))
		for _, expression := range []string{"30 2 * * *", "@daily", "30 2 * * 0", "@hourly"} {
			times := wall.walk(expression)
			for _, catchUp := range []pipeline.CatchUp{pipeline.CatchUpAll, pipeline.CatchUpLatest, pipeline.CatchUpNone} {
				s := &pipeline.Schedule{Cron: expression, TimeZone: zone, CatchUp: catchUp}
				for seed := range uint64(2) {
					got, want := walkThrough(t, seed, s, times, from, to)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("seed %d, %s in %s, %s (-want +got):\n%s", seed, expression, zone, catchUp, diff)
					}
					if sorted := slices.Compact(slices.Sorted(slices.Values(got))); len(sorted) != len(got) || len(got) == 0 {
						t.Errorf("seed %d, %s in %s, %s: %d runs, %d of them different", seed, expression, zone, catchUp, len(got), len(sorted))
					}
				}
			}
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	day := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	a, b := RequestID("daily", at(day)), RequestID("daily", at(day.In(time.FixedZone("", 7200))))
	if a != b {
		t.Error("the same moment has two request ids")
	}
	if a == RequestID("weekly", at(day)) || a == RequestID("daily", at(day.Add(time.Minute))) {
		t.Error("two occurrences have one request id")
	}
	// It must not change from version to version: a newer one may find what an older one was about to submit.
	if a != "1b8b4984-dc90-5fb2-b11d-8d1d4e7a98e0" {
		t.Errorf("the request id is %s", a)
	}
}
