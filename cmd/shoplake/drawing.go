package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// canvas is what a run is drawn on.
type canvas struct {
	width, height int
	now           time.Time
	// frame turns the marks of what is going on.
	frame int
}

// line is a drawn line: its text, without escape codes, and its colours.
type line struct {
	text   string
	colour text.Colors
}

var (
	faint  = text.Colors{text.Faint}
	bold   = text.Colors{text.Bold}
	green  = text.Colors{text.FgGreen}
	red    = text.Colors{text.FgRed}
	yellow = text.Colors{text.FgYellow}
	cyan   = text.Colors{text.FgCyan}
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// drawRun draws a run: its name, the graph of its stages with what became of each, what a person should know, and the sum. It
// depends on nothing but what it is given.
func drawRun(u client.Update, c canvas) []line {
	nodes := treeOf(u.Stages)
	head := line{fmt.Sprintf("%s  %s  %s", id(u.Run.GetFlow()), id(u.Run.GetName()), runState(u.Run.GetState())), bold}
	foot := footOf(u, c)
	room := c.height - 1 - len(foot)
	lines := slices.Concat([]line{head}, graphOf(nodes, c, room), foot)
	if len(lines) > c.height { // a terminal of a few lines: the sum is worth most
		lines = lines[len(lines)-c.height:]
	}
	for i, l := range lines {
		lines[i].text = fit(l.text, c.width)
	}
	return lines
}

// fit cuts a text at the terminal's width: a line that went on in the next one would spoil what is drawn over it.
func fit(s string, width int) string {
	if text.StringWidthWithoutEscSequences(s) <= width {
		return s
	}
	return text.Trim(s, max(width-1, 0)) + "…"
}

// fitEnds cuts the middle out of a text that is too wide: an error ends with what caused it.
func fitEnds(s string, width int) string {
	wide := text.StringWidthWithoutEscSequences(s)
	if wide <= width {
		return s
	}
	head := text.Trim(s, width*3/5)
	tail := []rune(strings.TrimPrefix(s, head))
	for len(tail) > 0 && text.StringWidthWithoutEscSequences(head)+1+text.StringWidthWithoutEscSequences(string(tail)) > width {
		tail = tail[1:]
	}
	return head + "…" + string(tail)
}

// graphOf draws the stages into so many lines, with as much of each as there is room for.
func graphOf(nodes []node, c canvas, room int) []line {
	rows := make([]row, 0, len(nodes))
	for _, n := range nodes {
		rows = append(rows, rowOf(n, c))
	}
	for _, less := range []func([]row) []row{whole, withoutOldCauses, folded(stageEnded), folded(stageOpenOrEnded), withoutCauses} {
		rows = less(rows)
		if heightOf(rows) <= room {
			break
		}
	}
	if len(rows) == 0 {
		return nil
	}
	lines := setRows(rows, c.width)
	if len(lines) > room {
		more := len(lines) - max(room, 1) + 1
		lines = append(lines[:len(lines)-more], line{fmt.Sprintf("… %d lines more", more), faint})
	}
	return lines
}

// row is a stage's line in the making, its cells by column, and the lines below it.
type row struct {
	cells  [len(titleOf)]string
	colour text.Colors
	state  shoplakev1.StageState
	causes []line
	folded int // how many stages it stands for, where it is none itself
}

// The columns.
const (
	colStage = iota
	colState
	colBar
	colTasks
	colPartitions
	colRows
	colQuarantined
	colTook
	colQueued
	colRunning
	colTries
	colAlso
)

var titleOf = [...]string{"stage", "state", "progress", "tasks", "partitions", "rows", "quarantined", "took", "queued", "running", "tries", "also reads"}

// givenUp are the columns in the order in which a narrow terminal does without them.
var givenUp = []int{colTries, colQuarantined, colAlso, colPartitions, colBar, colTook, colRows, colState, colQueued, colRunning, colTasks}

const barWidth = 10

func rowOf(n node, c canvas) row {
	s := n.stage
	r := row{state: s.GetState()}
	var mark string
	mark, r.colour = markOf(s.GetState(), c.frame)
	r.cells[colStage] = n.trunk + mark + " " + s.GetTable()
	r.cells[colState] = strings.ReplaceAll(strings.ToLower(stageState(s.GetState())), "_", " ")
	if s.GetTasks() > 0 {
		r.cells[colBar] = bar(int64(s.GetTasksDone()), int64(s.GetTasks()), barWidth)
		r.cells[colTasks] = humanize.Comma(int64(s.GetTasksDone())) + "/" + humanize.Comma(int64(s.GetTasks()))
	}
	r.cells[colPartitions] = count(s.GetPartitions())
	r.cells[colRows] = count(s.GetRowsOut())
	r.cells[colQuarantined] = count(s.GetRowsQuarantined())
	r.cells[colTook] = duration(tookUntil(s.GetStartTime(), s.GetEndTime(), c.now))
	queued, running := timesOf(s, c.now)
	r.cells[colQueued], r.cells[colRunning] = duration(queued), duration(running)
	// As many tries as tasks are no news.
	if s.GetAttempts() > s.GetTasks() || s.GetFailedAttemptsTotal() > 0 {
		r.cells[colTries] = count(int64(s.GetAttempts()))
	}
	r.cells[colAlso] = strings.Join(n.also, ", ")
	r.causes = causesOf(n, c.width)
	return r
}

// timesOf are how long a stage's tasks waited for a worker and ran, summed, those under way included.
func timesOf(s *shoplakev1.Stage, now time.Time) (queued, running time.Duration) {
	queued, running = s.GetQueued().AsDuration(), s.GetRunning().AsDuration()
	if n := s.GetTasksRunning(); n > 0 {
		running += time.Duration(n) * max(0, now.Sub(s.GetRunningSince().AsTime()))
	} else if s.GetQueuedSince() != nil {
		// Tasks that wait beside others that run have their turn in the stage's own order: that is no want of workers.
		queued += max(0, now.Sub(s.GetQueuedSince().AsTime()))
	}
	return queued, running
}

func markOf(state shoplakev1.StageState, frame int) (string, text.Colors) {
	switch state {
	case shoplakev1.StageState_STAGE_STATE_SUCCEEDED, shoplakev1.StageState_STAGE_STATE_PREVIEWED:
		return "✓", green
	case shoplakev1.StageState_STAGE_STATE_UP_TO_DATE:
		return "=", faint
	case shoplakev1.StageState_STAGE_STATE_FAILED:
		return "✗", red
	case shoplakev1.StageState_STAGE_STATE_BLOCKED, shoplakev1.StageState_STAGE_STATE_CANCELLED:
		return "-", yellow
	case shoplakev1.StageState_STAGE_STATE_WAITING:
		return "·", faint
	default:
		return string(spinner[frame%len(spinner)]), cyan
	}
}

// bar shows a part of a whole; only the whole is shown as full.
func bar(done, all int64, width int) string {
	full := int(done * int64(width) / max(all, 1))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

func count(n int64) string {
	if n == 0 {
		return ""
	}
	return humanize.Comma(n)
}

// latestCauses is how many failed attempts of a stage are drawn.
const latestCauses = 2

// causesOf are the lines below a stage: why attempts failed, and why it failed itself.
func causesOf(n node, width int) []line {
	s := n.stage
	failures := s.GetFailedAttempts()
	failures = failures[max(0, len(failures)-latestCauses):]
	var lines []line
	if more := int(s.GetFailedAttemptsTotal()) - len(failures); more > 0 {
		lines = append(lines, line{fmt.Sprintf("%s  … %s failed before", n.below, plural(int64(more), "try")), yellow})
	}
	said := false
	for _, a := range failures {
		lines = append(lines, line{fitEnds(n.below+"  ! "+attemptText(a), width), yellow})
		said = said || a.GetError().GetMessage() == s.GetError().GetMessage()
	}
	if e := s.GetError(); e.GetMessage() != "" && !said {
		lines = append(lines, line{fitEnds(n.below+"  ✗ "+errorText(e), width), red})
	}
	return lines
}

// attemptText says why an attempt failed, where, and after how long.
func attemptText(a *shoplakev1.Attempt) string {
	after := ""
	if a.GetEndTime() != nil && a.GetStartTime() != nil {
		after = " after " + strconv.FormatFloat(a.GetEndTime().AsTime().Sub(a.GetStartTime().AsTime()).Seconds(), 'f', 1, 64) + "s"
	}
	return fmt.Sprintf("%s failed at task %s%s: %s", oneLine(a.GetWorker()), oneLine(a.GetTask()), after, errorText(a.GetError()))
}

// errorText is an error's class and the first line of its message.
func errorText(e *shoplakev1.RunError) string {
	first, _, _ := strings.Cut(strings.TrimSpace(e.GetMessage()), "\n")
	return strings.TrimSpace(word(e.GetClass().String(), "ERROR_CLASS_") + " " + oneLine(first))
}
