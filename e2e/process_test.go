//go:build unix

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// cells is every cell that readers see.
func (d *deployment) cells() map[string][]string {
	d.t.Helper()
	all, err := deploy.Cells(d.ctx, d.conn)
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

// undisturbed is what a run gives that nobody disturbs, computed by whichever test asks first.
func undisturbed(t *testing.T) map[string][]string {
	t.Helper()
	quiet.Lock()
	defer quiet.Unlock()
	if quiet.cells == nil {
		d := deployed(t, 1)
		d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
		quiet.cells = d.cells()
		for name, lines := range quiet.cells {
			if len(lines) == 0 {
				t.Errorf("%s is empty: there is nothing to compare", name)
			}
		}
		d.stopAll()
	}
	return quiet.cells
}

var quiet struct {
	sync.Mutex
	cells map[string][]string
}

// wantCells compares all that readers see, cell by cell.
func (d *deployment) wantCells(want map[string][]string) {
	d.t.Helper()
	for _, difference := range deploy.Differences(d.cells(), want) {
		d.t.Error(difference)
	}
}

// snapshots tells the published snapshot of each table, and how many each has.
func (d *deployment) snapshots() map[string]string {
	d.t.Helper()
	list, err := d.tables.ListTables(d.ctx, &shoplakev1.ListTablesRequest{PageSize: 1000})
	if err != nil {
		d.t.Fatal(err)
	}
	all := map[string]string{}
	for _, table := range list.GetTables() {
		if table.GetName() == "tables/"+pipeline.RunsTable {
			continue // it grows by itself
		}
		history, err := d.tables.ListSnapshots(d.ctx, &shoplakev1.ListSnapshotsRequest{Parent: table.GetName(), PageSize: 1000})
		if err != nil {
			d.t.Fatal(err)
		}
		all[table.GetName()] = fmt.Sprintf("%d of %d", table.GetSnapshotId(), len(history.GetSnapshots()))
	}
	return all
}

// doers counts the tasks of a run that each worker did.
func (d *deployment) doers(run string) map[string]int {
	d.t.Helper()
	done := map[string]int{}
	for _, stage := range d.stagesOf(run) {
		for _, task := range d.tasksOf(stage) {
			if task.GetWorker() != "" {
				done[task.GetWorker()]++
			}
		}
	}
	return done
}

func TestProcessesShareARun(t *testing.T) {
	t.Parallel()
	// Longer than the test: what the third worker gets was waiting, not taken from the others.
	d := deployed(t, 2, "SHOPLAKE_ACK_WAIT=5m")
	run := d.submit(&shoplakev1.SubmitRunRequest{})
	both := func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return len(d.doers(run.GetName())) < 2 }
	d.watch(run.GetName(), both)
	first, second := d.workers["w1"], d.workers["w2"]
	first.Freeze()
	second.Freeze()
	third, _ := d.startWorker()
	ended := d.watch(run.GetName(), func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return d.doers(run.GetName())[third] == 0 })
	if ended.GetEndTime() != nil {
		t.Errorf("the run ended before the third worker got work")
	}
	list, err := d.health.ListWorkers(d.ctx, &shoplakev1.ListWorkersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.GetWorkers()); n != 3 {
		t.Errorf("%d workers are there, want 3: %v", n, list.GetWorkers())
	}
	first.Thaw()
	second.Thaw()
	d.wait(run.GetName())
	done := d.doers(run.GetName())
	for _, id := range []string{"w1", "w2", third} {
		if done[id] == 0 {
			t.Errorf("worker %s did nothing: %v", id, done)
		}
	}
	d.wantCells(undisturbed(t))
	d.stopAll()
}

func TestProcessesTakeARequestOnce(t *testing.T) {
	t.Parallel()
	d := deployed(t, 1)
	request := &shoplakev1.SubmitRunRequest{RequestId: uuid.NewString()}
	names := make([]string, 8)
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() {
			run, err := d.runs.SubmitRun(d.ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", RequestId: request.GetRequestId()})
			if err != nil {
				t.Error(err)
			}
			names[i] = run.GetName()
		})
	}
	all.Wait()
	if len(slices.Compact(names)) != 1 {
		t.Fatalf("one request began the runs %v", names)
	}
	first := d.wait(names[0])
	cells, snapshots := d.cells(), d.snapshots()

	same := func(when string) {
		t.Helper()
		run := d.submit(request)
		if run.GetName() != first.GetName() || run.GetState() != first.GetState() || run.GetPublishedVersion() != first.GetPublishedVersion() {
			t.Errorf("the same request %s is the run %v, want %v", when, run, first)
		}
		list, err := d.runs.ListRuns(d.ctx, &shoplakev1.ListRunsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.GetRuns()) != 1 {
			t.Errorf("%s there are the runs %v", when, list.GetRuns())
		}
	}
	same("after the run")
	d.control.Kill()
	d.startControlPlane()
	same("after a restart")

	again := d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	if again.GetName() == first.GetName() {
		t.Errorf("another request is the same run")
	}
	for _, stage := range d.stagesOf(again.GetName()) {
		if stage.GetState() != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
			t.Errorf("nothing changed, but %s is %v: %s", stage.GetTable(), stage.GetState(), stage.GetReason())
		}
	}
	if again.GetPublishedVersion() != first.GetPublishedVersion() {
		t.Errorf("nothing changed, but version %d is published after %d", again.GetPublishedVersion(), first.GetPublishedVersion())
	}
	if got := d.snapshots(); !maps.Equal(got, snapshots) {
		t.Errorf("nothing changed, but the snapshots are %v, were %v", got, snapshots)
	}
	d.wantCells(cells)
	d.wantCells(undisturbed(t))
}

func TestProcessesCancelARun(t *testing.T) {
	t.Parallel()
	d := deployed(t, 2)
	first := d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	snapshots := d.snapshots()

	// Cancelled when some tables are committed and tasks are under way.
	run := d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true})
	committed := map[string]bool{}
	var busy *deploy.Process
	d.watch(run.GetName(), func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		for _, stage := range stages {
			switch {
			case stage.GetState() == shoplakev1.StageState_STAGE_STATE_SUCCEEDED:
				committed[stage.GetTable()] = true
			case stage.GetState() == shoplakev1.StageState_STAGE_STATE_RUNNING && len(committed) > 0 && busy == nil:
				if _, busy = d.caught(stage, false); busy != nil {
					return false
				}
			}
		}
		return true
	})
	if busy == nil {
		t.Fatal("no worker was met at work after the first commit")
	}
	if _, err := d.runs.CancelRun(d.ctx, &shoplakev1.CancelRunRequest{Name: run.GetName()}); err != nil {
		t.Fatal(err)
	}
	busy.Thaw()
	run = d.watch(run.GetName(), func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true })
	if run.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED || run.GetPublishedVersion() != 0 {
		t.Errorf("the cancelled run is %v and published version %d", run.GetState(), run.GetPublishedVersion())
	}
	if _, err := d.runs.CancelRun(d.ctx, &shoplakev1.CancelRunRequest{Name: run.GetName()}); err != nil {
		t.Errorf("cancelling twice: %v", err)
	}
	d.wantCells(undisturbed(t))
	for table, now := range d.snapshots() {
		if before, _, _ := strings.Cut(snapshots[table], " "); !strings.HasPrefix(now, before) {
			t.Errorf("readers of %s see the snapshot %s of a run that was cancelled, not %s", table, now, snapshots[table])
		}
	}

	next := d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	if next.GetPublishedVersion() != first.GetPublishedVersion()+1 {
		t.Errorf("the next run published version %d after %d", next.GetPublishedVersion(), first.GetPublishedVersion())
	}
	d.wantCells(undisturbed(t))
	health, err := d.health.GetHealth(d.ctx, &shoplakev1.GetHealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if health.GetTasksWaiting() != 0 || health.GetTasksRunning() != 0 || health.GetRunsOpen() != 0 {
		t.Errorf("left are %d tasks waiting, %d running, %d open runs", health.GetTasksWaiting(), health.GetTasksRunning(), health.GetRunsOpen())
	}
	d.stopAll()
}
