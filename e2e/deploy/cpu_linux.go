package deploy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticks is how many clock ticks Linux tells of a second, on every architecture that Go knows.
const ticks = 100

// CPU is the processor time that the process has used so far, all its threads together.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", p.name, err)
	}
	// The program's name, in parentheses, may hold spaces; utime and stime are the 12th and 13th field after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var used time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w", p.name, err)
		}
		used += time.Duration(n) * time.Second / ticks
	}
	return used, nil
}
