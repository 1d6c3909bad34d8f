package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// The kinds of changes.
const (
	runChanged     = "run"
	stageChanged   = "stage"
	attemptFailed  = "attempt"
	noticeGiven    = "notice"
	connectionLost = "connection_lost"
)

// change is one thing that changed in a run.
type change struct {
	kind     string
	sequence uint64
	run      *shoplakev1.Run
	all      []*shoplakev1.Stage
	stage    *shoplakev1.Stage   // of a stage or an attempt
	attempt  *shoplakev1.Attempt // that failed
	// moved says that a stage's state is another one, doneBefore is how many of its tasks were done before.
	moved      bool
	doneBefore int32
	notice     string
	lost       error
}

// changes tells what each update changed. The zero value has seen nothing.
type changes struct {
	run      shoplakev1.RunState
	stages   map[string]*shoplakev1.Stage
	attempts map[string]bool
	notices  int
	lost     bool
}

// next returns what changed, in the order in which it is best told.
func (c *changes) next(u client.Update) []change {
	var list []change
	add := func(e change) {
		e.sequence, e.run, e.all = u.Sequence, u.Run, u.Stages
		list = append(list, e)
	}
	if u.Lost != nil {
		if !c.lost {
			add(change{kind: connectionLost, lost: u.Lost})
		}
		c.lost = true
		return list
	}
	c.lost = false
	if c.stages == nil {
		c.stages, c.attempts = map[string]*shoplakev1.Stage{}, map[string]bool{}
	}
	moved := c.run != u.Run.GetState()
	c.run = u.Run.GetState()
	if moved && !client.Ended(c.run) {
		add(change{kind: runChanged})
	}
	for _, s := range u.Stages {
		before := c.stages[s.GetTable()]
		if before != nil && proto.Equal(before, s) {
			continue
		}
		c.stages[s.GetTable()] = s
		for _, a := range s.GetFailedAttempts() {
			key := fmt.Sprint(s.GetTable(), "/", a.GetTask(), "/", a.GetWorker(), "/", a.GetStartTime().AsTime().UnixNano())
			if !c.attempts[key] {
				c.attempts[key] = true
				add(change{kind: attemptFailed, stage: s, attempt: a})
			}
		}
		add(change{kind: stageChanged, stage: s, moved: before == nil || before.GetState() != s.GetState(), doneBefore: before.GetTasksDone()})
	}
	notices := u.Run.GetNotices()
	for _, n := range notices[min(c.notices, len(notices)):] {
		add(change{kind: noticeGiven, notice: n})
	}
	c.notices = len(notices)
	if moved && client.Ended(c.run) {
		add(change{kind: runChanged})
	}
	return list
}

// text is a change in a line for people.
func (e change) text() string {
	switch e.kind {
	case stageChanged:
		return strings.TrimSpace(e.stage.GetTable() + " " + stageState(e.stage.GetState()) + " " + stageFacts(e.stage))
	case attemptFailed:
		return e.stage.GetTable() + " " + attemptText(e.attempt)
	case noticeGiven:
		return "note: " + oneLine(e.notice)
	case connectionLost:
		return "connection lost, trying again: " + oneLine(e.lost.Error())
	default:
		return e.run.GetName() + " " + runState(e.run.GetState())
	}
}

// events writes each change as one JSON object in one line, until writing fails.
type events struct {
	w       io.Writer
	clock   func() time.Time
	changes changes
	err     error
}

func (v *events) update(u client.Update) {
	for _, e := range v.changes.next(u) {
		if v.err == nil {
			v.err = v.write(e)
		}
	}
}

func (*events) close(bool) {}

// write prints a change: what it is first, then what `runs get -o json` tells of the run, or of the stage or attempt.
func (v *events) write(e change) error {
	g := &grid{columns: columns("event", "time", "sequence", "run")}
	cells := []any{e.kind, v.clock(), int64(e.sequence), id(e.run.GetName())}
	switch e.kind {
	case runChanged:
		of := runGrid(e.run)
		g.columns, cells = append(g.columns, of.columns[1:]...), append(cells, of.rows[0][1:]...)
		if client.Ended(e.run.GetState()) {
			g.columns, cells = append(g.columns, column{name: "stages"}), append(cells, stageGrid(e.all))
		}
	case stageChanged:
		of := stageGrid([]*shoplakev1.Stage{e.stage})
		g.columns, cells = append(g.columns, of.columns...), append(cells, of.rows[0]...)
	case attemptFailed:
		of := attemptGrid(e.stage.GetTable(), e.attempt)
		g.columns, cells = append(g.columns, of.columns...), append(cells, of.rows[0]...)
	case noticeGiven:
		g.columns, cells = append(g.columns, column{name: "notice"}), append(cells, e.notice)
	case connectionLost:
		g.columns, cells = append(g.columns, column{name: "error"}), append(cells, e.lost.Error())
	}
	g.add(cells...)
	return writeJSONLine(v.w, g)
}
