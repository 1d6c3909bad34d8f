//go:build unix

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// cancelTime is how soon after a cancel nothing of a run is left at work.
const cancelTime = 2 * time.Second

// slowModel reads DuckDB into minutes of work.
const slowModel = `-- description: Takes its time.
-- key: n
-- input silver.sales: all
SELECT CAST(sum(a.range * b.range % 7) AS DECIMAL(38,0)) AS n, CAST(count(*) AS BIGINT) AS sales
FROM range(1000000) a, range(1000000) b, (SELECT count(*) FROM silver.sales) c
`

// A cancel interrupts DuckDB in the middle of a query in another process: the run is CANCELLED and the slot is free for the next
// task within two seconds.
func TestCancelInterruptsAQuery(t *testing.T) {
	t.Parallel()
	d := prepared(t)
	d.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\n")
	folder := d.path("pipeline")
	if err := os.CopyFS(folder, tinyWith(t, map[string]string{"gold/slow.sql": slowModel})); err != nil {
		t.Fatal(err)
	}
	d.control = deploy.Launch(t, "control plane", d.dir, d.env, deploy.Program(t), "controlplane", "--data-dir", d.dir, "--pipeline", folder,
		"--listen", "127.0.0.1:"+d.ports[0], "--nats-port", d.ports[1], "--query-memory", "512MiB")
	d.control.Says("Serving at ")
	deploy.Launch(t, "worker", d.dir, d.env, deploy.Program(t), "worker", "--id", "w1", "--data-dir", d.dir,
		"--nats", d.natsURL, "--nats-credentials", d.path("nats", "worker.json"), "--worker-memory", "512MiB", "--threads", "1").Says("Worker ")
	d.dial(d.ports[0])
	run := d.submit(&shoplakev1.SubmitRunRequest{}).GetName()
	d.begins(run, "gold.slow")
	for range 3 { // the second and the third time in another life of the run
		<-time.After(time.Second) // DuckDB tells nobody that it is in the middle of a query
		cancelled := time.Now()
		if _, err := d.runs.CancelRun(d.ctx, &shoplakev1.CancelRunRequest{Name: run}); err != nil {
			t.Fatal(err)
		}
		ended := d.watch(run, func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true })
		took := time.Since(cancelled)
		if ended.GetState() != shoplakev1.RunState_RUN_STATE_CANCELLED || took > cancelTime {
			t.Errorf("the run is %v after %v", ended.GetState(), took)
		}
		// The only slot takes the next task.
		if _, err := d.runs.ResumeRun(d.ctx, &shoplakev1.ResumeRunRequest{Name: run}); err != nil {
			t.Fatal(err)
		}
		next := d.begins(run, "gold.slow").Sub(cancelled)
		t.Logf("CANCELLED after %v, the slot's next task began after %v", took, next)
		if next > cancelTime {
			t.Errorf("the slot's next task began %v after the cancel", next)
		}
	}
	if _, err := d.runs.CancelRun(d.ctx, &shoplakev1.CancelRunRequest{Name: run}); err != nil {
		t.Fatal(err)
	}
	d.watch(run, func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true })
}

// begins waits until a worker does a task of a run's stage, and says since when.
func (d *deployment) begins(run, table string) (at time.Time) {
	d.t.Helper()
	ended := d.watch(run, func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		for _, stage := range stages {
			if stage.GetTable() != table || stage.GetTasks() == 0 {
				continue
			}
			for _, task := range d.tasksOf(stage) {
				if task.GetState() == shoplakev1.TaskState_TASK_STATE_RUNNING {
					at = task.GetStartTime().AsTime()
				}
			}
		}
		return at.IsZero()
	})
	if at.IsZero() {
		d.t.Fatalf("%s ended as %v before a task of %s began: %v", run, ended.GetState(), table, ended.GetError())
	}
	return at
}

// A control plane that is killed in the middle of a backfill goes on with it when it is there again: no interval is built twice.
func TestBackfillSurvivesTheControlPlane(t *testing.T) {
	t.Parallel()
	d := prepared(t)
	folder := d.path("pipeline")
	if err := os.CopyFS(folder, months(t)); err != nil {
		t.Fatal(err)
	}
	start := func() *deploy.Process {
		p := deploy.Launch(t, "control plane", d.dir, d.env, deploy.Program(t), "controlplane", "--data-dir", d.dir, "--pipeline", folder,
			"--listen", "127.0.0.1:"+d.ports[0], "--nats-port", d.ports[1], "--query-memory", "512MiB")
		p.Says("Serving at ")
		return p
	}
	control := start()
	deploy.Launch(t, "worker", d.dir, d.env, deploy.Program(t), "worker", "--id", "w1", "--data-dir", d.dir,
		"--nats", d.natsURL, "--nats-credentials", d.path("nats", "worker.json"), "--worker-memory", "512MiB", "--threads", "1").Says("Worker ")
	d.dial(d.ports[0])
	var sales strings.Builder
	sales.WriteString("sale_id,sale_date,version,amount\n")
	for month := 1; month <= 6; month++ {
		fmt.Fprintf(&sales, "a%[1]d,2026-%02[1]d-05,1,%[1]d\n", month)
	}
	d.drop("sales", "a.csv", sales.String())
	old := time.Now().Add(-time.Minute) // it has rested
	if err := os.Chtimes(d.path("landing", "sales", "a.csv"), old, old); err != nil {
		t.Fatal(err)
	}
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	before := d.tablesNow()
	name := d.backfill(&shoplakev1.CreateBackfillRequest{StartDate: "2026-01-01", EndDate: "2026-07-01"}).GetName()
	for _, done := range []int32{1, 3} {
		d.awaitBackfill(name, func(b *shoplakev1.Backfill) bool { return b.GetIntervalsDone() >= done })
		control.Kill()
		control = start()
	}
	b := d.endOf(name)
	if b.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED || b.GetIntervalsDone() != 6 {
		t.Fatalf("it ended as %v", b)
	}
	list, err := d.runs.ListRuns(d.ctx, &shoplakev1.ListRunsRequest{Filter: "trigger = BACKFILL", PageSize: 100})
	if err != nil || len(list.GetRuns()) != 6 {
		t.Errorf("6 intervals took %d runs: %v", len(list.GetRuns()), err)
	}
	if got := d.tablesNow(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("tables were %v and are %v", before, got)
	}
}
