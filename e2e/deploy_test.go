//go:build unix

package e2e

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

func TestMain(m *testing.M) {
	code := m.Run()
	deploy.Clean()
	os.Exit(code)
}

// landing is a landing folder with three weeks of a small shop, whose files have rested.
var landing = sync.OnceValues(func() (string, error) {
	dir, err := deploy.Shared()
	if err != nil {
		return "", err
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	config := sample.Config{Out: dir, Start: start, Days: 21, Orders: 900, Events: 5000, Products: 60, Seed: 7, Dirt: 0.01}
	if _, err := sample.Generate(context.Background(), config); err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "landing")
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chtimes(path, start, start)
	})
	return dir, err
})

// deployment is a Shoplake of several processes.
type deployment struct {
	*shop
	ctx     context.Context
	env     []string
	natsURL string
	ports   []string // API and NATS: they stay when the control plane is started again
	control *deploy.Process
	workers map[string]*deploy.Process // those that live, by id
	started int
}

// deployed starts a control plane with embedded NATS, and some workers; env goes to all processes.
func deployed(t *testing.T, workers int, env ...string) *deployment {
	t.Helper()
	d := prepared(t, env...)
	d.startControlPlane()
	for range workers {
		d.startWorker()
	}
	d.dial(d.ports[0])
	return d
}

// prepared is a deployment of no process yet.
func prepared(t *testing.T, env ...string) *deployment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deploy.Patience)
	t.Cleanup(cancel)
	d := &deployment{shop: &shop{t: t, dir: t.TempDir()}, ctx: ctx, workers: map[string]*deploy.Process{}, ports: []string{deploy.FreePort(t), deploy.FreePort(t)}}
	d.natsURL = "nats://127.0.0.1:" + d.ports[1]
	d.env = deploy.Environment(append([]string{"SHOPLAKE_ACK_WAIT=1s"}, env...)...)
	return d
}

// dial makes the control plane at a port the one that is asked.
func (d *deployment) dial(port string) {
	d.t.Helper()
	quick := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond}, MinConnectTimeout: 5 * time.Second}
	conn, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(quick),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	d.conn = conn
	d.runs, d.kpis, d.tables = shoplakev1.NewRunServiceClient(conn), shoplakev1.NewKpiServiceClient(conn), shoplakev1.NewTableServiceClient(conn)
	d.health = shoplakev1.NewHealthServiceClient(conn)
}

// startControlPlane starts the control plane, at first or again, and waits until it serves.
func (d *deployment) startControlPlane() {
	d.t.Helper()
	d.control = deploy.Launch(d.t, "control plane", d.dir, d.env, deploy.Program(d.t), "controlplane", "--data-dir", d.dir, "--landing", deploy.Once(d.t, landing),
		"--listen", "127.0.0.1:"+d.ports[0], "--nats-port", d.ports[1], "--query-memory", "512MiB")
	d.control.Says("Serving at ")
}

// startWorker starts a worker and does not wait for it.
func (d *deployment) startWorker() (id string, p *deploy.Process) {
	d.t.Helper()
	d.started++
	id = "w" + strconv.Itoa(d.started)
	p = deploy.Launch(d.t, "worker "+id, d.dir, d.env, deploy.Program(d.t), "worker", "--id", id, "--data-dir", d.dir, "--landing", deploy.Once(d.t, landing),
		"--nats", d.natsURL, "--nats-credentials", d.path("nats", "worker.json"), "--worker-memory", "512MiB", "--threads", "1")
	d.workers[id] = p
	return id, p
}

// killWorker kills a worker; another one has its place at once.
func (d *deployment) killWorker(id string) {
	d.t.Helper()
	d.startWorker()
	d.workers[id].Kill()
	delete(d.workers, id)
}

// stopAll stops all processes in good order: what they have to export is then exported.
func (d *deployment) stopAll() {
	d.t.Helper()
	for _, w := range d.workers {
		w.Stop()
	}
	d.control.Stop()
}

// submit begins a run of the daily flow.
func (d *deployment) submit(request *shoplakev1.SubmitRunRequest) *shoplakev1.Run {
	d.t.Helper()
	request.Flow = "flows/daily"
	run, err := d.runs.SubmitRun(d.ctx, request)
	if err != nil {
		d.t.Fatal(err)
	}
	return run
}

// watch calls f with each change of a run, until f returns false or the run has ended. It goes on after the control plane was
// away.
func (d *deployment) watch(name string, f func(*shoplakev1.Run, []*shoplakev1.Stage) bool) *shoplakev1.Run {
	d.t.Helper()
	for {
		stream, err := d.runs.WatchRun(d.ctx, &shoplakev1.WatchRunRequest{Name: name})
		for err == nil {
			var change *shoplakev1.WatchRunResponse
			if change, err = stream.Recv(); err != nil {
				break
			}
			if run := change.GetRun(); !f(run, change.GetStages()) || run.GetEndTime() != nil {
				return run
			}
		}
		if status.Code(err) != codes.Unavailable {
			d.t.Fatalf("watch %s: %v", name, err)
		}
	}
}

// wait watches a run to its end, which must be a success.
func (d *deployment) wait(name string) *shoplakev1.Run {
	d.t.Helper()
	run := d.watch(name, func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true })
	d.wantSuccess(run)
	return run
}

func (d *deployment) wantSuccess(run *shoplakev1.Run) {
	d.t.Helper()
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		d.t.Fatalf("%s ended as %v: %v", run.GetName(), run.GetState(), run.GetError())
	}
}

// stagesOf lists the stages of a run.
func (d *deployment) stagesOf(run string) []*shoplakev1.Stage {
	d.t.Helper()
	stages, err := d.runs.ListStages(d.ctx, &shoplakev1.ListStagesRequest{Parent: run})
	if err != nil {
		d.t.Fatal(err)
	}
	return stages.GetStages()
}

// tasksOf lists the tasks of a stage, the check included.
func (d *deployment) tasksOf(stage *shoplakev1.Stage) []*shoplakev1.Task {
	d.t.Helper()
	tasks, err := d.runs.ListTasks(d.ctx, &shoplakev1.ListTasksRequest{Parent: stage.GetName(), PageSize: 1000})
	if err != nil {
		d.t.Fatal(err)
	}
	return tasks.GetTasks()
}
