package bus

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// serverEnv makes the test program a NATS server on this folder.
const serverEnv = "SHOPLAKE_TEST_NATS_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverEnv); dir != "" {
		s, err := StartServer(context.Background(), ServerConfig{StoreDir: dir, Port: -1})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.URL())
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

// startProcess starts a server as a process of its own.
func startProcess(t *testing.T, dir string) (kill func(), url string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	killed := false
	kill = func() {
		if !killed {
			killed = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatal("the server did not start")
	}
	return kill, line.Text()
}

// A server killed by SIGKILL keeps all that it acknowledged, and what it gave out and was not acknowledged comes again.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	kill, url := startProcess(t, dir)
	b := connect(t, Config{URL: url, CredentialsFile: dir + "/coordinator.json"})
	check(t, b.Setup(ctx))
	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{AckWait: time.Second}))
	const n = 200
	var seq uint64
	for i := range n {
		seq = must[uint64](t)(b.AppendRun(ctx, "RUN1", seq, submitted(fmt.Sprint(i))))
		check(t, b.Release(ctx, "default", task("RUN1", fmt.Sprint(i), 1)))
		d := must[*Delivery](t)(source.Next(ctx))
		if i%2 == 0 {
			check(t, d.Ack(ctx))
		}
	}
	must[uint64](t)(b.MovePublished(ctx, &dispatchv1.Published{Version: 1}, 0))
	kill()
	b.Close()

	_, url = startProcess(t, dir)
	b = connect(t, Config{URL: url, CredentialsFile: dir + "/coordinator.json"})
	check(t, b.Setup(ctx))
	logged := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0))
	if len(logged) != n || logged[n-1].Seq != seq {
		t.Fatalf("%d of %d messages are left", len(logged), n)
	}
	if p, _, err := b.Published(ctx); err != nil || p.GetVersion() != 1 {
		t.Errorf("published %v, %v", p, err)
	}
	source = must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{AckWait: time.Second}))
	seen := make(map[string]bool)
	for len(seen) < n/2 {
		d := must[*Delivery](t)(source.Next(ctx))
		var i int
		check(t, json.Unmarshal([]byte(d.Task.GetTaskId()), &i))
		if i%2 == 0 {
			t.Errorf("task %d came again though it was acknowledged", i)
		}
		seen[d.Task.GetTaskId()] = true
		check(t, d.Ack(ctx))
	}
	// The server may have forgotten that it saw an acknowledgement, and finds that the task is gone when its time is over.
	for {
		waiting, pending, err := b.Queue(ctx, "default")
		check(t, err)
		if waiting == 0 && pending == 0 {
			break
		}
		check(t, pause(ctx, 50*time.Millisecond))
	}
}

// Who waits for an answer of a server that went away with the request is told at once, and asks the next one.
func TestNobodyWaitsForADeadServer(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	s := startTestServer(t, ServerConfig{StoreDir: dir})
	port := s.port()
	b := other(t, s)
	check(t, b.Setup(ctx))
	check(t, b.PutPipeline(ctx, "abc", []byte("content")))
	b.attempt = patience
	var tries, transfers atomic.Int32
	asked, ended := make(chan struct{}, 2), make(chan error, 2)
	// An answer that never comes, the first time.
	silent := func(ctx context.Context, n *atomic.Int32) error {
		if n.Add(1) > 1 {
			return nil
		}
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	go func() {
		ended <- b.request(ctx, "ask", func(ctx context.Context) error { return silent(ctx, &tries) })
	}()
	go func() {
		ended <- b.transfer(ctx, "fetch", pipelineStore, func(ctx context.Context, _ jetstream.ObjectStore) error { return silent(ctx, &transfers) })
	}()
	<-asked
	<-asked
	s.Close()
	startTestServer(t, ServerConfig{StoreDir: dir, Port: port})
	begin := time.Now()
	check(t, <-ended)
	check(t, <-ended)
	if waited := time.Since(begin); waited > objectTimeout/2 {
		t.Errorf("waited %v for a server that was gone", waited)
	}
}
