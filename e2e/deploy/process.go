//go:build unix

// Package deploy launches Shoplake as processes of their own, for tests: it builds the program, starts, freezes and kills
// processes, and reads every cell that readers see.
package deploy

import (
	"bufio"
	"errors"
	"fmt"
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
)

// Patience bounds each wait for other processes: nothing takes this long where all is well.
const Patience = 3 * time.Minute

// Shared is a folder for what the tests of a package share, made when first asked for. Clean removes it.
var Shared = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "shoplake-e2e-*") })

// Clean removes what tests share: call it at the end of TestMain.
func Clean() {
	if dir, err := Shared(); err == nil {
		os.RemoveAll(dir)
	}
}

// build makes the binary, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := Shared()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "shoplake")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/shoplake/shoplake/cmd/shoplake").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w: %s", err, out)
	}
	return path, nil
})

// Program is the path of the built binary.
func Program(t testing.TB) string {
	t.Helper()
	return Once(t, build)
}

// Once gives what a sync.OnceValues made, and fails the test where that failed.
func Once[T any](t testing.TB, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Environment is this process's own, less what would configure the program, plus what is added. Flows do not run by themselves:
// a test that goes on while it is time for one would be surprised.
func Environment(add ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OTEL_") && !strings.HasPrefix(v, "SHOPLAKE_") {
			env = append(env, v)
		}
	}
	return append(append(env, "SHOPLAKE_SCHEDULES=false"), add...)
}

// FreePort is a port that nobody listens at, below those that systems give to whoever asks for any: it can be used again
// after its owner was killed.
func FreePort(t testing.TB) string {
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

// Process is a running program.
type Process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	output []string
	more   chan struct{} // closed at the next line
}

// Launch starts a program in a folder. It is killed at the end of the test, and what it said last is told where that failed.
func Launch(t testing.TB, name, dir string, env []string, path string, args ...string) *Process {
	t.Helper()
	p, err := Start(t, name, dir, env, nil, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n  %s", name, strings.Join(p.Last(40), "\n  "))
		}
	})
	return p
}

// Start starts a program, calls heard with each line that it writes, where heard is not nil, and leaves its end to the caller.
func Start(t testing.TB, name, dir string, env []string, heard func(line string), path string, args ...string) (*Process, error) {
	p := &Process{t: t, name: name, cmd: exec.Command(path, args...), done: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.add(lines.Text())
			if heard != nil {
				heard(lines.Text())
			}
		}
		r.Close()
		p.add(fmt.Sprint("ended: ", p.cmd.Wait()))
		close(p.done)
	}()
	return p, nil
}

func (p *Process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = append(p.output, line)
	close(p.more)
	p.more = make(chan struct{})
}

// Last are the last lines that the process wrote.
func (p *Process) Last(n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.output[max(0, len(p.output)-n):])
}

// Says waits until the process has written a line that begins so.
func (p *Process) Says(prefix string) {
	p.t.Helper()
	timeout := time.After(Patience)
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

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// Freeze stops the process where it is; Thaw lets it go on.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

// Kill ends the process as a power cut would, and waits until it has ended.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end, and waits until it has, in good order.
func (p *Process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.t.Fatalf("%s does not stop", p.name)
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("%s ended with %v", p.name, p.cmd.ProcessState)
	}
}
