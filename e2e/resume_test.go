package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// wait watches a run to its end.
func (s *shop) wait(name string) *shoplakev1.Run {
	s.t.Helper()
	return s.watchUntil(name, func(*shoplakev1.WatchRunResponse) bool { return false })
}

// watchUntil watches a run until f returns true or the run has ended.
func (s *shop) watchUntil(name string, f func(*shoplakev1.WatchRunResponse) bool) *shoplakev1.Run {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	stream, err := s.runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	for {
		change, err := stream.Recv()
		if err != nil {
			s.t.Fatal(err)
		}
		if run := change.GetRun(); f(change) || run.GetEndTime() != nil {
			return run
		}
	}
}

// resume resumes a run, which must then succeed.
func (s *shop) resume(name string) *shoplakev1.Run {
	s.t.Helper()
	run, err := s.runs.ResumeRun(s.t.Context(), &shoplakev1.ResumeRunRequest{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	if run = s.wait(run.GetName()); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED || run.GetError() != nil {
		s.t.Fatalf("the resumed %s ended as %v: %v", name, run.GetState(), run.GetError())
	}
	return run
}

func (s *shop) stagesOf(run string) map[string]*shoplakev1.Stage {
	s.t.Helper()
	list, err := s.runs.ListStages(s.t.Context(), &shoplakev1.ListStagesRequest{Parent: run})
	if err != nil {
		s.t.Fatal(err)
	}
	stages := map[string]*shoplakev1.Stage{}
	for _, stage := range list.GetStages() {
		stages[stage.GetTable()] = stage
	}
	return stages
}

func (s *shop) tablesNow() map[string]string {
	s.t.Helper()
	content := map[string]string{}
	for _, table := range []string{"silver.sales", "gold.daily_sales"} {
		answer, err := s.tables.PreviewTable(s.t.Context(), &shoplakev1.PreviewTableRequest{Name: "tables/" + table, PageSize: 1000})
		if err != nil {
			s.t.Fatal(err)
		}
		var rows []string
		for _, row := range answer.GetRowSet().GetRows() {
			rows = append(rows, fmt.Sprint(row.AsMap()))
		}
		slices.Sort(rows)
		content[table] = strings.Join(rows, "\n")
	}
	return content
}

// A data file that cannot be read fails the models; when it is there again, the resumed run does them and nothing else.
func TestResumeDoesWhatFailed(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\nb,2026-02-05,1,10\n")
	hidden := s.path("hidden")
	submitted, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if err != nil {
		t.Fatal(err)
	}
	// The file is hidden as soon as it is there.
	var file string
	s.watchUntil(submitted.GetName(), func(change *shoplakev1.WatchRunResponse) bool {
		for _, stage := range change.GetStages() {
			if file == "" && stage.GetTable() == "bronze.sales" && stage.GetState() == shoplakev1.StageState_STAGE_STATE_SUCCEEDED {
				file = s.hideData("bronze", "sales", hidden)
			}
		}
		return false
	})
	run := s.wait(submitted.GetName())
	if run.GetState() != shoplakev1.RunState_RUN_STATE_FAILED {
		t.Fatalf("run ended as %v though its data was hidden in %s", run.GetState(), file)
	}
	before := s.stagesOf(run.GetName())
	if state := before["gold.daily_sales"].GetState(); state != shoplakev1.StageState_STAGE_STATE_BLOCKED {
		t.Errorf("gold.daily_sales is %v", state)
	}
	if c := run.GetCounts(); c.GetStagesDone() != 1 || c.GetStages() != 3 {
		t.Errorf("of one stage that was done, one that failed and one that it blocks %d of %d count as done", c.GetStagesDone(), c.GetStages())
	}
	if err := os.Rename(hidden, file); err != nil {
		t.Fatal(err)
	}

	run = s.resume(run.GetName())
	s.wantRevenue("", "", "2", "11.0000")
	after := s.stagesOf(run.GetName())
	if b, a := before["bronze.sales"], after["bronze.sales"]; a.GetSnapshotId() != b.GetSnapshotId() || !a.GetEndTime().AsTime().Equal(b.GetEndTime().AsTime()) {
		t.Errorf("bronze.sales was done, and is done again: %v, before %v", a, b)
	}
	if run.GetResumes() != 1 || run.GetPublishedVersion() != 1 || !strings.Contains(strings.Join(run.GetNotices(), "\n"), "resumed after it had failed") {
		t.Errorf("the run was resumed %d times, published version %d and says %q", run.GetResumes(), run.GetPublishedVersion(), run.GetNotices())
	}
	s.refusedResume(run.GetName(), "has succeeded")
}

// hideData moves the one data file of a table away and says where it was.
func (s *shop) hideData(layer, table, to string) string {
	s.t.Helper()
	var file string
	err := filepath.WalkDir(s.path("lake", layer, table), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") {
			file = path
		}
		return err
	})
	if err == nil {
		err = os.Rename(file, to)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return file
}

func (s *shop) refusedResume(run, why string) {
	s.t.Helper()
	_, err := s.runs.ResumeRun(s.t.Context(), &shoplakev1.ResumeRunRequest{Name: run})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), why) {
		s.t.Errorf("resuming %s is refused by %v, want %q", run, err, why)
	}
}

// A run is cancelled after each of its events, resumed, and comes to what it would have come to undisturbed; until then it
// publishes nothing.
func TestCancelAndResumeAfterEachEvent(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 2)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\nb,2026-02-05,1,10\nbad,2026-02-06,1,-1\n")
	s.drop("sales", "b.csv", "sale_id,sale_date,version,amount\nc,2026-03-05,1,100\n")
	s.daily()
	want := s.tablesNow()
	cancelledIn := map[string]int{}
	for events := 1; ; events++ {
		run, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
		if err != nil {
			t.Fatal(err)
		}
		name, seen := run.GetName(), 0
		stages := map[string]shoplakev1.StageState{}
		run = s.watchUntil(name, func(change *shoplakev1.WatchRunResponse) bool {
			for _, stage := range change.GetStages() {
				stages[stage.GetTable()] = stage.GetState()
			}
			seen++
			return seen > events
		})
		if run.GetEndTime() != nil {
			break // it has no more events
		}
		cancelled := time.Now()
		if _, err := s.runs.CancelRun(t.Context(), &shoplakev1.CancelRunRequest{Name: name}); err != nil && status.Code(err) != codes.FailedPrecondition {
			t.Fatal(err)
		}
		run = s.wait(name)
		if run.GetState() == shoplakev1.RunState_RUN_STATE_SUCCEEDED {
			continue // it was being published
		}
		if took := run.GetEndTime().AsTime().Sub(cancelled); run.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED || took > 2*time.Second || run.GetPublishedVersion() != 0 {
			t.Fatalf("after %d events the cancelled run is %v, after %v, and published version %d", events, run.GetState(), took, run.GetPublishedVersion())
		}
		for table, state := range stages {
			cancelledIn[table+" "+state.String()]++
		}
		done := s.stagesOf(name)
		run = s.resume(name)
		if run.GetPublishedVersion() == 0 {
			t.Errorf("after %d events: the resumed run published nothing", events)
		}
		for table, stage := range s.stagesOf(name) {
			if old := done[table]; old.GetState() == shoplakev1.StageState_STAGE_STATE_SUCCEEDED && old.GetSnapshotId() != stage.GetSnapshotId() {
				t.Errorf("after %d events: %s was done and was done again", events, table)
			}
		}
		for table, rows := range s.tablesNow() {
			if rows != want[table] {
				t.Errorf("cancelled after %d events and resumed, %s holds\n%s\nwant\n%s", events, table, rows, want[table])
			}
		}
	}
	t.Logf("cancelled in %v", cancelledIn)
	for _, table := range []string{"bronze.sales", "silver.sales", "gold.daily_sales"} {
		if cancelledIn[table+" "+shoplakev1.StageState_STAGE_STATE_RUNNING.String()] == 0 {
			t.Errorf("no run was cancelled while %s was running", table)
		}
	}
	// A worker gives a task back after its result is in the log.
	s.await("no task is left", func() bool {
		health, err := s.health.GetHealth(t.Context(), &shoplakev1.GetHealthRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return health.GetTasksWaiting() == 0 && health.GetTasksRunning() == 0 && health.GetRunsOpen() == 0
	})
}

// Runs are cancelled and resumed by a filter; of those that write the same tables only the newest is resumed, and one whose
// tables another run has moved is refused.
func TestBulkCancelAndResume(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 0)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\n")
	var names []string
	for range 3 {
		run, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, run.GetName())
	}
	s.watchUntil(names[0], func(change *shoplakev1.WatchRunResponse) bool {
		return change.GetRun().GetState() == shoplakev1.RunState_RUN_STATE_RUNNING
	})
	s.refusedResume(names[0], "is under way")
	filter := `flow = "flows/daily"`
	for _, dry := range []bool{true, false} {
		answer, err := s.runs.CancelRuns(t.Context(), &shoplakev1.CancelRunsRequest{Filter: filter, ValidateOnly: dry})
		if err != nil || len(answer.GetRuns()) != 3 || len(answer.GetRefused()) != 0 || answer.GetRuns()[0].GetName() != names[2] {
			t.Fatalf("cancelled (dry: %t) are %v, %v", dry, answer, err)
		}
	}
	for _, name := range names {
		if run := s.wait(name); run.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED {
			t.Errorf("%s is %v", name, run.GetState())
		}
	}
	if answer, err := s.runs.CancelRuns(t.Context(), &shoplakev1.CancelRunsRequest{Filter: filter}); err != nil || len(answer.GetRuns())+len(answer.GetRefused()) != 0 {
		t.Errorf("cancelled again are %v, %v", answer, err)
	}
	for _, filter := range []string{"", " ", "state = CANCELED"} {
		if _, err := s.runs.ResumeRuns(t.Context(), &shoplakev1.ResumeRunsRequest{Filter: filter}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("the filter %q says nothing, and is answered by %v", filter, err)
		}
	}

	s.startWorker()
	// Two of them had not begun: they resume as if they were submitted now, and nothing keeps them from it.
	answer, err := s.runs.ResumeRuns(t.Context(), &shoplakev1.ResumeRunsRequest{Filter: "state = CANCELLED"})
	if err != nil || len(answer.GetRuns()) != 3 || len(answer.GetRefused()) != 0 {
		t.Fatalf("resumed are %v, %v", answer, err)
	}
	if again, err := s.runs.ResumeRun(t.Context(), &shoplakev1.ResumeRunRequest{Name: names[0]}); err != nil && status.Code(err) != codes.FailedPrecondition {
		t.Errorf("asking twice: %v, %v", again, err)
	}
	for _, name := range names {
		if run := s.wait(name); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
			t.Errorf("%s ended as %v: %v", name, run.GetState(), run.GetError())
		}
	}
	s.wantRevenue("", "", "1", "1.0000")

	// Now two that had begun; a third that was submitted later moves their tables.
	names = nil
	for range 2 {
		run, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, run.GetName())
		s.watchUntil(run.GetName(), func(change *shoplakev1.WatchRunResponse) bool {
			return change.GetRun().GetState() == shoplakev1.RunState_RUN_STATE_RUNNING
		})
		if _, err := s.runs.CancelRun(t.Context(), &shoplakev1.CancelRunRequest{Name: run.GetName()}); err != nil {
			t.Fatal(err)
		}
		s.wait(run.GetName())
	}
	answer, err = s.runs.ResumeRuns(t.Context(), &shoplakev1.ResumeRunsRequest{Filter: "state = CANCELLED", ValidateOnly: true})
	if err != nil || len(answer.GetRuns()) != 1 || answer.GetRuns()[0].GetName() != names[1] || len(answer.GetRefused()) != 1 || !strings.Contains(answer.GetRefused()[0].GetReason(), "is newer") {
		t.Fatalf("would be resumed: %v, %v", answer, err)
	}
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
	s.refusedResume(names[1], "submit a new run")
	s.wantRevenue("", "", "1", "1.0000")
}
