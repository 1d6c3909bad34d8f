// Command shoplake is the whole of Shoplake: the server, its workers, and the commands that talk to them. Each verb has a
// file of its own, which reads its configuration and calls the package that does the work.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first signal asks to stop; the second ends the process at once, since the handler is gone by then.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status: 0 on success only.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var silent silentError
	if !errors.As(err, &silent) {
		explain(stderr, cmd, err)
	}
	return 1
}

// silentError ends with status 1 after everything has been said.
type silentError struct{}

func (silentError) Error() string { return "the command failed" }
