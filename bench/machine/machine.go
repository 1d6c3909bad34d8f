// Package machine tells what processes cost the machine while something is measured: beside other work a measurement says little.
package machine

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// All is the processor time that all processes have used; 0 where the system does not tell.
func All() time.Duration {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0
	}
	c := stat.CPUTotal
	return seconds(c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ)
}

// Of is the processor time that a process has used; 0 where the system does not tell.
func Of(pid int) time.Duration {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return seconds(stat.CPUTime())
}

// Peak is the greatest resident memory that a process had, in bytes; 0 where the system does not tell.
func Peak(pid int) int64 {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	status, err := p.NewStatus()
	if err != nil {
		return 0
	}
	return int64(status.VmHWM)
}

// family is the processor time of a process and of all that it started, those that have ended included.
func family(pid int) time.Duration {
	all, err := procfs.AllProcs()
	if err != nil {
		return 0
	}
	children := map[int][]procfs.ProcStat{}
	var self procfs.ProcStat
	for _, p := range all {
		stat, err := p.Stat()
		if err != nil {
			continue // it has ended
		}
		if children[stat.PPID] = append(children[stat.PPID], stat); stat.PID == pid {
			self = stat
		}
	}
	const ticks = 100 // of a second, on every architecture that Go knows
	var used func(procfs.ProcStat) time.Duration
	used = func(p procfs.ProcStat) time.Duration {
		sum := time.Duration(int(p.UTime)+int(p.STime)+int(p.CUTime)+int(p.CSTime)) * time.Second / ticks
		for _, child := range children[p.PID] {
			sum += used(child)
		}
		return sum
	}
	return used(self)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Watch sees what other processes use while this one, and those that it starts, are measured.
type Watch struct {
	begun    time.Time
	all, own time.Duration
}

// Begin begins to watch.
func Begin() Watch { return Watch{time.Now(), All(), family(os.Getpid())} }

// others is the part of the machine's processors that others used since, from 0 to 1.
func (w Watch) others() float64 {
	used := (All() - w.all) - (family(os.Getpid()) - w.own)
	return max(0, used.Seconds()/time.Since(w.begun).Seconds()/float64(runtime.NumCPU()))
}

// idle is how much of the machine others may use while it counts as idle.
const idle = 0.05

// Judge fails the benchmark where a promise is broken. On a machine that others used meanwhile it only says so: that proves nothing.
func (w Watch) Judge(b *testing.B, kept bool, format string, args ...any) {
	b.Helper()
	if kept {
		return
	}
	others := w.others()
	if others > idle {
		b.Logf("NOT KEPT, AND NOT JUDGED: "+format+"; others used %.0f %% of the machine meanwhile, measure again when it is idle", append(args, others*100)...)
		return
	}
	b.Errorf("PROMISE BROKEN: "+format+" (others used %.0f %% of the machine meanwhile)", append(args, others*100)...)
}
