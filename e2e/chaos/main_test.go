//go:build unix

// Package chaos disturbs Shoplake while it works: processes are killed, frozen and cut off, NATS dies and comes again, disks
// are full, at random and at each step of the protocol. What a seed does follows from the seed. Afterwards everything must be
// as if nobody had disturbed anything.
package chaos

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/shoplake/shoplake/e2e/deploy"
	"github.com/shoplake/shoplake/internal/bus"
)

// natsDir and natsPort make the test program a NATS server on this folder and port: one that can be killed, and come again.
const (
	natsDir  = "CHAOS_NATS_DIR"
	natsPort = "CHAOS_NATS_PORT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(natsDir); dir != "" {
		if err := serveNATS(dir, os.Getenv(natsPort)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	clearDisks()
	code := m.Run()
	deploy.Clean()
	os.Exit(code)
}

// serveNATS serves until it is killed.
func serveNATS(dir, port string) error {
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("%s: %w", natsPort, err)
	}
	if _, err := bus.StartServer(context.Background(), bus.ServerConfig{StoreDir: dir, Port: number}); err != nil {
		return err
	}
	fmt.Println("NATS serves")
	select {}
}
