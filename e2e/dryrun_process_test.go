//go:build unix

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// answer is what became of a dry run that is asked for aside.
type answer struct {
	run *shoplakev1.Run
	err error
}

// dryDeployed is a deployment whose workers have registered.
func dryDeployed(t *testing.T, workers int) *deployment {
	t.Helper()
	d := deployed(t, workers)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := d.health.ListWorkers(d.ctx, &shoplakev1.ListWorkersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.GetWorkers()) == workers {
			return d
		}
		<-tick.C
	}
}

// askDry asks for a dry run and goes on; it gives the dry run's name when it has begun.
func (d *deployment) askDry(ctx context.Context) (name string, answers <-chan answer) {
	d.t.Helper()
	known := map[string]bool{}
	for _, run := range d.dryRuns() {
		known[run.GetName()] = true
	}
	c := make(chan answer, 1)
	go func() {
		run, err := d.runs.SubmitRun(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", ValidateOnly: true})
		c <- answer{run, err}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, run := range d.dryRuns() {
			if !known[run.GetName()] {
				return run.GetName(), c
			}
		}
		select {
		case a := <-c:
			d.t.Fatalf("the dry run was answered before it was listed: %v, %v", a.run, a.err)
		case <-tick.C:
		}
	}
}

func (d *deployment) dryRuns() []*shoplakev1.Run {
	d.t.Helper()
	list, err := d.runs.ListRuns(d.ctx, &shoplakev1.ListRunsRequest{Filter: "dry_run = true"})
	if err != nil {
		d.t.Fatal(err)
	}
	return list.GetRuns()
}

// caughtIn watches a run until a worker is met at one of its tasks, and freezes it.
func (d *deployment) caughtIn(run string) (id string, worker *deploy.Process) {
	d.t.Helper()
	d.watch(run, func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		for _, stage := range stages {
			if stage.GetState() != shoplakev1.StageState_STAGE_STATE_RUNNING {
				continue
			}
			if task, caught := d.caught(stage, false); caught != nil {
				id, worker = task.GetWorker(), caught
				return false
			}
		}
		return true
	})
	if worker == nil {
		d.t.Fatalf("no worker was met at work in %s", run)
	}
	return id, worker
}

// wantNoTrace sees that a dry run left no table's file behind.
func (d *deployment) wantNoTrace(runs ...string) {
	d.t.Helper()
	for _, path := range d.lakeFiles() {
		for _, run := range runs {
			if strings.Contains(path, strings.TrimPrefix(run, "runs/")) {
				d.t.Errorf("%s left %s", run, path)
			}
		}
	}
}

// TestDryRunBesideARun stops the workers in the middle of a real run, which then stands for a long one.
func TestDryRunBesideARun(t *testing.T) {
	t.Parallel()
	d := deployed(t, 1, "SHOPLAKE_ACK_WAIT=5m")
	long := d.submit(&shoplakev1.SubmitRunRequest{})
	_, held := d.caughtIn(long.GetName())
	d.startWorker()

	dry, err := d.runs.SubmitRun(d.ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", ValidateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if dry.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED || len(dry.GetPlannedStages()) == 0 {
		t.Errorf("the dry run is %v: %v", dry.GetState(), dry.GetError())
	}
	if notices := strings.Join(dry.GetNotices(), "\n"); !strings.Contains(notices, strings.TrimPrefix(long.GetName(), "runs/")+" is under way") {
		t.Errorf("the dry run does not say what is under way: %s", notices)
	}
	if run, err := d.runs.GetRun(d.ctx, &shoplakev1.GetRunRequest{Name: long.GetName()}); err != nil || run.GetState() != shoplakev1.RunState_RUN_STATE_RUNNING {
		t.Fatalf("the real run is %v, %v: the dry run was not beside it", run.GetState(), err)
	}
	d.wantNoTrace(dry.GetName())

	held.Thaw()
	d.wait(long.GetName())
	d.wantCells(undisturbed(t))
	list, err := d.runs.ListRuns(d.ctx, &shoplakev1.ListRunsRequest{})
	if err != nil || len(list.GetRuns()) != 1 || list.GetRuns()[0].GetName() != long.GetName() {
		t.Errorf("the runs are %v, %v; want the real one alone", list.GetRuns(), err)
	}
	health, err := d.health.GetHealth(d.ctx, &shoplakev1.GetHealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(health.GetFlows()) != 1 || health.GetFlows()[0].GetLastRun() != long.GetName() {
		t.Errorf("the health is of %v, not of the real run", health.GetFlows())
	}
	d.stopAll()
}

func TestDryRunIsCancelled(t *testing.T) {
	t.Parallel()
	d := dryDeployed(t, 1)
	// By name.
	name, answers := d.askDry(d.ctx)
	_, held := d.caughtIn(name)
	if _, err := d.runs.CancelRun(d.ctx, &shoplakev1.CancelRunRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	held.Thaw()
	if a := <-answers; a.err != nil || a.run.GetName() != name || a.run.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED {
		t.Errorf("the cancelled dry run is %v, %v", a.run, a.err)
	}
	// By its caller, who goes away.
	ctx, leave := context.WithCancel(d.ctx)
	second, answers := d.askDry(ctx)
	_, held = d.caughtIn(second)
	leave()
	if a := <-answers; status.Code(a.err) != codes.Canceled {
		t.Errorf("who went away got %v, %v", a.run, a.err)
	}
	held.Thaw()
	run := d.watch(second, func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true })
	if run.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED {
		t.Errorf("the dry run that nobody waits for is %v", run.GetState())
	}
	health, err := d.health.GetHealth(d.ctx, &shoplakev1.GetHealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(health.GetFlows()) != 0 || health.GetRunsOpen() != 0 || health.GetTasksWaiting() != 0 {
		t.Errorf("the health counts dry runs: %v", health)
	}
	d.stopAll()
	d.wantNoTrace(name, second)
}

func TestDryRunSurvivesCrashes(t *testing.T) {
	t.Parallel()
	d := dryDeployed(t, 2)
	name, answers := d.askDry(d.ctx)
	id, _ := d.caughtIn(name)
	d.killWorker(id)
	d.control.Kill()
	d.startControlPlane()
	if a := <-answers; status.Code(a.err) != codes.Unavailable {
		t.Errorf("the answer of a control plane that died is %v, %v", a.run, a.err)
	}
	run := d.wait(name)
	if !run.GetDryRun() || run.GetPublishedVersion() != 0 {
		t.Errorf("the dry run became %v", run)
	}
	told := map[string]*shoplakev1.Stage{}
	for _, stage := range d.stagesOf(name) {
		told[stage.GetTable()] = stage
	}
	long := d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	for _, stage := range d.stagesOf(long.GetName()) {
		want, got := planOf(told[stage.GetTable()]), planOf(stage)
		if told[stage.GetTable()].GetPlannedMore() == "" && len(want) != len(got) {
			t.Errorf("of %s %d partitions were told, %d were built", stage.GetTable(), len(want), len(got))
		}
	}
	d.wantCells(undisturbed(t))
	d.stopAll()
}

// TestDryRunWithoutWorkers asks when the last worker leaves in the middle, and when there was none from the start.
func TestDryRunWithoutWorkers(t *testing.T) {
	t.Parallel()
	d := dryDeployed(t, 1)
	name, answers := d.askDry(d.ctx)
	id, _ := d.caughtIn(name)
	d.workers[id].Kill()
	delete(d.workers, id)
	left := <-answers
	if run := d.watch(name, func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true }); run.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED {
		t.Errorf("the dry run whose worker left is %v", run.GetState())
	}
	run, err := d.runs.SubmitRun(d.ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", ValidateOnly: true})
	for what, a := range map[string]answer{"the last worker left": left, "there is no worker": {run, err}} {
		if a.err != nil {
			t.Errorf("%s: %v", what, a.err)
			continue
		}
		if notices := strings.Join(a.run.GetNotices(), "\n"); !strings.Contains(notices, "no worker is registered") {
			t.Errorf("%s: the dry run says: %s", what, notices)
		}
		for _, stage := range a.run.GetPlannedStages() {
			switch {
			case strings.HasPrefix(stage.GetTable(), "bronze.") && stage.GetPlannedTotal() == 0:
				t.Errorf("%s: no file of %s is told", what, stage.GetTable())
			case stage.GetTable() == "silver.orders" && !strings.Contains(stage.GetPlannedMore(), "unread files touch: orders/2026-01-01.csv and "):
				t.Errorf("%s: of silver.orders it is told: %v, %s", what, stage.GetPlanned(), stage.GetPlannedMore())
			case stage.GetTable() == "gold.dim_product" && stage.GetPlannedTotal() != 1:
				t.Errorf("%s: gold.dim_product is %v", what, stage)
			}
		}
	}
	d.stopAll()
}
