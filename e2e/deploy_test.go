//go:build unix

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

// deployPatience bounds each wait for other processes: nothing takes this long where all is well.
const deployPatience = 3 * time.Minute

// shared holds what tests share: the program, built once, and sample data. TestMain removes it.
var shared = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "shoplake-e2e-*") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := shared(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// program is the path of the built binary.
var program = sync.OnceValues(func() (string, error) {
	dir, err := shared()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "shoplake")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/shoplake").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w: %s", err, out)
	}
	return path, nil
})

// landing is a landing folder with three weeks of a small shop, whose files have rested.
var landing = sync.OnceValues(func() (string, error) {
	dir, err := shared()
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

func once[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// process is a running shoplake.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	output []string
	more   chan struct{} // closed at the next line
}

// launch starts the program.
func launch(t *testing.T, name, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(once(t, program), args...), done: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			p.add(lines.Text())
		}
		r.Close()
		p.add(fmt.Sprint("ended: ", p.cmd.Wait()))
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n  %s", name, strings.Join(p.output[max(0, len(p.output)-40):], "\n  "))
		}
	})
	return p
}

func (p *process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = append(p.output, line)
	close(p.more)
	p.more = make(chan struct{})
}

// says waits until the process has written a line that begins so.
func (p *process) says(prefix string) {
	p.t.Helper()
	timeout := time.After(deployPatience)
	for {
		p.mu.Lock()
		said := slices.ContainsFunc(p.output, func(line string) bool { return strings.HasPrefix(line, prefix) })
		more := p.more
		p.mu.Unlock()
		if said {
			return
		}
		select {
		case <-more:
		case <-p.done:
			p.t.Fatalf("%s ended without saying %q", p.name, prefix)
		case <-timeout:
			p.t.Fatalf("%s did not say %q", p.name, prefix)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// freeze stops the process where it is; thaw lets it go on.
func (p *process) freeze() { p.signal(syscall.SIGSTOP) }
func (p *process) thaw()   { p.signal(syscall.SIGCONT) }

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks the process to end, and waits until it has.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(deployPatience):
		p.t.Fatalf("%s does not stop", p.name)
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("%s ended with %v", p.name, p.cmd.ProcessState)
	}
}

// deployment is a Shoplake of several processes.
type deployment struct {
	*shop
	ctx     context.Context
	env     []string
	natsURL string
	ports   []string // API and NATS: they stay when the control plane is started again
	control *process
	workers map[string]*process // those that live, by id
	started int
}

// deploy starts a control plane with embedded NATS, and some workers; env goes to all processes.
func deploy(t *testing.T, workers int, env ...string) *deployment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deployPatience)
	t.Cleanup(cancel)
	d := &deployment{shop: &shop{t: t, dir: t.TempDir()}, ctx: ctx, workers: map[string]*process{}, ports: []string{freePort(t), freePort(t)}}
	d.natsURL = "nats://127.0.0.1:" + d.ports[1]
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OTEL_") && !strings.HasPrefix(v, "SHOPLAKE_") {
			d.env = append(d.env, v)
		}
	}
	d.env = append(append(d.env, "SHOPLAKE_ACK_WAIT=1s"), env...)
	d.startControlPlane()
	for range workers {
		d.startWorker()
	}
	var err error
	quick := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond}, MinConnectTimeout: 5 * time.Second}
	d.conn, err = grpc.NewClient("127.0.0.1:"+d.ports[0], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(quick),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.conn.Close() })
	d.runs, d.kpis, d.tables = shoplakev1.NewRunServiceClient(d.conn), shoplakev1.NewKpiServiceClient(d.conn), shoplakev1.NewTableServiceClient(d.conn)
	d.health = shoplakev1.NewHealthServiceClient(d.conn)
	return d
}

// freePort is a port that nobody listens at, below those that systems give to whoever asks for any: it can be used again
// after its owner was killed.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// startControlPlane starts the control plane, at first or again, and waits until it serves.
func (d *deployment) startControlPlane() {
	d.t.Helper()
	d.control = launch(d.t, "control plane", d.dir, d.env, "controlplane", "--data-dir", d.dir, "--landing", once(d.t, landing),
		"--listen", "127.0.0.1:"+d.ports[0], "--nats-port", d.ports[1], "--query-memory", "512MiB")
	d.control.says("Serving at ")
}

// startWorker starts a worker and does not wait for it.
func (d *deployment) startWorker() (id string, p *process) {
	d.t.Helper()
	d.started++
	id = "w" + strconv.Itoa(d.started)
	p = launch(d.t, "worker "+id, d.dir, d.env, "worker", "--id", id, "--data-dir", d.dir, "--landing", once(d.t, landing),
		"--nats", d.natsURL, "--nats-credentials", d.path("nats", "worker.json"), "--worker-memory", "512MiB", "--threads", "1")
	d.workers[id] = p
	return id, p
}

// killWorker kills a worker; another one has its place at once.
func (d *deployment) killWorker(id string) {
	d.t.Helper()
	d.startWorker()
	d.workers[id].kill()
	delete(d.workers, id)
}

// stopAll stops all processes in good order: what they have to export is then exported.
func (d *deployment) stopAll() {
	d.t.Helper()
	for _, w := range d.workers {
		w.stop()
	}
	d.control.stop()
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
