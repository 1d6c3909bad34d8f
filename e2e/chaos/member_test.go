//go:build unix

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shoplake/shoplake/e2e/deploy"
	"github.com/shoplake/shoplake/internal/failpoint"
)

// The kinds of processes.
const (
	natsServer   = "nats"
	controlPlane = "control"
	workerKind   = "worker"
)

// member is the place of a process in a deployment: whoever dies there is started again.
type member struct {
	s     *shop
	name  string
	kind  string
	port  string // API of a control plane
	proxy *proxy // to NATS; nil for NATS itself
	rng   *rand.Rand

	mu       sync.Mutex
	process  *deploy.Process
	killed   bool // by us, or by a fail point
	frozen   int  // how many want it frozen
	launched int
	ended    chan struct{} // closed when nobody is started any more
}

// command is what a member runs.
func (m *member) command() (path string, args, env []string) {
	s := m.s
	if m.kind == natsServer {
		return os.Args[0], nil, deploy.Environment(natsDir+"="+s.path("nats"), natsPort+"="+s.natsPort)
	}
	common := []string{"--data-dir", s.dir, "--landing", s.landing, "--nats", m.proxy.url()}
	env = deploy.Environment(failpoint.Variable + "=" + s.armed(m))
	if m.kind == controlPlane {
		return s.program, append([]string{"controlplane", "--listen", "127.0.0.1:" + m.port, "--pipeline", s.pipeline,
			"--nats-credentials", s.path("nats", "coordinator.json"), "--query-memory", "256MiB"}, common...), env
	}
	return s.program, append([]string{"worker", "--id", fmt.Sprintf("%s-%d", m.name, m.launched), "--nats-credentials", s.path("nats", "worker.json"),
		"--worker-memory", "256MiB", "--threads", "1", "--ack-wait", ackWait.String()}, common...), env
}

// keep starts the member's process, and again whenever it ends, until the shop closes.
func (m *member) keep() {
	defer close(m.ended)
	for m.s.ctx.Err() == nil {
		m.mu.Lock()
		m.launched++
		m.killed, m.frozen = false, 0
		path, args, env := m.command()
		process, err := deploy.Start(m.s.t, m.name, m.s.dir, env, m.hear, path, args...)
		m.process = process
		m.mu.Unlock()
		if err != nil {
			m.s.problem("%v", err)
			return
		}
		select {
		case <-process.Done():
		case <-m.s.ctx.Done():
			process.Kill()
			return
		}
		m.s.note("%s ended", m.name)
		m.s.happened("ended/" + m.name)
		m.mu.Lock()
		if !m.killed {
			m.s.endedByItself(m, process)
		}
		pause := time.Duration(50+m.rng.IntN(500)) * time.Millisecond
		m.mu.Unlock()
		m.s.pause(pause)
	}
}

// hear listens to what the process says.
func (m *member) hear(line string) {
	switch {
	case strings.HasPrefix(line, "failpoint "):
		point, action, _ := strings.Cut(strings.TrimPrefix(line, "failpoint "), ": ")
		m.s.fired(m, point, action)
	case strings.Contains(line, `msg="coordinating runs"`):
		m.s.led(m)
	case strings.HasPrefix(line, "Serving at "), strings.HasPrefix(line, "Worker "), line == "NATS serves":
		m.s.happened("up/" + m.name)
	case strings.HasPrefix(line, "panic:"), strings.HasPrefix(line, "fatal error:"), strings.HasPrefix(line, "WARNING: DATA RACE"):
		m.s.problem("%s: %s", m.name, line)
	}
}

// kill ends the process as a power cut would; it is started again after a while.
func (m *member) kill() {
	m.mu.Lock()
	process := m.process
	m.killed = true
	m.mu.Unlock()
	if process != nil {
		process.Kill()
	}
}

// freeze stops the process where it is for a while, then lets it go on. Where it froze itself, it is only woken.
func (m *member) freeze(d time.Duration, itself bool) {
	m.mu.Lock()
	process := m.process
	m.frozen++
	m.mu.Unlock()
	if process == nil {
		return
	}
	if !itself {
		process.Freeze()
	}
	m.s.pause(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != process {
		return
	}
	if m.frozen--; m.frozen == 0 {
		m.s.note("%s goes on", m.name)
		process.Thaw()
	}
}

// last is what the process said last.
func (m *member) last(n int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	return m.process.Last(n)
}
