//go:build unix

package failpoint

import (
	"os"
	"syscall"
)

// die ends the process at once: nothing is flushed, nothing deferred is done.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it arrives
}

// stop halts all threads of the process until SIGCONT.
func stop() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }
