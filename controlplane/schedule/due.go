package schedule

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/shoplake/shoplake/internal/pipeline"
)

const (
	// punctual is how old a time may be and count as not missed: a takeover by another control plane takes seconds.
	punctual = time.Minute
	// maxWaiting bounds the occurrences of a flow that wait. Beyond it times count as missed, until there is room again.
	maxWaiting = 1000
)

// State is what must last of when a flow runs.
type State struct {
	// Schedule is the one that Through was reached with; its cron expression is empty where there was none.
	Schedule pipeline.Schedule
	// Through is the moment up to which it is decided which times become runs.
	Through time.Time
	Paused  bool
	// Waiting are occurrences that will be runs when it is their turn, the oldest first.
	Waiting []Occurrence
	// Submitting are occurrences that are being submitted: whoever finds them here submits them again, under the same request id.
	Submitting []Occurrence
	// Files is the digest of the landing files that were there when the flow was last started by files; empty where it never was.
	Files string
	// After holds, for each flow that this one runs after, its last success that was noticed.
	After map[string]string
	// Landed is when the newest file landed that a run was to wait for and found: the next run waits for a newer one.
	Landed time.Time
}

// Occurrence is one reason to run a flow.
type Occurrence struct {
	// Key tells the occurrences of a flow apart.
	Key string
	// Nominal is the time of the schedule, or when the event was noticed.
	Nominal time.Time
	// Scheduled says that it is a time of the schedule, and no event.
	Scheduled bool
	// Note is what a person should know of the run; empty where nothing.
	Note string
}

// requestSpace is the UUID that the request ids of occurrences are derived from.
var requestSpace = uuid.MustParse("4b1d54c6-3f1c-5c0e-9b0e-8a6f6c7a5d21")

// RequestID is the request id of an occurrence's run: the same one for the same occurrence, whoever submits it.
func RequestID(flow string, o Occurrence) string {
	return uuid.NewSHA1(requestSpace, []byte(flow+"\n"+o.Key)).String()
}

// at is the occurrence of a time of the schedule.
func at(nominal time.Time) Occurrence {
	nominal = nominal.UTC()
	return Occurrence{Key: "schedule/" + nominal.Format(time.RFC3339), Nominal: nominal, Scheduled: true}
}

// Due gives the times of a schedule (nil: there is none) that have come, less those that are not made up for, and the state
// behind them.
//
// A schedule that is seen for the first time, or with other times than before, begins now; what the former one missed is made
// up for first. While the flow is paused no time is decided, so that what was missed then is treated like what was missed
// while nothing ran. Where the clock goes back, nothing is due until it has passed where it was.
func Due(s *pipeline.Schedule, st State, now time.Time) ([]Occurrence, State, error) {
	if s == nil {
		if st.Schedule.Cron != "" {
			st.Schedule, st.Through = pipeline.Schedule{}, time.Time{}
			st.Waiting = slices.DeleteFunc(slices.Clone(st.Waiting), func(o Occurrence) bool { return o.Scheduled })
		}
		return nil, st, nil
	}
	former := st.Schedule
	st.Schedule = *s
	if !sameTimes(former, *s) {
		missed, _, err := missedOf(former, s.CatchUp, st, now)
		if err != nil {
			missed = nil // the former schedule can't be read by this version: its times are unknown
		}
		st.Through = latest(st.Through, now)
		return missed, st, nil
	}
	if st.Paused {
		return nil, st, nil
	}
	missed, through, err := missedOf(*s, s.CatchUp, st, now)
	st.Through = latest(st.Through, through)
	return missed, st, err
}

func sameTimes(a, b pipeline.Schedule) bool {
	return a.Cron == b.Cron && a.TimeZone == b.TimeZone && a.StartDate == b.StartDate && a.EndDate == b.EndDate
}

// missedOf are the times of a schedule since the state's moment that are made up for, and the moment up to which that is decided.
func missedOf(s pipeline.Schedule, catchUp pipeline.CatchUp, st State, now time.Time) (missed []Occurrence, through time.Time, err error) {
	if s.Cron == "" {
		return nil, now, nil
	}
	times, err := NewTimes(&s)
	if err != nil {
		return nil, st.Through, err
	}
	room := maxWaiting - len(st.Waiting)
	if room <= 0 {
		return nil, st.Through, nil
	}
	switch catchUp {
	case pipeline.CatchUpAll:
		for next := times.Next(st.Through); !next.IsZero() && !next.After(now); next = times.Next(next) {
			if len(missed) == room {
				return missed, missed[room-1].Nominal, nil
			}
			missed = append(missed, at(next))
		}
	case pipeline.CatchUpNone:
		if last := times.Last(latest(st.Through, now.Add(-punctual)), now); !last.IsZero() {
			missed = append(missed, at(last))
		}
	default:
		if last := times.Last(st.Through, now); !last.IsZero() {
			missed = append(missed, at(last))
		}
	}
	return missed, now, nil
}

// Upcoming is the next time of a schedule that is not decided yet; zero where there is none, or the flow is paused.
func Upcoming(s *pipeline.Schedule, st State, now time.Time) (time.Time, error) {
	if s == nil || st.Paused {
		return time.Time{}, nil
	}
	times, err := NewTimes(s)
	if err != nil {
		return time.Time{}, err
	}
	after := now
	if sameTimes(st.Schedule, *s) {
		after = latest(st.Through, now)
	}
	return times.Next(after), nil
}

// Pause keeps a flow from being started by its schedule, by files and by other flows.
func Pause(st State) State {
	st.Paused = true
	return st
}

// Resume ends a pause. Where the clock was ahead once, its schedule goes on from now: this is the way out after a wrong date.
func Resume(st State, now time.Time) State {
	st.Paused = false
	if st.Through.After(now) {
		st.Through = now
	}
	return st
}

// Retire is the state of a flow that the pipeline no longer has: should it come back, it begins anew.
func Retire(st State) State { return State{Paused: st.Paused, Submitting: st.Submitting} }
