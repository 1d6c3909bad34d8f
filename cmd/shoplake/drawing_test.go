package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

var update = flag.Bool("update", false, "write what is drawn into testdata/drawing")

// begun is when the runs of these tests began; second is a moment after it.
var begun = time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)

func second(n float64) *timestamppb.Timestamp {
	return timestamppb.New(begun.Add(time.Duration(n * float64(time.Second))))
}

// midway is a run under way, which has seen something of everything.
func midway() client.Update {
	const (
		waiting    = shoplakev1.StageState_STAGE_STATE_WAITING
		running    = shoplakev1.StageState_STAGE_STATE_RUNNING
		committing = shoplakev1.StageState_STAGE_STATE_COMMITTING
		succeeded  = shoplakev1.StageState_STAGE_STATE_SUCCEEDED
		upToDate   = shoplakev1.StageState_STAGE_STATE_UP_TO_DATE
		blocked    = shoplakev1.StageState_STAGE_STATE_BLOCKED
		failed     = shoplakev1.StageState_STAGE_STATE_FAILED
	)
	flaky := &shoplakev1.Attempt{Task: "f0002", Worker: "w2", StartTime: second(3), EndTime: second(5.5), Error: &shoplakev1.RunError{
		Class: shoplakev1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: "write the staged file: no space left on device\nfree some of it"}}
	silent := &shoplakev1.Attempt{Task: "2026-01", Worker: "w1", StartTime: second(8), Error: &shoplakev1.RunError{
		Class: shoplakev1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: "nothing was heard of it any more"}}
	again := &shoplakev1.Attempt{Task: "2026-02", Worker: "w3", StartTime: second(8), EndTime: second(9), Error: &shoplakev1.RunError{
		Class: shoplakev1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: "read \x1b[31mgone"}}
	wrong := &shoplakev1.RunError{Class: shoplakev1.ErrorClass_ERROR_CLASS_BAD_DATA, Stage: "silver.inventory", Message: "check unique_key found 3 rows\nfor example ..."}
	sec := func(n float64) *durationpb.Duration { return durationpb.New(time.Duration(n * float64(time.Second))) }
	return client.Update{
		Run: &shoplakev1.Run{
			Name: "runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB", Flow: "flows/daily", State: shoplakev1.RunState_RUN_STATE_RUNNING, StartTime: second(0),
			Counts:  &shoplakev1.RunCounts{RowsRead: 41906, RowsBronze: 41606, RowsQuarantined: 300},
			Notices: []string{"orders: 2 files are still being written", "inventory: the column colour is not in the contract"},
		},
		Stages: []*shoplakev1.Stage{
			{Table: "bronze.orders", State: succeeded, Tasks: 31, TasksDone: 31, Attempts: 33, Partitions: 31, RowsOut: 41606, RowsQuarantined: 300,
				Queued: sec(12.5), Running: sec(61), StartTime: second(1), EndTime: second(8), FailedAttempts: []*shoplakev1.Attempt{flaky}, FailedAttemptsTotal: 2},
			{Table: "bronze.inventory", State: upToDate, EndTime: second(1)},
			{Table: "silver.orders", DependsOn: []string{"bronze.orders"}, State: running, Tasks: 12, TasksDone: 4, Attempts: 8, Partitions: 12, RowsOut: 10250,
				Queued: sec(1.5), Running: sec(20), StartTime: second(8), TasksRunning: 2, RunningSince: second(50), QueuedSince: second(8),
				FailedAttempts: []*shoplakev1.Attempt{silent, again}, FailedAttemptsTotal: 2},
			{Table: "silver.inventory", DependsOn: []string{"bronze.inventory"}, State: failed, Tasks: 1, TasksDone: 1, Attempts: 1, Partitions: 1, RowsOut: 90,
				Queued: sec(0.5), Running: sec(2), StartTime: second(2), EndTime: second(6), Error: wrong},
			{Table: "gold.dim_product", DependsOn: []string{"silver.orders"}, State: waiting},
			{Table: "gold.fact_order_line", DependsOn: []string{"silver.orders", "gold.dim_product"}, State: waiting},
			{Table: "gold.fact_inventory", DependsOn: []string{"silver.inventory", "bronze.orders"}, State: blocked},
			{Table: "gold.customer_month", DependsOn: []string{"gold.fact_order_line", "silver.orders"}, State: waiting},
			{Table: "gold.dim_date", State: committing, Tasks: 1, TasksDone: 1, Attempts: 1, Partitions: 1, RowsOut: 365, Running: sec(0.1), StartTime: second(1)},
			{Table: "gold.calendar", DependsOn: []string{"gold.dim_date"}, State: running, Tasks: 2, Attempts: 0, Partitions: 2, StartTime: second(50), QueuedSince: second(50)},
		},
	}
}

// ended is the same run at its end.
func ended() client.Update {
	u := midway()
	u.Run.State, u.Run.EndTime = shoplakev1.RunState_RUN_STATE_FAILED, second(75)
	for _, s := range u.Stages {
		s.TasksRunning, s.RunningSince, s.QueuedSince = 0, nil, nil
		if !stageEnded(s.GetState()) {
			s.State, s.EndTime = shoplakev1.StageState_STAGE_STATE_CANCELLED, second(70)
		}
	}
	return u
}

func TestDrawing(t *testing.T) {
	t.Parallel()
	lost := midway()
	lost.Lost = errors.New("connection refused")
	for name, c := range map[string]struct {
		update        client.Update
		width, height int
	}{
		"wide": {midway(), 140, 60}, "terminal": {midway(), 80, 60}, "narrow": {midway(), 34, 60},
		"low": {midway(), 120, 17}, "lower": {midway(), 120, 11}, "lowest": {midway(), 120, 4}, "ended": {ended(), 140, 60}, "lost": {lost, 100, 60},
		"queued": {client.Update{Run: &shoplakev1.Run{Name: "runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB", Flow: "flows/daily", State: shoplakev1.RunState_RUN_STATE_QUEUED}}, 80, 24},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drawn := drawRun(c.update, canvas{width: c.width, height: c.height, now: begun.Add(time.Minute)})
			if len(drawn) > c.height {
				t.Errorf("%d lines were drawn where %d have room", len(drawn), c.height)
			}
			var b strings.Builder
			for _, l := range drawn {
				if n := text.StringWidthWithoutEscSequences(l.text); n > c.width {
					t.Errorf("a line is %d columns wide, not %d: %s", n, c.width, l.text)
				}
				b.WriteString(l.text + "\n")
			}
			path := filepath.Join("testdata", "drawing", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("what is drawn is not %s (-update writes it anew):\n%s", path, diff)
			}
		})
	}
}

func TestTimeLeftIsToldWhereItIsKnown(t *testing.T) {
	t.Parallel()
	const running, waiting = shoplakev1.StageState_STAGE_STATE_RUNNING, shoplakev1.StageState_STAGE_STATE_WAITING
	stage := func(state shoplakev1.StageState, done, all int32) *shoplakev1.Stage {
		return &shoplakev1.Stage{State: state, TasksDone: done, Tasks: all, StartTime: second(0)}
	}
	ended := stage(shoplakev1.StageState_STAGE_STATE_SUCCEEDED, 2, 2)
	for name, c := range map[string]struct {
		stages []*shoplakev1.Stage
		want   time.Duration
	}{
		"the slowest stage counts":          {[]*shoplakev1.Stage{ended, stage(running, 30, 60), stage(running, 10, 100000)}, 99990 * 6 * time.Second},
		"a stage without tasks yet":         {[]*shoplakev1.Stage{stage(running, 30, 60), stage(waiting, 0, 0)}, 0},
		"too few tasks to know the pace":    {[]*shoplakev1.Stage{stage(running, 2, 60)}, 0},
		"checks and commits have no pace":   {[]*shoplakev1.Stage{stage(running, 30, 60), stage(shoplakev1.StageState_STAGE_STATE_CHECKING, 9, 9)}, 0},
		"everything ended":                  {[]*shoplakev1.Stage{ended}, 0},
		"tasks are done, not yet gathered":  {[]*shoplakev1.Stage{stage(running, 60, 60)}, 0},
		"a clock that is behind the server": {[]*shoplakev1.Stage{{State: running, TasksDone: 3, Tasks: 9, StartTime: second(90)}}, 0},
	} {
		if got, ok := timeLeft(c.stages, begun.Add(time.Minute)); ok != (c.want > 0) || ok && got != c.want {
			t.Errorf("%s: got %v, %v; want %v", name, got, ok, c.want)
		}
	}
}

func jsonLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for l := range strings.Lines(text) {
		var e map[string]any
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		list = append(list, e)
	}
	return list
}

// moving is a run that is seen several times.
func moving() []client.Update {
	run := func(state shoplakev1.RunState, notices ...string) *shoplakev1.Run {
		return &shoplakev1.Run{Name: "runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB", State: state, Notices: notices}
	}
	stage := func(s shoplakev1.StageState, done int32, attempts ...*shoplakev1.Attempt) []*shoplakev1.Stage {
		return []*shoplakev1.Stage{{Table: "silver.orders", State: s, Partitions: 3, Tasks: 3, TasksDone: done, FailedAttempts: attempts, FailedAttemptsTotal: int32(len(attempts))}}
	}
	const goes, running = shoplakev1.RunState_RUN_STATE_RUNNING, shoplakev1.StageState_STAGE_STATE_RUNNING
	failed := &shoplakev1.Attempt{Task: "2026-01", Worker: "w1", StartTime: second(1), EndTime: second(3),
		Error: &shoplakev1.RunError{Class: shoplakev1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: "a full disk\nmore"}}
	last := stage(shoplakev1.StageState_STAGE_STATE_SUCCEEDED, 3, failed)
	last[0].RowsOut, last[0].Queued, last[0].Running = 41606, durationpb.New(time.Second), durationpb.New(4*time.Second)
	return []client.Update{
		{Sequence: 1, Run: run(goes), Stages: stage(shoplakev1.StageState_STAGE_STATE_WAITING, 0)},
		{Sequence: 2, Run: run(goes), Stages: stage(running, 0)},
		{Sequence: 3, Run: run(goes), Stages: stage(running, 0, failed)},
		{Sequence: 3, Run: run(goes), Stages: stage(running, 0, failed), Lost: errors.New("gone")},
		{Sequence: 3, Run: run(goes), Stages: stage(running, 0, failed), Lost: errors.New("gone")},
		{Sequence: 4, Run: run(goes, "2 files are still being written"), Stages: stage(running, 1, failed)},
		{Sequence: 5, Run: run(goes, "2 files are still being written"), Stages: stage(running, 2, failed)},
		{Sequence: 6, Run: run(shoplakev1.RunState_RUN_STATE_SUCCEEDED, "2 files are still being written", "colour is not in the contract"), Stages: last},
	}
}

func TestEachChangeIsALine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	now := begun
	p := newLines(&b, func() time.Time { return now })
	for _, u := range moving() {
		p.update(u)
		now = now.Add(3 * time.Second) // of the two lines about tasks done, the second comes too soon
	}
	p.close(false)
	want := `06:00:00 runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB RUNNING
06:00:03 silver.orders RUNNING 3 partitions, 0/3 tasks
06:00:06 silver.orders w1 failed at task 2026-01 after 2.0s: TRANSIENT a full disk
06:00:09 connection lost, trying again: gone
06:00:15 silver.orders RUNNING 3 partitions, 1/3 tasks
06:00:15 note: 2 files are still being written
06:00:21 silver.orders SUCCEEDED 3 partitions, 41,606 rows, 1.0s queued, 4.0s running
06:00:21 note: colour is not in the contract
06:00:21 runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB SUCCEEDED
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestEachChangeIsALineOfJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := &events{w: &b, clock: func() time.Time { return begun }}
	for _, u := range moving() {
		v.update(u)
	}
	if v.err != nil {
		t.Fatal(v.err)
	}
	var got []string
	var last map[string]any
	for _, e := range jsonLines(t, b.String()) {
		got = append(got, fmt.Sprint(e["event"], " ", e["sequence"], " ", e["state"], " ", e["tasks_done"], " ", e["cause"], " ", e["notice"]))
		if e["run"] != "01KAR8W9Q0ZC5R0V9M2J6T4XEB" || e["time"] != "2026-01-05T06:00:00Z" {
			t.Errorf("an event without its run or time: %v", e)
		}
		last = e
	}
	want := []string{
		"run 1 RUNNING <nil> <nil> <nil>", "stage 1 WAITING 0 <nil> <nil>", "stage 2 RUNNING 0 <nil> <nil>",
		"attempt 3 <nil> <nil> a full disk\nmore <nil>", "stage 3 RUNNING 0 <nil> <nil>", "connection_lost 3 <nil> <nil> <nil> <nil>",
		"stage 4 RUNNING 1 <nil> <nil>", "notice 4 <nil> <nil> <nil> 2 files are still being written", "stage 5 RUNNING 2 <nil> <nil>",
		"stage 6 SUCCEEDED 3 <nil> <nil>", "notice 6 <nil> <nil> <nil> colour is not in the contract", "run 6 SUCCEEDED <nil> <nil> <nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	stages, _ := last["stages"].([]any)
	if len(stages) != 1 || len(stages[0].(map[string]any)["failed_attempts"].([]any)) != 1 {
		t.Errorf("the last event is not the run with its stages: %v", last)
	}
}

func TestTheScreenRedrawsInPlace(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	width := 90
	s := &screen{w: &b, clock: func() time.Time { return begun.Add(time.Minute) }, size: func() (int, int) { return width, 60 }, stop: make(chan struct{}), stopped: make(chan struct{})}
	close(s.stopped) // its clock does not tick
	s.update(midway())
	lines := strings.Count(b.String(), "\n")
	if want := len(drawRun(midway(), canvas{width: 89, height: 59, now: begun})); lines != want {
		t.Errorf("%d lines were drawn, not %d", lines, want)
	}
	b.Reset()
	s.update(s.last)
	if want := fmt.Sprintf("\r\x1b[%dA", lines); !strings.HasPrefix(b.String(), want) {
		t.Errorf("drew again %q, not from %q on", b.String(), want)
	}
	// The terminal broke the lines that are too long by now.
	b.Reset()
	width = 45
	s.update(s.last)
	if got := b.String(); strings.HasPrefix(got, fmt.Sprintf("\r\x1b[%dA", lines)) {
		t.Errorf("drew over a part of the wider drawing: %q", got[:20])
	}
	b.Reset()
	s.close(true)
	if got := b.String(); !strings.HasSuffix(got, "A\x1b[J") || strings.Contains(got, "\n") {
		t.Errorf("erased by %q", got)
	}
}
