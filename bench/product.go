package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/shoplake/shoplake/bench/machine"
	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// measured is what one side did.
type measured struct {
	// took is the wall time of the whole, cpu what all processors spent on it.
	took, cpu time.Duration
	// others is what other processes used meanwhile: on a machine that others use the wall time says little.
	others time.Duration
	// peak is the greatest resident memory of the process in bytes; 0 where the system does not tell.
	peak   int64
	stages []stage
	// warehouse is the folder of the program's tables.
	warehouse string
}

// stage is one table's part.
type stage struct {
	table           string
	rowsIn, rowsOut int64
	rowsQuarantined int64
	tasks           int
	queued, running time.Duration // summed over tasks
	began, took     time.Duration // began counts from the run's start
}

func (m *measured) stage(table string) *stage {
	for i := range m.stages {
		if m.stages[i].table == table {
			return &m.stages[i]
		}
	}
	return nil
}

var servingAt = regexp.MustCompile(`Serving at (\S+:[0-9]+)`)

// startTimeout is how long the program may take until it serves.
const startTimeout = time.Minute

// measureProduct serves in a process of its own and runs the daily flow over the port, as any client would.
func measureProduct(ctx context.Context, o options, dir string) (_ *measured, err error) {
	args := []string{"serve", "--data-dir", dir, "--landing", filepath.Join(o.shop(), "landing"), "--listen", "127.0.0.1:0", "--nats-port", "-1",
		"--workers", fmt.Sprint(o.workers), "--schedules=false"}
	if o.memory != "" {
		args = append(args, "--worker-memory", o.memory)
	}
	server := exec.CommandContext(ctx, o.program, args...)
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 30 * time.Second
	var logs bytes.Buffer
	server.Stderr = &logs
	stdout, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		return errors.Join(server.Process.Signal(syscall.SIGTERM), server.Wait())
	}
	address := ""
	hung := time.AfterFunc(startTimeout, func() { server.Process.Kill() })
	for lines := bufio.NewScanner(stdout); address == "" && lines.Scan(); {
		if at := servingAt.FindStringSubmatch(lines.Text()); at != nil {
			address = at[1]
		}
	}
	hung.Stop()
	if address == "" {
		return nil, fmt.Errorf("the program does not serve: %w\n%s", stop(), logs.String())
	}
	before, busy := machine.Of(server.Process.Pid), machine.All()
	m, err := daily(ctx, address)
	if err == nil {
		m.cpu = machine.Of(server.Process.Pid) - before
		m.others = machine.All() - busy - m.cpu
		m.peak = machine.Peak(server.Process.Pid)
		m.warehouse = filepath.Join(dir, "lake")
	}
	if e := stop(); e != nil || err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, e), tail(logs.String(), 20))
	}
	return m, nil
}

// daily runs the flow.
func daily(ctx context.Context, address string) (*measured, error) {
	c, err := client.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	began := time.Now()
	run, err := c.Submit(ctx, "daily", client.SubmitOptions{})
	if err != nil {
		return nil, err
	}
	var stages []*shoplakev1.Stage
	if run, err = c.WaitRun(ctx, run.GetName(), func(u client.Update) { stages = u.Stages }); err != nil {
		return nil, err
	}
	m := &measured{took: time.Since(began)}
	for _, s := range stages {
		m.stages = append(m.stages, stage{
			table: s.GetTable(), rowsIn: s.GetRowsIn(), rowsOut: s.GetRowsOut(), rowsQuarantined: s.GetRowsQuarantined(), tasks: int(s.GetTasks()),
			queued: s.GetQueued().AsDuration(), running: s.GetRunning().AsDuration(),
			began: s.GetStartTime().AsTime().Sub(run.GetStartTime().AsTime()), took: s.GetEndTime().AsTime().Sub(s.GetStartTime().AsTime()),
		})
	}
	return m, nil
}

// tail is the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
