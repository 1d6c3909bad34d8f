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
	// close ends it; what is drawn goes away where something else will show the same.
	close(erase bool)
}

// newProgress redraws on a terminal and writes plain lines elsewhere.
func newProgress(w io.Writer) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s := &screen{w: f, clock: time.Now, size: func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 1 || height < 1 {
				return 80, 24
			}
			return width, height
		}, stop: make(chan struct{}), stopped: make(chan struct{})}
		go s.tick()
		return s
	}
	return newLines(w, time.Now)
}

// lines writes one line for each change.
type lines struct {
	w       io.Writer
	clock   func() time.Time
	changes changes
	// said is when each stage's progress was last told: a stage may have 100,000 tasks.
	said map[string]time.Time
}

// progressPause is the least time between two lines about the tasks of one stage.
const progressPause = 5 * time.Second

func newLines(w io.Writer, clock func() time.Time) *lines {
	return &lines{w: w, clock: clock, said: map[string]time.Time{}}
}

func (l *lines) update(u client.Update) {
	now := l.clock()
	for _, e := range l.changes.next(u) {
		if s := e.stage; e.kind == stageChanged {
			if s.GetState() == shoplakev1.StageState_STAGE_STATE_WAITING {
				continue
			}
			if !e.moved && (s.GetTasksDone() == e.doneBefore || now.Sub(l.said[s.GetTable()]) < progressPause) {
				continue
			}
			l.said[s.GetTable()] = now
		}
		fmt.Fprintf(l.w, "%s %s\n", now.Format(time.TimeOnly), e.text())
	}
}

func (*lines) close(bool) {}

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
	if stageEnded(s.GetState()) {
		if d := s.GetQueued().AsDuration(); d > 0 {
			facts = append(facts, duration(d)+" queued")
		}
		if d := s.GetRunning().AsDuration(); d > 0 {
			facts = append(facts, duration(d)+" running")
		}
	}
	if s.GetError().GetMessage() != "" {
		facts = append(facts, errorText(s.GetError()))
	}
	return strings.Join(facts, ", ")
}

func plural(n int64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "ry"):
		return humanize.Comma(n) + " " + strings.TrimSuffix(what, "y") + "ies"
	default:
		return humanize.Comma(n) + " " + what + "s"
	}
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// screen draws a run again and again in the same place.
type screen struct {
	w     io.Writer
	clock func() time.Time
	size  func() (width, height int)

	mu      sync.Mutex
	last    client.Update
	drawn   []int // the widths of the lines on the screen now
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

func (s *screen) close(erase bool) {
	close(s.stop)
	<-s.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	if !erase {
		s.draw()
		return
	}
	width, _ := s.size()
	_, _ = io.WriteString(s.w, s.back(width)+eraseBelow)
}

// eraseBelow clears from the cursor to the end of the screen.
const eraseBelow = text.EscapeStart + "J"

// back moves the cursor to the first line that is drawn. In a terminal that was made narrower, lines take several by now.
func (s *screen) back(width int) string {
	up := 0
	for _, w := range s.drawn {
		up += max(1, (w+width-1)/width)
	}
	if up == 0 {
		return ""
	}
	return "\r" + text.CursorUp.Sprintn(up)
}

func (s *screen) draw() {
	if s.last.Run == nil {
		return
	}
	width, height := s.size()
	var b strings.Builder
	b.WriteString(s.back(width))
	s.drawn = s.drawn[:0]
	// One column and one line less: a cursor behind the last one would begin another.
	for _, l := range drawRun(s.last, canvas{width: width - 1, height: height - 1, now: s.clock(), frame: s.frame}) {
		b.WriteString("\r" + l.colour.Sprint(l.text) + text.EraseLine.Sprint() + "\n")
		s.drawn = append(s.drawn, text.StringWidthWithoutEscSequences(l.text))
	}
	b.WriteString(eraseBelow)
	_, _ = io.WriteString(s.w, b.String())
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
