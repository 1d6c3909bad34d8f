//go:build unix

package e2e

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/lake"
)

// takeover is how soon another control plane must coordinate after the one that did was killed.
const takeover = 5 * time.Second

// standby is one of several control planes.
type standby struct {
	*deploy.Process
	port string
	// leads tells when it began to coordinate.
	leads chan time.Time
}

// startStandby starts a control plane that reaches NATS by its URL.
func (d *deployment) startStandby(nats *bus.Server) *standby {
	d.t.Helper()
	s := &standby{port: deploy.FreePort(d.t), leads: make(chan time.Time, 16)}
	heard := func(line string) {
		if strings.Contains(line, `msg="coordinating runs"`) {
			s.leads <- time.Now()
		}
	}
	var err error
	s.Process, err = deploy.Start(d.t, "control plane at "+s.port, d.dir, d.env, heard, deploy.Program(d.t), "controlplane", "--data-dir", d.dir,
		"--landing", deploy.Once(d.t, landing), "--listen", "127.0.0.1:"+s.port, "--nats", d.natsURL, "--nats-credentials", nats.CredentialsFile(),
		"--query-memory", "512MiB")
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		s.Kill()
		if d.t.Failed() {
			d.t.Logf("the control plane at %s said:\n  %s", s.port, strings.Join(s.Last(40), "\n  "))
		}
	})
	s.Says("Serving at ")
	return s
}

// startNATS starts a NATS server in the test's process, as an operator's own would be beside the program.
func (d *deployment) startNATS() *bus.Server {
	d.t.Helper()
	port, err := strconv.Atoi(d.ports[1])
	if err != nil {
		d.t.Fatal(err)
	}
	server, err := bus.StartServer(d.ctx, bus.ServerConfig{StoreDir: d.path("nats"), Port: port})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(server.Close)
	return server
}

// begun waits until a worker has a task of the run.
func (d *deployment) begun(run string) {
	d.t.Helper()
	d.watch(run, func(_ *shoplakev1.Run, stages []*shoplakev1.Stage) bool {
		for _, stage := range stages {
			if stage.GetState() == shoplakev1.StageState_STAGE_STATE_RUNNING && d.running(stage, false) != nil {
				return false
			}
		}
		return true
	})
}

// Of two control planes on one NATS and one data folder the one takes over when the other is killed, and the run goes on; and
// after NATS was away for a moment, too.
func TestTakeover(t *testing.T) {
	t.Parallel()
	d := prepared(t)
	nats := d.startNATS()
	first := d.startStandby(nats)
	<-first.leads
	second := d.startStandby(nats)
	d.startWorker()
	d.startWorker()
	d.dial(second.port)

	run := d.submit(&shoplakev1.SubmitRunRequest{}).GetName()
	d.begun(run)
	killed := time.Now()
	first.Kill()
	select {
	case at := <-second.leads:
		if took := at.Sub(killed); took > takeover {
			t.Errorf("the other control plane coordinates after %v, want at most %v", took, takeover)
		} else {
			t.Logf("the other control plane coordinates after %v", took)
		}
	case <-d.ctx.Done():
		t.Fatal("the other control plane does not take over")
	}
	d.wait(run)
	d.wantOneCommit(run)
	d.wantCells(undisturbed(t))

	// The scratch folder of the killed one is cleared by the next that starts; that of the living one stays.
	third := d.startStandby(nats)
	folders := 0
	entries, err := os.ReadDir(d.path("scratch"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "controlplane-") {
			folders++
		}
	}
	if folders != 2 {
		t.Errorf("%d scratch folders of control planes, want 2: %v", folders, entries)
	}

	run = d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true}).GetName()
	d.begun(run)
	nats.Close()
	d.startNATS()
	d.wait(run)
	d.wantOneCommit(run)
	d.wantCells(undisturbed(t))

	// One that is stopped in good order gives the lease back at once.
	stopped := time.Now()
	for len(second.leads) > 0 {
		<-second.leads
	}
	second.Stop()
	if at := <-third.leads; at.Sub(stopped) > takeover {
		t.Errorf("the third control plane coordinates after %v", at.Sub(stopped))
	}
	d.dial(third.port)
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
}

// The lake's tables have seen epochs that a new NATS folder knows nothing of: elections go on above them, nothing is read twice,
// and who coordinated before the loss stays refused.
func TestLostNATSFolder(t *testing.T) {
	t.Parallel()
	d := deployed(t, 1)
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	for range 3 { // the lease is renewed, and given to others
		d.control.Stop()
		d.startControlPlane()
		d.wait(d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true}).GetName())
	}
	before := d.cells()
	d.stopAll()
	clear(d.workers)
	if err := os.RemoveAll(d.path("nats")); err != nil {
		t.Fatal(err)
	}
	tables, err := lake.Open(d.ctx, lake.Config{Warehouse: d.path("lake")})
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	old, err := tables.HighestEpoch(d.ctx)
	if err != nil || old == 0 {
		t.Fatalf("the tables have seen epoch %d: %v", old, err)
	}

	d.startControlPlane()
	d.startWorker()
	run := d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	if read := run.GetCounts().GetRowsRead(); read != 0 {
		t.Errorf("%d rows were read twice", read)
	}
	d.wantCells(before)
	run = d.wait(d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true}).GetName())
	d.wantOneCommit(run.GetName())
	d.wantCells(before)
	if err := tables.Fence(d.ctx, "silver.orders", old); !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a coordinator from before the loss commits: %v", err)
	}
}
