// Package schedule says when flows run: at the times of a cron expression in a time zone, when files arrive, and after other
// flows. What is due is decided by pure functions (times.go, due.go, overlap.go); the scheduler, which the leader runs, keeps
// their state in JetStream and submits the runs.
package schedule

import (
	"fmt"
	"sync"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// Times are the moments that a flow is scheduled for: a cron expression in a time zone, from one local day to before another.
//
// A local time that does not exist, since the clock was put forward over it, is the moment at which the clock was put forward;
// several of them are one moment. A local time that comes twice, since the clock was put back, is the first of the two, except
// where the expression names every hour: then both.
type Times struct {
	cron *pipeline.Cron
	zone *time.Location
	// from and to are local times, written as times in UTC; zero where unbounded.
	from, to time.Time
}

// NewTimes reads when a flow is scheduled for.
func NewTimes(s *pipeline.Schedule) (*Times, error) {
	cron, err := pipeline.ParseCron(s.Cron)
	if err != nil {
		return nil, fmt.Errorf("read the schedule %q: %w", s.Cron, err)
	}
	zone, err := zoneOf(s.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("read the time zone of the schedule %q: %w", s.Cron, err)
	}
	t := &Times{cron: cron, zone: zone}
	for _, bound := range []struct {
		day string
		at  *time.Time
	}{{s.StartDate, &t.from}, {s.EndDate, &t.to}} {
		if bound.day == "" {
			continue
		}
		if *bound.at, err = time.Parse(time.DateOnly, bound.day); err != nil {
			return nil, fmt.Errorf("read the dates of the schedule %q: %w", s.Cron, err)
		}
	}
	return t, nil
}

// loaded are the time zones that were read from the system's files; there are some hundred.
var loaded sync.Map

func zoneOf(name string) (*time.Location, error) {
	if zone, ok := loaded.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err == nil {
		loaded.Store(name, zone)
	}
	return zone, err
}

// Next is the first moment behind another; zero where there is none.
func (t *Times) Next(after time.Time) time.Time {
	// Two days before the first, no shift of the clock hides its first local time.
	after = latest(after, t.from.Add(-48*time.Hour))
	for {
		at, named := t.next(after)
		switch {
		case at.IsZero(), !t.to.IsZero() && !named.Before(t.to):
			return time.Time{}
		case !named.Before(t.from):
			return at
		}
		after = at
	}
}

// next is Next without regard to the dates; it gives also the local time that the expression names.
func (t *Times) next(after time.Time) (at, named time.Time) {
	for p := t.period(after); ; {
		named = t.cron.Next(p.local(after))
		if named.IsZero() {
			return time.Time{}, time.Time{}
		}
		if at = p.moment(named); p.holds(at) {
			if t.cron.EveryHour() || !t.cameBefore(p, at) {
				return at, named
			}
			after = at
			continue
		}
		// The next local time lies behind a shift of the clock, or is one that the shift passes over.
		following := t.period(p.end)
		if named.Before(following.local(p.end)) {
			return p.end, named
		}
		p, after = following, p.end.Add(-time.Nanosecond) // the moment of the shift itself included
	}
}

// Last is the last moment behind one and not behind another; zero where there is none.
func (t *Times) Last(after, until time.Time) time.Time {
	const day = 24 * time.Hour
	for _, reach := range []time.Duration{time.Hour, day, 32 * day, 367 * day, until.Sub(after)} {
		var last time.Time
		for at := t.Next(latest(after, until.Add(-reach))); !at.IsZero() && !at.After(until); at = t.Next(at) {
			last = at
		}
		if !last.IsZero() {
			return last
		}
	}
	return time.Time{}
}

// period is the time between two shifts of the clock: local times are as far apart as moments are.
type period struct {
	// start is zero where there was no shift before, end where there comes none.
	start, end time.Time
	offset     time.Duration
}

func (t *Times) period(at time.Time) period {
	at = at.In(t.zone)
	start, end := at.ZoneBounds()
	_, offset := at.Zone()
	return period{start: start, end: end, offset: time.Duration(offset) * time.Second}
}

// local is what the clock shows at a moment, written as a time in UTC.
func (p period) local(at time.Time) time.Time { return at.UTC().Add(p.offset) }

// moment is when the clock shows a local time.
func (p period) moment(local time.Time) time.Time { return local.Add(-p.offset) }

// holds says whether a moment is before the end of the period.
func (p period) holds(at time.Time) bool { return p.end.IsZero() || at.Before(p.end) }

// cameBefore says whether the clock showed the same local time before the shift that began the period.
func (t *Times) cameBefore(p period, at time.Time) bool {
	if p.start.IsZero() {
		return false
	}
	before := t.period(p.start.Add(-time.Nanosecond))
	return before.moment(p.local(at)).Before(p.start)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
