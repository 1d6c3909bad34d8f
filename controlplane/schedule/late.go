package schedule

import (
	"fmt"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// Expectation is the file that a scheduled run waits for.
type Expectation struct {
	Source string
	// Since is the time of the schedule before, or when the file of that time landed if that was later: a newer file is the one.
	Since time.Time
	// Until is how long the run waits; then it begins without.
	Until time.Time
}

// Expected is the file that an occurrence waits for; false where it waits for none. A run waits no longer than until the next
// time of the schedule: each period has its own file.
func Expected(f *pipeline.Flow, st State, o Occurrence) (Expectation, bool, error) {
	if f.Late == nil || f.Schedule == nil || !o.Scheduled {
		return Expectation{}, false, nil
	}
	times, err := NewTimes(f.Schedule)
	if err != nil {
		return Expectation{}, false, err
	}
	e := Expectation{Source: f.Late.Source, Until: o.Nominal.Add(f.Late.After)}
	times.from = time.Time{} // the first period begins before the first day
	e.Since = latest(times.Last(o.Nominal.AddDate(-9, 0, 0), o.Nominal.Add(-time.Nanosecond)), st.Landed)
	if next := times.Next(o.Nominal); !next.IsZero() && next.Before(e.Until) {
		e.Until = next
	}
	return e, true, nil
}

// Ready says whether an occurrence may begin, and what a person should know about that. landed is when the newest file of the
// expected source landed, zero where there is none.
func (e Expectation) Ready(o Occurrence, landed, now time.Time) (note string, ok bool) {
	switch {
	case landed.After(e.Since):
		if landed.After(o.Nominal) {
			note = fmt.Sprintf("late: the file of %s landed at %s, after %s, when this run was due", e.Source, clockOf(landed), clockOf(o.Nominal))
		}
		return note, true
	case !now.Before(e.Until):
		return fmt.Sprintf("late: no file of %s has landed since %s, so this run, due at %s, began without: drop the file, and the next run will read it",
			e.Source, clockOf(e.Since), clockOf(o.Nominal)), true
	}
	return "", false
}

// waiting says that the run of an occurrence waits.
func (e Expectation) waiting(o Occurrence) string {
	return fmt.Sprintf("no file of %s has landed since %s: the run of %s waits for one until %s, then it begins without",
		e.Source, clockOf(e.Since), clockOf(o.Nominal), clockOf(e.Until))
}

func clockOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Lateness says what the run of a flow that is due waits for; empty where none does.
func Lateness(p *pipeline.Pipeline, f *pipeline.Flow, st State, landing string, settle time.Duration, now time.Time) (string, error) {
	for _, o := range st.Waiting {
		e, waits, err := Expected(f, st, o)
		if err != nil || !waits {
			return "", err
		}
		found, err := list(landing, p.Source(e.Source), settle, now)
		if err != nil {
			return "", err
		}
		if _, ready := e.Ready(o, found.newest, now); !ready {
			return e.waiting(o), nil
		}
	}
	return "", nil
}
