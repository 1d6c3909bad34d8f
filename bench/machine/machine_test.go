package machine

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// What this process and those that it started use is its own; the rest is others'.
func TestFamily(t *testing.T) {
	t.Parallel()
	if All() == 0 {
		t.Skip("the system does not tell what processes use")
	}
	before := family(os.Getpid())
	// A child that is waited for, and one that still runs: some tenths of a second of work each.
	work := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; exec sleep 600")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	waited := work()
	if err := waited.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waited.Wait()
	ended := family(os.Getpid()) - before
	running := work()
	both := family(os.Getpid()) - before
	if child := Of(running.Process.Pid); ended < 20*time.Millisecond || child < 20*time.Millisecond || both < ended+child {
		t.Errorf("a child that ended used %v, one that runs %v, both %v", ended, child, both)
	}
	if Peak(os.Getpid()) < 1<<20 {
		t.Errorf("this process had %d bytes at most", Peak(os.Getpid()))
	}
}
