package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// TestRunsAreToldToWhoeverWatches watches all runs, while others start, cancel and end them.
func TestRunsAreToldToWhoeverWatches(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// watch opens a stream and returns what it says at first, and how to hear what it says next.
	watch := func(filter string) (first []*shoplakev1.Run, next func() *shoplakev1.Run) {
		t.Helper()
		stream, err := s.runs.WatchRuns(ctx, &shoplakev1.WatchRunsRequest{Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		hear := func() []*shoplakev1.Run {
			t.Helper()
			change, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return change.GetRuns()
		}
		var left []*shoplakev1.Run
		return hear(), func() *shoplakev1.Run {
			t.Helper()
			for len(left) == 0 {
				left = hear()
			}
			run := left[0]
			left = left[1:]
			return run
		}
	}
	until := func(next func() *shoplakev1.Run, name string, state shoplakev1.RunState) *shoplakev1.Run {
		t.Helper()
		for {
			run := next()
			if run.GetName() == name && run.GetState() == state {
				return run
			}
			if run.GetEndTime() != nil && run.GetName() == name {
				t.Fatalf("%s ended as %v, want %v", name, run.GetState(), state)
			}
		}
	}

	open, next := watch("")
	if len(open) > 0 {
		t.Fatalf("nothing ran, but these are open: %v", open)
	}
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,10.50\n")
	submitted, err := s.runs.SubmitRun(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if err != nil {
		t.Fatal(err)
	}
	until(next, submitted.GetName(), shoplakev1.RunState_RUN_STATE_RUNNING)

	// Who comes later hears of the run, too; who asks for others does not.
	open, later := watch(`flow = "flows/daily"`)
	if len(open) != 1 || open[0].GetName() != submitted.GetName() {
		t.Fatalf("%s is open, but these are told: %v", submitted.GetName(), open)
	}
	if open, _ := watch("state = FAILED"); len(open) > 0 {
		t.Fatalf("no run failed, but these are told: %v", open)
	}
	if _, err := s.runs.CancelRun(ctx, &shoplakev1.CancelRunRequest{Name: submitted.GetName()}); err != nil {
		t.Fatal(err)
	}
	until(next, submitted.GetName(), shoplakev1.RunState_RUN_STATE_CANCELLED)
	until(later, submitted.GetName(), shoplakev1.RunState_RUN_STATE_CANCELLED)

	s.startWorker()
	if _, err := s.runs.ResumeRun(ctx, &shoplakev1.ResumeRunRequest{Name: submitted.GetName()}); err != nil {
		t.Fatal(err)
	}
	want := s.wait(submitted.GetName())
	for _, hear := range []func() *shoplakev1.Run{next, later} {
		got := until(hear, submitted.GetName(), shoplakev1.RunState_RUN_STATE_SUCCEEDED)
		if got.GetCounts().GetTasksDone() != want.GetCounts().GetTasks() || got.GetPublishedVersion() != want.GetPublishedVersion() || got.GetPublishedVersion() == 0 {
			t.Errorf("what was told at the end\n%v\nis not what the run is\n%v", got, want)
		}
	}
	if open, _ := watch(""); len(open) > 0 {
		t.Errorf("all has ended, but these are open: %v", open)
	}
	stream, err := s.runs.WatchRuns(ctx, &shoplakev1.WatchRunsRequest{Filter: "nonsense"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a filter that cannot be read: %v", err)
	}
}

// TestBackfillsAreToldToWhoeverWatches watches backfills, while one is made, gets on and ends.
func TestBackfillsAreToldToWhoeverWatches(t *testing.T) {
	t.Parallel()
	s := setup(t, months(t), 1)
	s.sellMonths(2)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	watch := func() (first []*shoplakev1.Backfill, next func() []*shoplakev1.Backfill) {
		t.Helper()
		stream, err := s.backfills().WatchBackfills(ctx, &shoplakev1.WatchBackfillsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		next = func() []*shoplakev1.Backfill {
			t.Helper()
			change, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return change.GetBackfills()
		}
		return next(), next
	}
	open, next := watch()
	if len(open) > 0 {
		t.Fatalf("nothing is backfilled, but these are told: %v", open)
	}
	made := s.backfill(&shoplakev1.CreateBackfillRequest{StartDate: "2026-01-01", EndDate: "2026-03-01"})
	run := false
	for b := (*shoplakev1.Backfill)(nil); b.GetEndTime() == nil; {
		for _, b = range next() {
			if b.GetName() != made.GetName() {
				t.Fatalf("only %s goes on, but this is told: %v", made.GetName(), b)
			}
			run = run || runningOf(b) != ""
			if b.GetEndTime() != nil && (b.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED || b.GetPartitionsDone() != b.GetPartitionsTotal()) {
				t.Errorf("at the end this is told: %v", b)
			}
		}
	}
	if !run {
		t.Error("it was never told that a run of the backfill is under way")
	}
	if open, _ := watch(); len(open) > 0 {
		t.Errorf("the backfill is over, but these are told: %v", open)
	}
}
