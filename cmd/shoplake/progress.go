package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// progress shows a run while one waits for it.
type progress interface {
	update(client.Update)
	close()
}

// newProgress redraws on a terminal and writes plain lines elsewhere.
func newProgress(w io.Writer) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s := &screen{w: f, size: func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80, 24
			}
			return width, height
		}, stop: make(chan struct{}), stopped: make(chan struct{})}
		go s.tick()
		return s
	}
	return &lines{w: w, states: map[string]shoplakev1.StageState{}}
}

// lines writes one line when a stage changes its state.
type lines struct {
	w      io.Writer
	states map[string]shoplakev1.StageState
	run    shoplakev1.RunState
	lost   bool
}

func (l *lines) update(u client.Update) {
	if u.Lost != nil {
		if !l.lost {
			l.say("connection lost, trying again: %v", u.Lost)
		}
		l.lost = true
		return
	}
	l.lost = false
	if s := u.Run.GetState(); s != l.run && !client.Ended(s) {
		l.run = s
		l.say("%s %s", u.Run.GetName(), runState(s))
	}
	for _, s := range u.Stages {
		if before, known := l.states[s.GetTable()]; known && before == s.GetState() {
			continue
		}
		l.states[s.GetTable()] = s.GetState()
		if s.GetState() == shoplakev1.StageState_STAGE_STATE_WAITING {
			continue
		}
		l.say("%s %s", s.GetTable(), strings.Join(strings.Fields(stageState(s.GetState())+" "+stageFacts(s)), " "))
	}
	if s := u.Run.GetState(); client.Ended(s) {
		l.say("%s %s", u.Run.GetName(), runState(s))
	}
}

func (l *lines) say(f string, args ...any) {
	fmt.Fprintf(l.w, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(f, args...))
}

func (*lines) close() {}

// stageFacts says what a stage has done so far.
func stageFacts(s *shoplakev1.Stage) string {
	var facts []string
	if n := s.GetPartitions(); n > 0 {
		facts = append(facts, plural(n, "partition"))
	}
	if n := s.GetTasks(); n > 0 && s.GetTasksDone() < n {
		facts = append(facts, fmt.Sprintf("%d/%d tasks", s.GetTasksDone(), n))
	}
	if n := s.GetRowsOut(); n > 0 {
		facts = append(facts, plural(n, "row"))
	}
	if n := s.GetRowsQuarantined(); n > 0 {
		facts = append(facts, humanize.Comma(n)+" quarantined")
	}
	if s.GetError().GetMessage() != "" {
		facts = append(facts, strings.Join(strings.Fields(s.GetError().GetMessage()), " "))
	}
	return strings.Join(facts, ", ")
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(n) + " " + what + "s"
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// screen redraws a line a stage in place.
type screen struct {
	w    io.Writer
	size func() (width, height int)

	mu      sync.Mutex
	last    client.Update
	drawn   int // lines on the screen now
	frame   int
	stop    chan struct{}
	stopped chan struct{}
}

func (s *screen) update(u client.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = u
	s.draw()
}

// tick redraws while nothing changes, so that the clock goes on.
func (s *screen) tick() {
	defer close(s.stopped)
	t := time.NewTicker(150 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.mu.Lock()
			s.frame++
			s.draw()
			s.mu.Unlock()
		case <-s.stop:
			return
		}
	}
}

func (s *screen) close() {
	close(s.stop)
	<-s.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw()
}

func (s *screen) draw() {
	if s.last.Run == nil {
		return
	}
	width, height := s.size()
	rows := s.rows(height - 1)
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, r := range rows {
		// To the line's end is cleared: what stood there may have been longer.
		b.WriteString("\r" + text.Trim(r, width-1) + "\x1b[0m\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn = len(rows)
	_, _ = io.WriteString(s.w, b.String())
}

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// rows are the lines to show: the run, then its stages; of too many those that are going on come first.
func (s *screen) rows(most int) []string {
	run := s.last.Run
	done := 0
	widest := 0
	for _, st := range s.last.Stages {
		if stageEnded(st.GetState()) {
			done++
		}
		widest = max(widest, len(st.GetTable()))
	}
	head := fmt.Sprintf("%s  %s  %s  %d/%d stages", run.GetFlow(), id(run.GetName()), runState(run.GetState()), done, len(s.last.Stages))
	if run.GetStartTime() != nil {
		end := time.Now()
		if run.GetEndTime() != nil {
			end = run.GetEndTime().AsTime()
		}
		head += "  " + duration(end.Sub(run.GetStartTime().AsTime()))
	}
	if s.last.Lost != nil {
		head += "  (connection lost, trying again)"
	}
	rows := []string{head}
	stages := s.last.Stages
	if len(stages)+1 > most {
		stages = nil
		for _, st := range s.last.Stages {
			if !stageEnded(st.GetState()) && st.GetState() != shoplakev1.StageState_STAGE_STATE_WAITING || st.GetState() == shoplakev1.StageState_STAGE_STATE_FAILED {
				stages = append(stages, st)
			}
		}
		stages = stages[:min(len(stages), max(most-1, 0))]
	}
	for _, st := range stages {
		rows = append(rows, s.row(st, widest))
	}
	return rows
}

func (s *screen) row(st *shoplakev1.Stage, widest int) string {
	var (
		mark   string
		colour text.Colors
	)
	switch st.GetState() {
	case shoplakev1.StageState_STAGE_STATE_SUCCEEDED, shoplakev1.StageState_STAGE_STATE_PREVIEWED:
		mark, colour = "✓", text.Colors{text.FgGreen}
	case shoplakev1.StageState_STAGE_STATE_UP_TO_DATE:
		mark, colour = "=", text.Colors{text.Faint}
	case shoplakev1.StageState_STAGE_STATE_FAILED:
		mark, colour = "✗", text.Colors{text.FgRed}
	case shoplakev1.StageState_STAGE_STATE_BLOCKED, shoplakev1.StageState_STAGE_STATE_CANCELLED:
		mark, colour = "-", text.Colors{text.FgYellow}
	case shoplakev1.StageState_STAGE_STATE_WAITING:
		mark, colour = "·", text.Colors{text.Faint}
	default:
		mark, colour = string(spinner[s.frame%len(spinner)]), text.Colors{text.FgCyan}
	}
	spent := ""
	if st.GetStartTime() != nil {
		end := time.Now()
		if st.GetEndTime() != nil {
			end = st.GetEndTime().AsTime()
		}
		spent = duration(end.Sub(st.GetStartTime().AsTime()))
	}
	label := strings.ReplaceAll(strings.ToLower(stageState(st.GetState())), "_", " ")
	return colour.Sprintf("%s %-*s  %-10s  %7s  %s", mark, widest, st.GetTable(), label, spent, stageFacts(st))
}

func stageEnded(s shoplakev1.StageState) bool {
	switch s {
	case shoplakev1.StageState_STAGE_STATE_SUCCEEDED, shoplakev1.StageState_STAGE_STATE_UP_TO_DATE, shoplakev1.StageState_STAGE_STATE_BLOCKED,
		shoplakev1.StageState_STAGE_STATE_FAILED, shoplakev1.StageState_STAGE_STATE_CANCELLED, shoplakev1.StageState_STAGE_STATE_PREVIEWED:
		return true
	default:
		return false
	}
}
