//go:build !unix

package failpoint

import "os"

// die ends the process at once: nothing is flushed, nothing deferred is done.
func die() { os.Exit(137) }

// stop does nothing: this system has no signal that halts a process.
func stop() {}
