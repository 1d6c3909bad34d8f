package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// setRows aligns the rows' cells under their titles, without the columns that hold nothing or do not fit.
func setRows(rows []row, width int) []line {
	var widths [len(titleOf)]int
	shown := map[int]bool{}
	for _, r := range rows {
		if r.folded > 0 {
			continue
		}
		for i, cell := range r.cells {
			if cell != "" {
				widths[i] = max(widths[i], text.StringWidthWithoutEscSequences(cell), len(titleOf[i]))
				shown[i] = true
			}
		}
	}
	const gap = 2
	all := -gap
	// The last column may be cut at the terminal's edge, so that a part of it is enough.
	widths[colAlso] = min(widths[colAlso], 16)
	for i := range shown {
		all += widths[i] + gap
	}
	for _, i := range givenUp {
		if all <= width {
			break
		}
		if shown[i] {
			delete(shown, i)
			all -= widths[i] + gap
		}
	}
	set := func(cells [len(titleOf)]string) string {
		var b strings.Builder
		for i, cell := range cells {
			if !shown[i] {
				continue
			}
			if b.Len() > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			fill := strings.Repeat(" ", max(0, widths[i]-text.StringWidthWithoutEscSequences(cell)))
			switch i {
			case colStage, colState, colBar, colAlso:
				b.WriteString(cell + fill)
			default: // numbers stand to the right
				b.WriteString(fill + cell)
			}
		}
		return strings.TrimRight(b.String(), " ")
	}
	lines := []line{{set(titleOf), faint}}
	for _, r := range rows {
		if r.folded > 0 {
			lines = append(lines, line{r.cells[colStage], faint})
			continue
		}
		lines = append(lines, line{set(r.cells), r.colour})
		lines = append(lines, r.causes...)
	}
	return lines
}

// heightOf is how many lines the rows take, their titles included.
func heightOf(rows []row) int {
	n := 1
	for _, r := range rows {
		n += 1 + len(r.causes)
	}
	return n
}

// whole leaves nothing out.
func whole(rows []row) []row { return rows }

// withoutOldCauses leaves out what went wrong in stages that ended well.
func withoutOldCauses(rows []row) []row {
	rows = slices.Clone(rows)
	for i, r := range rows {
		if stageEnded(r.state) && r.state != shoplakev1.StageState_STAGE_STATE_FAILED {
			rows[i].causes = nil
		}
	}
	return rows
}

func withoutCauses(rows []row) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].causes = nil
	}
	return rows
}

// stageOpenOrEnded tells the stages that nothing is being done for.
func stageOpenOrEnded(s shoplakev1.StageState) bool {
	return stageEnded(s) || s == shoplakev1.StageState_STAGE_STATE_WAITING
}

// folded makes one line of neighbours that are less interesting than others; failures never are.
func folded(boring func(shoplakev1.StageState) bool) func([]row) []row {
	return func(rows []row) []row {
		var out []row
		for len(rows) > 0 {
			n := 0
			for n < len(rows) && (rows[n].folded > 0 || boring(rows[n].state) && rows[n].state != shoplakev1.StageState_STAGE_STATE_FAILED) {
				n++
			}
			if n < 2 {
				out, rows = append(out, rows[0]), rows[1:]
				continue
			}
			out, rows = append(out, foldRow(rows[:n])), rows[n:]
		}
		return out
	}
}

func foldRow(rows []row) row {
	var f row
	waiting := 0
	for _, r := range rows {
		f.folded += max(r.folded, 1)
		if r.folded == 0 && r.state == shoplakev1.StageState_STAGE_STATE_WAITING {
			waiting++
		}
	}
	f.cells[colStage] = fmt.Sprintf("… %s that ended", plural(int64(f.folded), "stage"))
	if waiting > 0 {
		f.cells[colStage] = fmt.Sprintf("… %s, %d of them waiting", plural(int64(f.folded), "stage"), waiting)
	}
	return f
}

// latestNotices is how many notices of a run are drawn.
const latestNotices = 3

// footOf are the lines below the graph: what a person should know, and the run's sum.
func footOf(u client.Update, c canvas) []line {
	var lines []line
	notices := u.Run.GetNotices()
	if more := len(notices) - latestNotices; more > 0 {
		lines = append(lines, line{fmt.Sprintf("… %s before", plural(int64(more), "note")), faint})
		notices = notices[more:]
	}
	for _, n := range notices {
		lines = append(lines, line{"Note: " + oneLine(n), yellow})
	}
	if u.Lost != nil {
		lines = append(lines, line{"Connection lost, trying again: " + oneLine(u.Lost.Error()), red})
	}
	return append(lines, line{sumOf(u, c), bold})
}

// sumOf is the run as a whole.
func sumOf(u client.Update, c canvas) string {
	var done, tasks, tasksDone, underWay int64
	var queued, running time.Duration
	for _, s := range u.Stages {
		if stageEnded(s.GetState()) {
			done++
		}
		tasks, tasksDone, underWay = tasks+int64(s.GetTasks()), tasksDone+int64(s.GetTasksDone()), underWay+int64(s.GetTasksRunning())
		q, r := timesOf(s, c.now)
		queued, running = queued+q, running+r
	}
	facts := []string{fmt.Sprintf("%d/%d stages", done, len(u.Stages))}
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if tasks > 0 {
		add("%s/%s tasks", humanize.Comma(tasksDone), humanize.Comma(tasks))
	}
	if underWay > 0 {
		add("%s running", humanize.Comma(underWay))
	}
	if d := duration(tookUntil(u.Run.GetStartTime(), u.Run.GetEndTime(), c.now)); d != "" {
		add("took %s", d)
	}
	if left, ok := timeLeft(u.Stages, c.now); ok {
		add("tasks done in about %s", left)
	}
	if queued+running > 0 {
		add("queued %s, running %s", cmp.Or(duration(queued), "0s"), cmp.Or(duration(running), "0s"))
	}
	if n := u.Run.GetCounts(); n.GetRowsRead() > 0 {
		add("rows read %s = bronze %s + quarantine %s", humanize.Comma(n.GetRowsRead()), humanize.Comma(n.GetRowsBronze()), humanize.Comma(n.GetRowsQuarantined()))
	}
	return bar(done, int64(len(u.Stages)), 2*barWidth) + "  " + strings.Join(facts, "  ")
}

// timeLeft is how long the tasks still take at the pace so far. It is told only where it can be known: every stage has its tasks,
// and some of each stage's are done.
func timeLeft(stages []*shoplakev1.Stage, now time.Time) (time.Duration, bool) {
	const enough = 3
	var longest time.Duration
	for _, s := range stages {
		if stageEnded(s.GetState()) {
			continue
		}
		left := int64(s.GetTasks() - s.GetTasksDone())
		if s.GetState() != shoplakev1.StageState_STAGE_STATE_RUNNING || s.GetTasksDone() < enough || left == 0 {
			return 0, false
		}
		longest = max(longest, time.Duration(float64(now.Sub(s.GetStartTime().AsTime()))*float64(left)/float64(s.GetTasksDone())))
	}
	return longest.Round(time.Second), longest >= time.Second
}

// tookUntil is the time from a start to an end, or until now; 0 where it has not begun.
func tookUntil(start, end *timestamppb.Timestamp, now time.Time) time.Duration {
	switch {
	case start == nil:
		return 0
	case end != nil:
		now = end.AsTime()
	}
	return max(0, now.Sub(start.AsTime()))
}
