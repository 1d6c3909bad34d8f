//go:build unix

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shoplake/shoplake/e2e/deploy"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/failpoint"
)

const (
	// keep, set in the environment, leaves the data folder of a seed that failed.
	keep = "CHAOS_KEEP"
	// keepFile marks a data folder that is left.
	keepFile = ".keep"
	// folderPrefix begins the name of a data folder; the process and the seed follow.
	folderPrefix = "shoplake-chaos-"
	// leaseTTL is how long the program's lease lasts: who sleeps longer is no longer the coordinator.
	leaseTTL = 3 * time.Second
	// ackWait is after how long without a sign of life a task goes to another worker.
	ackWait = time.Second
	// patience is how long a run may take under any disturbance.
	patience = 3 * time.Minute
)

// shop is a deployment of a NATS server, two control planes and two workers, each a process that is started again when it ends.
type shop struct {
	t        *testing.T
	dir      string // the data folder; a disk of its own where that is permitted
	ownDisk  bool
	landing  string
	pipeline string
	program  string
	natsPort string
	tally    *tally
	seed     uint64
	begin    time.Time

	ctx  context.Context // ends when the shop closes
	stop context.CancelFunc
	// under are disturbances and watchers that are under way.
	under sync.WaitGroup

	nats     *member
	controls []*member
	workers  []*member
	conns    []*grpc.ClientConn // of the control planes
	bus      *bus.Bus           // of our own, to NATS directly

	mu       sync.Mutex
	history  []string // what happened, in order
	problems []string
	leader   *member
	shots    []string        // what to arm, as SHOPLAKE_FAILPOINTS takes it
	gone     map[string]bool // points that have fired
	happen   map[string]chan struct{}
	seen     map[string]int
	diskFull bool
	// mayFail says that a run may fail: an error was injected, or the disk was full.
	mayFail bool
	at      progress
	runs    []string // ids
	digest  string   // of the pipeline
	// disturbing are disturbances that have begun.
	disturbing sync.WaitGroup
}

// path is a place in the data folder.
func (s *shop) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// open starts a shop, with fail points armed that the seed draws from rng; none where it is nil.
func open(t *testing.T, c *tally, seed uint64, rng *rand.Rand) *shop {
	t.Helper()
	s := &shop{t: t, landing: t.TempDir(), pipeline: pipelineFolder(t), program: deploy.Program(t), natsPort: deploy.FreePort(t), tally: c, seed: seed, begin: time.Now(),
		gone: map[string]bool{}, happen: map[string]chan struct{}{}, seen: map[string]int{}}
	var err error
	if s.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-%d-*", folderPrefix, os.Getpid(), seed)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if kept(t, s.dir) {
			return
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	s.ownDisk = newDisk(t, s.dir)
	if rng != nil {
		var armed []shot
		armed, s.shots, s.mayFail = drawShots(seed, rng, s.ownDisk)
		c.count(func(c *tally) {
			for _, sh := range armed {
				c.armed[sh]++
			}
			if s.ownDisk {
				c.ownDisks++
			}
		})
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	s.nats = s.member(natsServer, natsServer, seed)
	for i := range 2 {
		m := s.member(controlPlane, fmt.Sprintf("control-%d", i+1), seed)
		m.port = deploy.FreePort(t)
		s.controls = append(s.controls, m)
		s.workers = append(s.workers, s.member(workerKind, fmt.Sprintf("worker-%d", i+1), seed))
		s.conns = append(s.conns, dial(t, m.port))
	}
	t.Cleanup(s.close)
	for _, m := range s.members() {
		if m.kind != natsServer {
			m.proxy = newProxy(t, "127.0.0.1:"+s.natsPort)
		}
	}
	go s.nats.keep()
	s.await("up/"+natsServer, patience)
	connecting, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if s.bus, err = bus.Connect(connecting, bus.Config{URL: "nats://127.0.0.1:" + s.natsPort, CredentialsFile: s.path("nats", "coordinator.json"), Name: "chaos"}); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.members() {
		if m != s.nats {
			go m.keep()
		}
	}
	return s
}

// kept says whether a data folder is left to be looked at.
func kept(t testing.TB, dir string) bool {
	if os.Getenv(keep) == "" || !t.Failed() {
		return false
	}
	err := os.WriteFile(filepath.Join(dir, keepFile), nil, 0o600)
	t.Logf("the data folder stays, perhaps as a disk of its own (umount it when it has been looked at): %s %v", dir, err)
	return true
}

func (s *shop) member(kind, name string, seed uint64) *member {
	return &member{s: s, kind: kind, name: name, rng: rand.New(rand.NewPCG(seed, uint64(len(name))<<8|uint64(name[len(name)-1]))), ended: make(chan struct{})}
}

func (s *shop) members() []*member {
	return slices.Concat([]*member{s.nats}, s.controls, s.workers)
}

// dial makes a connection that finds a control plane again quickly.
func dial(t testing.TB, port string) *grpc.ClientConn {
	t.Helper()
	quick := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond}, MinConnectTimeout: 2 * time.Second}
	conn, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(quick))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// close ends all processes, and tells what happened where the test failed.
func (s *shop) close() {
	s.stop()
	for _, m := range s.members() {
		if m.launched > 0 {
			<-m.ended
		}
	}
	s.under.Wait()
	if s.bus != nil {
		s.bus.Close()
	}
	for _, problem := range s.problems {
		s.t.Error(problem)
	}
	if !s.t.Failed() {
		return
	}
	s.t.Logf("to live it again: make chaos CHAOS_SEED=%s", s.t.Name()[strings.LastIndexByte(s.t.Name(), '/')+1:])
	s.t.Logf("what happened:\n  %s", strings.Join(s.history, "\n  "))
	for _, m := range s.members() {
		s.t.Logf("%s said:\n  %s", m.name, strings.Join(m.last(40), "\n  "))
	}
}

// note writes down what happened, and when.
func (s *shop) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, fmt.Sprintf("%7.3fs ", time.Since(s.begin).Seconds())+fmt.Sprintf(format, args...))
}

// problem is something that must not be; the test goes on, and fails at its end.
func (s *shop) problem(format string, args ...any) {
	s.note("PROBLEM: "+format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// armed is what a member's environment arms: what has not fired yet.
func (s *shop) armed(m *member) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var armed []string
	for _, text := range s.shots {
		if point, _, _ := strings.Cut(text, "="); !s.gone[point] {
			armed = append(armed, text)
		}
	}
	return strings.Join(armed, ",")
}

// fired is told when a process passes an armed point.
func (s *shop) fired(m *member, point, action string) {
	s.note("%s: fail point %s: %s", m.name, point, action)
	s.tally.count(func(c *tally) { c.fired[shot{point, action}]++ })
	s.mu.Lock()
	s.gone[point] = true
	s.mu.Unlock()
	s.happened("fired/" + point + "/" + action)
	switch action {
	case kill:
		m.mu.Lock()
		m.killed = true
		m.mu.Unlock()
	case freeze:
		s.under.Go(func() { m.freeze(s.sleep(m), true) })
	}
}

// sleep is longer than what the process holds would last.
func (s *shop) sleep(m *member) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kind == workerKind {
		return ackWait + time.Duration(200+m.rng.IntN(1500))*time.Millisecond
	}
	return leaseTTL + time.Duration(500+m.rng.IntN(2000))*time.Millisecond
}

// led is told when a control plane begins to coordinate.
func (s *shop) led(m *member) {
	s.note("%s coordinates", m.name)
	s.mu.Lock()
	s.leader = m
	s.mu.Unlock()
	s.happened("lead")
	s.happened("lead/" + m.name)
}

// roles gives the control plane that coordinates, as far as is known, and the other one.
func (s *shop) roles() (leader, standby *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == s.controls[1] {
		return s.controls[1], s.controls[0]
	}
	return s.controls[0], s.controls[1]
}

// endedByItself notes a process that nobody killed, and why: it may give up where it starts while NATS or its lake is away, or
// the disk is full, and is started again like every other.
func (s *shop) endedByItself(m *member, p *deploy.Process) {
	last := strings.Join(p.Last(3), " | ")
	s.note("%s ended by itself: %s", m.name, last)
	why := "another reason"
	for words, short := range map[string]string{"no space left": "a full disk", "disk is full": "a full disk", failpoint.ErrInjected.Error(): "an injected error",
		"is one running?": "no control plane yet", "there is no lake.json": "no lake yet", "right disk mounted?": "no lake yet", "stopped by itself": "a part that stopped"} {
		if strings.Contains(last, words) {
			why = short
		}
	}
	s.tally.count(func(c *tally) { c.disturbances["(a "+m.kind+" ended by itself: "+why+")"]++ })
}

// happened tells whoever waits for an event of that name.
func (s *shop) happened(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[event]++
	if waiting := s.happen[event]; waiting != nil {
		close(waiting)
		delete(s.happen, event)
	}
}

// next is closed at the next event of that name.
func (s *shop) next(event string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.happen[event] == nil {
		s.happen[event] = make(chan struct{})
	}
	return s.happen[event]
}

// await waits until an event has happened, now or before.
func (s *shop) await(event string, d time.Duration) {
	s.t.Helper()
	next := s.next(event)
	s.mu.Lock()
	seen := s.seen[event] > 0
	s.mu.Unlock()
	if seen {
		return
	}
	select {
	case <-next:
	case <-time.After(d):
		s.t.Fatalf("%s did not happen in %v", event, d)
	}
}

// pause waits, or until the shop closes.
func (s *shop) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}
