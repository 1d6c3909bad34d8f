//go:build unix

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// TestMaintenanceKilled kills the whole program in the middle of maintenance: when it has removed some files and not others, and
// when it has committed a compaction and says nothing of it. The next life goes on with the same run.
func TestMaintenanceKilled(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"remove.file.before=kill@4", "remove.file.after=kill@7", "commit.catalog.after=kill@2", "append.stage_committed.before=kill@2"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			d := prepared(t)
			pipeline, err := filepath.Abs("testdata/tiny")
			if err != nil {
				t.Fatal(err)
			}
			serve := func(env ...string) *deploy.Process {
				p := deploy.Launch(t, "serve", d.dir, append(d.env, env...), deploy.Program(t), "serve", "--data-dir", d.dir, "--landing", d.path("landing"), "--pipeline", pipeline,
					"--listen", "127.0.0.1:"+d.ports[0], "--nats-port", d.ports[1], "--workers", "1", "--worker-memory", "512MiB", "--query-memory", "512MiB")
				p.Says("Serving at ")
				return p
			}
			first := serve()
			d.dial(d.ports[0])
			for n := 1; n <= 3; n++ {
				d.dropDay(n)
				d.daily()
			}
			before := d.cells()
			first.Stop()

			killed := serve("SHOPLAKE_FAILPOINTS=" + point)
			request := &shoplakev1.SubmitRunRequest{Flow: "flows/maintenance", RequestId: uuid.NewString()}
			if _, err := d.runs.SubmitRun(d.ctx, request); err != nil {
				t.Fatal(err)
			}
			select {
			case <-killed.Done():
			case <-d.ctx.Done():
				t.Fatal("the program did not come to the point where it is killed")
			}
			serve()
			d.wantSame(before)
			run, _ := d.run(request)
			d.wantSuccess(run)
			d.wantSame(before)
			d.maintain()
			wantNamed(t, d.openLake())
			_, stages := d.daily()
			wantUpToDate(t, stages)
		})
	}
}
