// Package alert tells people when a flow's runs fail, recover or are late: once for each time that this changes, through
// channels that the operator configures.
package alert

import (
	"fmt"
	"strings"
	"time"
)

// Kind is why people are told.
type Kind string

// The kinds.
const (
	// Failed: a run ended in failure.
	Failed Kind = "failed"
	// Recovered: a run succeeded after one that had failed.
	Recovered Kind = "recovered"
	// Late: a run, or what it waits for, is not there by the time that the flow says.
	Late Kind = "late"
)

// Ended is a run that ended.
type Ended struct {
	RunID, Flow string
	// Backfill is the one that the run is of; empty where it is of none.
	Backfill string
	// Digest is the run's pipeline.
	Digest string
	// Outcome says how: failed, succeeded or, for one that a person cancelled, neither.
	Failed, Succeeded bool
	// Stage is the first that failed, Class and Message are its error.
	Stage, Class, Message string
	At                    time.Time
	// Channels are those that the flow names; all that are configured where empty.
	Channels []string
}

// Notice is what people are told.
type Notice struct {
	Kind     Kind
	Flow     string
	RunID    string
	Title    string
	Text     string
	Channels []string
}

// Memory is what was told before, by flow, and of each flow's backfills: it keeps a notice from being sent twice.
type Memory struct {
	Flows map[string]Told `json:"flows"`
	// Since is when people were first to be told anything: they do not hear of what ended before.
	Since time.Time `json:"since,omitzero"`
}

// Told is what was told of a flow.
type Told struct {
	// RunID is the latest run that was looked at, and At when it ended: runs are told of in the order of their ends, one that was
	// resumed once for each.
	RunID string    `json:"run_id"`
	At    time.Time `json:"at,omitzero"`
	// Failed says that people know of a failure that no success has followed.
	Failed bool `json:"failed"`
	// LateFor is the latest nominal time that people were told is late.
	LateFor time.Time `json:"late_for,omitzero"`
}

// OnEnded says what people are to be told of a run that ended, nil where nothing, and what to remember. It is pure. A run that
// was looked at before changes nothing; each failure is told, a success only after a failure. Of a backfill failures alone are told:
// its runs say nothing about how the flow's own ones do.
func OnEnded(m Memory, e Ended, link string) (*Notice, Memory) {
	about := e.Flow
	if e.Backfill != "" {
		about += " backfill"
	}
	told := m.Flows[about]
	known := e.At.Before(told.At) || e.At.Equal(told.At) && e.RunID <= told.RunID
	if told.At.IsZero() { // an older program remembered ids alone
		known = e.RunID <= told.RunID
	}
	if known || e.At.Before(m.Since) {
		return nil, m
	}
	told.RunID, told.At = e.RunID, e.At
	var n *Notice
	switch {
	case e.Failed:
		told.Failed = e.Backfill == ""
		n = failure(e, link)
	case e.Succeeded:
		if told.Failed {
			n = &Notice{Kind: Recovered, Title: fmt.Sprintf("Shoplake: %s works again", e.Flow),
				Text: lines(fmt.Sprintf("Run %s of flow %s succeeded at %s, after one that had failed.", e.RunID, e.Flow, stamp(e.At)), link)}
		}
		told.Failed = false
	}
	if n != nil {
		n.Flow, n.RunID, n.Channels = e.Flow, e.RunID, e.Channels
	}
	return n, m.with(about, told)
}

func failure(e Ended, link string) *Notice {
	where, what := "", ""
	if e.Stage != "" {
		where = " at " + e.Stage
	}
	if e.Message != "" {
		what = shortened(e.Message)
		if e.Class != "" {
			what = e.Class + ": " + what
		}
	}
	whose, of, next := e.Flow, "flow "+e.Flow, ""
	if e.Backfill != "" {
		whose, of = "a backfill of "+e.Flow, "backfill "+e.Backfill+" of "+of
		next = "Should it have stopped, this lets it go on: shoplake backfill resume " + e.Backfill
	}
	return &Notice{Kind: Failed, Title: fmt.Sprintf("Shoplake: %s failed%s", whose, where),
		Text: lines(fmt.Sprintf("Run %s of %s failed%s at %s.", e.RunID, of, where, stamp(e.At)), what,
			"Readers still see what was published before.", next, link)}
}

// OnLate says what people are to be told of a flow that is late for a nominal time. It is pure; each nominal time is told once.
func OnLate(m Memory, flow string, nominal time.Time, why string, channels []string) (*Notice, Memory) {
	told := m.Flows[flow]
	if !nominal.After(told.LateFor) {
		return nil, m
	}
	told.LateFor = nominal
	return &Notice{Kind: Late, Flow: flow, Title: fmt.Sprintf("Shoplake: %s is late", flow),
		Text: lines(fmt.Sprintf("Flow %s of %s is late.", flow, stamp(nominal)), shortened(why)), Channels: channels}, m.with(flow, told)
}

// with is a copy of the memory with one flow's part changed.
func (m Memory) with(flow string, told Told) Memory {
	next := Memory{Flows: map[string]Told{}, Since: m.Since}
	for name, t := range m.Flows {
		next.Flows[name] = t
	}
	next.Flows[flow] = told
	return next
}

// maxText bounds an error's text in a message: some channels refuse more than a few thousand characters.
const maxText = 1500

func shortened(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + " ..."
	}
	return text
}

func lines(parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, "\n")
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 MST") }
