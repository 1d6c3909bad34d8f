package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// daysApart is a tiny pipeline whose tables are partitioned by day: a backfill of it has a task a day and table.
func daysApart(t *testing.T) fs.FS {
	t.Helper()
	files := map[string]string{}
	for path, edit := range map[string]*strings.Replacer{
		"silver/sales.sql":     strings.NewReplacer("month(sale_date)", "sale_date", "-- reach: any\n", ""),
		"gold/daily_sales.sql": strings.NewReplacer("month(day)", "day"),
	} {
		content, err := os.ReadFile("testdata/tiny/" + path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = edit.Replace(string(content))
	}
	return tinyWith(t, files)
}

// period is when something was done.
type period struct{ from, to time.Time }

func (s period) length() time.Duration { return s.to.Sub(s.from) }

func (s period) overlaps(o period) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// pace is what the parts of runs took at most.
type pace struct {
	// task is an attempt at a task, commit from a stage's last task to its end, plan from when a stage could begin to its plan.
	task, commit, plan time.Duration
	tasks              []period
}

// pace adds what a run took.
func (s *shop) pace(p *pace, run *shoplakev1.Run) {
	s.t.Helper()
	overtaken := strings.Contains(strings.Join(run.GetNotices(), "\n"), "went first")
	stages := s.stagesOf(run.GetName())
	for _, stage := range stages {
		tasks := s.attemptsAt(stage)
		if len(tasks) == 0 || stage.GetEndTime() == nil {
			continue
		}
		var last time.Time
		for _, attempt := range tasks {
			p.task, last = max(p.task, attempt.length()), latest(last, attempt.to)
		}
		p.tasks, p.commit = append(p.tasks, tasks...), max(p.commit, stage.GetEndTime().AsTime().Sub(last))
		if overtaken {
			continue // between two of its stages is all that the other run took
		}
		free := run.GetStartTime().AsTime()
		for _, before := range stage.GetDependsOn() {
			free = latest(free, stages[before].GetEndTime().AsTime())
		}
		p.plan = max(p.plan, stage.GetStartTime().AsTime().Sub(free))
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// attemptsAt are when the attempts at a stage's tasks were made.
func (s *shop) attemptsAt(stage *shoplakev1.Stage) (attempts []period) {
	s.t.Helper()
	list, err := s.runs.ListTasks(s.t.Context(), &shoplakev1.ListTasksRequest{Parent: stage.GetName(), PageSize: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, task := range list.GetTasks() {
		for _, try := range task.GetTries() {
			if try.GetEndTime() != nil {
				attempts = append(attempts, period{try.GetStartTime().AsTime(), try.GetEndTime().AsTime()})
			}
		}
	}
	return attempts
}

// fresh is a run that somebody waits for: from its submission to its first task, and how much of that it was not let begin.
type fresh struct {
	period
	kept time.Duration
}

// freshRun drops a file and runs the flow.
func (s *shop) freshRun(n int) fresh {
	s.t.Helper()
	s.drop("sales", fmt.Sprintf("fresh%d.csv", n), fmt.Sprintf("sale_id,sale_date,version,amount\nfresh%d,2031-01-%02d,1,1\n", n, n%28+1))
	run, stages := s.daily()
	attempts := s.attemptsAt(stages["bronze.sales"])
	if len(attempts) == 0 {
		s.t.Fatalf("%s had a new file to read and no task", run.GetName())
	}
	created := run.GetCreateTime().AsTime()
	return fresh{period{created, attempts[0].from}, run.GetStartTime().AsTime().Sub(created)}
}

func knob(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A backfill of a thousand tasks is under way at one worker when fresh runs come, at moments from a seed. Each waits for one of its
// tasks at most, and for what belongs to it: its plan and its commit.
func TestABackfillOfAThousandTasksDelaysAFreshRunByOneTask(t *testing.T) {
	t.Parallel()
	const tables = 2
	tasks, runs := knob(t, "FAIRNESS_TASKS", 1000), knob(t, "FAIRNESS_RUNS", 8)
	s := setup(t, daysApart(t), 1)
	var sales strings.Builder
	sales.WriteString("sale_id,sale_date,version,amount\n")
	for day := range tasks / tables {
		date := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, day).Format(time.DateOnly)
		fmt.Fprintf(&sales, "a%[1]d,%[2]s,1,1\nb%[1]d,%[2]s,1,2\n", day, date)
	}
	s.drop("sales", "all.csv", sales.String())
	s.daily()
	var alone time.Duration // what a run is not let begin that has nothing in its way
	for n := range 3 {
		alone = max(alone, s.freshRun(n).kept)
	}

	b := s.backfill(&shoplakev1.CreateBackfillRequest{StartDate: "2024-01-01", EndDate: "2030-01-01"})
	if got := b.GetPartitionsTotal(); got != int64(tasks) {
		t.Fatalf("the backfill has %d partitions, want %d", got, tasks)
	}
	chance := rand.New(rand.NewPCG(7, 7))
	var waits []fresh
	for n, done := 0, int32(-2); n < runs; n++ {
		// Amid a run of the backfill, after some of its events.
		var amid string
		s.awaitBackfill(b.GetName(), func(b *shoplakev1.Backfill) bool {
			amid = runningOf(b)
			return amid != "" && b.GetIntervalsDone() > done+2
		})
		events := 1 + chance.IntN(8)
		s.watchUntil(amid, func(*shoplakev1.WatchRunResponse) bool { events--; return events == 0 })
		waits = append(waits, s.freshRun(3+n))
		now := s.awaitBackfill(b.GetName(), func(*shoplakev1.Backfill) bool { return true })
		if done = now.GetIntervalsDone(); now.GetEndTime() != nil {
			t.Fatalf("the backfill was over when fresh run %d came: %v", n, now.GetState())
		}
	}
	if _, err := s.backfills().CancelBackfill(t.Context(), &shoplakev1.CancelBackfillRequest{Name: b.GetName()}); err != nil {
		t.Fatal(err)
	}
	var p pace
	for _, v := range s.endOf(b.GetName()).GetIntervals() {
		if v.GetRun() == "" {
			continue
		}
		run, err := s.runs.GetRun(t.Context(), &shoplakev1.GetRunRequest{Name: v.GetRun()})
		if err != nil {
			t.Fatal(err)
		}
		s.pace(&p, run)
	}
	for n, w := range waits {
		before := 0
		for _, task := range p.tasks {
			if task.overlaps(w.period) {
				before++
			}
		}
		t.Logf("fresh run %d began its first task after %v, was not let begin for %v, while %d tasks of the backfill were done", n, w.length(), w.kept, before)
		if before > 1 {
			t.Errorf("fresh run %d waited for %d tasks of the backfill", n, before)
		}
		if w.kept > p.task+p.commit+p.plan+alone {
			t.Errorf("fresh run %d was not let begin for %v: longer than a task of the backfill takes (%v), with its plan (%v) and commit (%v), and what a run waits that is alone (%v)",
				n, w.kept, p.task, p.plan, p.commit, alone)
		}
	}
	t.Logf("of %d tasks %d were done; the longest took %v, a plan %v, a commit %v; a run that is alone is let begin after %v", tasks, len(p.tasks), p.task, p.plan, p.commit, alone)
}
