//go:build unix

package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/failpoint"
)

// checkTask is the task that runs a table's checks.
const checkTask = "check"

// running is a task of a stage, of its checks or not, that a living worker has; nil where there is none now.
func (d *deployment) running(stage *shoplakev1.Stage, check bool) *shoplakev1.Task {
	d.t.Helper()
	for _, task := range d.tasksOf(stage) {
		if task.GetState() == shoplakev1.TaskState_TASK_STATE_RUNNING && d.workers[task.GetWorker()] != nil &&
			strings.HasSuffix(task.GetName(), "/tasks/"+checkTask) == check {
			return task
		}
	}
	return nil
}

// caught freezes a worker that does a task of the stage; nil where all were quicker.
func (d *deployment) caught(stage *shoplakev1.Stage, check bool) (*shoplakev1.Task, *deploy.Process) {
	d.t.Helper()
	task := d.running(stage, check)
	if task == nil {
		return nil, nil
	}
	worker := d.workers[task.GetWorker()]
	worker.Freeze()
	if now := d.running(stage, check); now == nil || now.GetName() != task.GetName() || now.GetWorker() != task.GetWorker() {
		worker.Thaw() // it was done meanwhile
		return nil, nil
	}
	return task, worker
}

// attempts is how often each task of a stage was begun, by the task's name.
func (d *deployment) attempts(stage *shoplakev1.Stage) map[string]int32 {
	d.t.Helper()
	n := map[string]int32{}
	for _, task := range d.tasksOf(stage) {
		n[task.GetName()] = task.GetAttempts()
	}
	return n
}

// killInStages watches a run and kills a worker in the middle of each stage, and of its checks, that is not among the hit ones.
func (d *deployment) killInStages(name string, hit map[string]bool) {
	d.t.Helper()
	killed := map[string]string{} // what was hit, by the task
	run := d.watch(name, func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		for _, stage := range stages {
			check := stage.GetState() == shoplakev1.StageState_STAGE_STATE_CHECKING
			key := stage.GetTable()
			if check {
				key = checkTask // of one stage is enough
			}
			if !check && stage.GetState() != shoplakev1.StageState_STAGE_STATE_RUNNING || hit[key] || killed[key] != "" {
				continue
			}
			if task, worker := d.caught(stage, check); worker != nil {
				killed[key] = task.GetName()
				d.killWorker(task.GetWorker())
			}
		}
		return true
	})
	d.wantSuccess(run)
	for _, stage := range d.stagesOf(name) {
		attempts := d.attempts(stage)
		for key, task := range killed {
			// A worker whose result was on its way when it was frozen had done its task.
			if attempts[task] > 1 {
				hit[key] = true
			}
		}
	}
}

// wantOneCommit sees that a run made one snapshot of each table that it wrote, however often it was tried.
func (d *deployment) wantOneCommit(run string) {
	d.t.Helper()
	for _, stage := range d.stagesOf(run) {
		history, err := d.tables.ListSnapshots(d.ctx, &shoplakev1.ListSnapshotsRequest{Parent: "tables/" + stage.GetTable(), PageSize: 1000})
		if err != nil {
			d.t.Fatal(err)
		}
		n := 0
		for _, snapshot := range history.GetSnapshots() {
			if snapshot.GetSummary()["shoplake.run"] == strings.TrimPrefix(run, "runs/") {
				n++
			}
		}
		if n != 1 {
			d.t.Errorf("%s made %d snapshots of %s, want 1", run, n, stage.GetTable())
		}
	}
}

func TestCrashOfAWorkerInEachStage(t *testing.T) {
	t.Parallel()
	traces := collect(t)
	d := deployed(t, 2, traces.env()...)
	hit := map[string]bool{}
	var runs []string
	for round := 1; ; round++ {
		run := d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: round > 1})
		runs = append(runs, run.GetName())
		d.killInStages(run.GetName(), hit)
		d.wantOneCommit(run.GetName())
		d.wantCells(undisturbed(t))
		want := []string{checkTask}
		for _, stage := range d.stagesOf(run.GetName()) {
			want = append(want, stage.GetTable())
		}
		if want = slices.DeleteFunc(want, func(key string) bool { return hit[key] }); len(want) == 0 {
			break
		}
		t.Logf("round %d: no worker was killed in the middle of %v; they were too quick", round, want)
		if round == 8 {
			t.Fatal("giving up")
		}
	}
	// The living ones cleared up after the dead.
	last, _ := d.startWorker()
	d.workers[last].Says("Worker " + last + " takes tasks")
	folders, err := os.ReadDir(d.path("scratch"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if name := folder.Name(); d.workers[name] == nil && !strings.HasPrefix(name, "controlplane-") {
			t.Errorf("%s, the scratch folder of a dead worker, is still there", name)
		}
	}
	whole := map[string][]*shoplakev1.Stage{}
	for _, run := range runs {
		whole[run] = d.stagesOf(run)
	}
	tried := d.tried(whole)
	details := d.detailsOf(runs)
	d.stopAll()
	for _, run := range details {
		traces.wantWhole(t, run, whole[run.GetName()], tried)
	}
}

func TestCrashOfNobodyButASleeper(t *testing.T) {
	t.Parallel()
	d := deployed(t, 2)
	run := d.submit(&shoplakev1.SubmitRunRequest{})
	var slept *deploy.Process
	var stage *shoplakev1.Stage
	d.watch(run.GetName(), func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		for _, stage = range stages {
			if stage.GetState() == shoplakev1.StageState_STAGE_STATE_RUNNING {
				if _, slept = d.caught(stage, false); slept != nil {
					return false
				}
			}
		}
		return true
	})
	if slept == nil {
		t.Fatal("no worker was met at work")
	}
	// Another one does its task; then it wakes up and ends what nobody waits for any more.
	d.watch(run.GetName(), func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		return !slices.ContainsFunc(stages, func(now *shoplakev1.Stage) bool {
			return now.GetTable() == stage.GetTable() && now.GetState() == shoplakev1.StageState_STAGE_STATE_SUCCEEDED
		})
	})
	slept.Thaw()
	d.wait(run.GetName())
	d.wantOneCommit(run.GetName())
	d.wantCells(undisturbed(t))
	d.stopAll()
	d.startControlPlane()
	d.wantCells(undisturbed(t))
}

func TestCrashOfTheControlPlane(t *testing.T) {
	t.Parallel()
	traces := collect(t)
	d := deployed(t, 2, traces.env()...)
	run := d.submit(&shoplakev1.SubmitRunRequest{})
	kill := []shoplakev1.StageState{
		shoplakev1.StageState_STAGE_STATE_RUNNING, shoplakev1.StageState_STAGE_STATE_COMMITTING, shoplakev1.StageState_STAGE_STATE_CHECKING,
	}
	for _, state := range kill {
		ended := d.watch(run.GetName(), func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
			return !slices.ContainsFunc(stages, func(stage *shoplakev1.Stage) bool { return stage.GetState() == state })
		})
		if ended.GetEndTime() != nil {
			t.Fatalf("the run ended before a stage was seen as %v", state)
		}
		d.control.Kill()
		d.startControlPlane()
	}
	again := d.wait(run.GetName())
	if again.GetTraceId() != run.GetTraceId() {
		t.Errorf("the run's trace is %s, was %s", again.GetTraceId(), run.GetTraceId())
	}
	// Also what it recorded last is in the trace, though it did not live to export it.
	d.control.Kill()
	d.startControlPlane()
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	d.wantOneCommit(run.GetName())
	d.wantCells(undisturbed(t))
	stages := map[string][]*shoplakev1.Stage{run.GetName(): d.stagesOf(run.GetName())}
	tried := d.tried(stages)
	d.stopAll()
	traces.wantWhole(t, again, stages[run.GetName()], tried)
}

// Somebody clears the lake's folders of what no table names yet, while a commit of it is announced and nobody coordinates: the
// stages are planned again.
func TestStagedFilesGoAway(t *testing.T) {
	t.Parallel()
	d := prepared(t, failpoint.Variable+"="+string(failpoint.CommitTable)+".before=kill")
	d.startControlPlane()
	d.startWorker()
	d.dial(d.ports[0])
	run := d.submit(&shoplakev1.SubmitRunRequest{})
	<-d.control.Done()
	removed := 0
	err := filepath.WalkDir(d.path("lake"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" {
			return err
		}
		removed++
		return os.Remove(path)
	})
	if err != nil || removed == 0 {
		t.Fatalf("%d staged files were removed: %v", removed, err)
	}
	d.env = deploy.Environment("SHOPLAKE_ACK_WAIT=1s")
	d.startControlPlane()
	again := d.wait(run.GetName())
	d.wantSuccess(again)
	d.wantOneCommit(run.GetName())
	d.wantCells(undisturbed(t))
}
