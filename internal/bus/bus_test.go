package bus

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// patience bounds each test: nothing waits this long where all is well.
const patience = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startServer is a server on a folder of its own, on a free port.
func startTestServer(t *testing.T, c ServerConfig) *Server {
	t.Helper()
	if c.StoreDir == "" {
		c.StoreDir = t.TempDir()
	}
	if c.Port == 0 {
		c.Port = -1
	}
	s, err := StartServer(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connect(t *testing.T, c Config) *Bus {
	t.Helper()
	c.Name = t.Name()
	b, err := Connect(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// setup is a bus on a server of its own, set up.
func setup(t *testing.T) *Bus {
	t.Helper()
	b := connect(t, Config{Server: startTestServer(t, ServerConfig{InProcessOnly: true})})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return b
}

// other is a second connection to the same server.
func other(t *testing.T, s *Server) *Bus {
	t.Helper()
	return connect(t, Config{URL: s.URL(), CredentialsFile: s.CredentialsFile()})
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func receive[T any](t *testing.T, ctx context.Context, c <-chan T) T {
	t.Helper()
	select {
	case v, open := <-c:
		if !open {
			t.Fatal("channel was closed")
		}
		return v
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func closed[T any](t *testing.T, ctx context.Context, c <-chan T) {
	t.Helper()
	for {
		select {
		case _, open := <-c:
			if !open {
				return
			}
		case <-ctx.Done():
			t.Fatal("channel was not closed")
		}
	}
}

func TestServerCredentials(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	s := startTestServer(t, ServerConfig{StoreDir: dir})
	if strings.Contains(s.URL(), "@") {
		t.Errorf("URL %s holds credentials", s.URL())
	}
	for _, file := range []string{s.CredentialsFile(), s.WorkerCredentialsFile()} {
		info := must[os.FileInfo](t)(os.Stat(file))
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	b := other(t, s)
	check(t, b.Setup(ctx))

	_, err := Connect(ctx, Config{URL: s.URL()})
	if err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("connecting without credentials: %v", err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.json")
	check(t, os.WriteFile(wrong, must[[]byte](t)(json.Marshal(login{User: "coordinator", Password: "guess"})), 0o600))
	if _, err := Connect(ctx, Config{URL: s.URL(), CredentialsFile: wrong}); err == nil || strings.Contains(err.Error(), "guess") {
		t.Errorf("connecting with a wrong password: %v", err)
	}
	if _, err := StartServer(ctx, ServerConfig{StoreDir: dir, Port: -1}); err == nil || !strings.Contains(err.Error(), "another shoplake") {
		t.Errorf("a second server on the same folder: %v", err)
	}
	if _, err := StartServer(ctx, ServerConfig{StoreDir: t.TempDir(), Host: "0.0.0.0", Port: -1}); err == nil {
		t.Error("the server listens on all addresses")
	}
}

func TestServerPortInUse(t *testing.T) {
	t.Parallel()
	s := startTestServer(t, ServerConfig{})
	_, err := StartServer(testContext(t), ServerConfig{StoreDir: t.TempDir(), Port: s.port()})
	if err == nil || !strings.Contains(err.Error(), "port is free") {
		t.Errorf("a second server on the same port: %v", err)
	}
}

func TestConnectWaitsForServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startTestServer(t, ServerConfig{StoreDir: dir})
	port, url, file := s.port(), s.URL(), s.CredentialsFile()
	s.Close()
	connected := make(chan error, 1)
	go func() {
		b, err := Connect(testContext(t), Config{URL: url, CredentialsFile: file})
		if err == nil {
			b.Close()
		}
		connected <- err
	}()
	startTestServer(t, ServerConfig{StoreDir: dir, Port: port})
	check(t, <-connected)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, Config{URL: "nats://me:secret@127.0.0.1:1"})
	wantError(t, err, context.DeadlineExceeded)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestSetupTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	check(t, b.Setup(testContext(t)))
}

func TestWorkerPermissions(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := startTestServer(t, ServerConfig{})
	b := other(t, s)
	check(t, b.Setup(ctx))
	w := connect(t, Config{URL: s.URL(), CredentialsFile: s.WorkerCredentialsFile()})

	source := must[*TaskSource](t)(w.Tasks(ctx, "default", TaskOptions{}))
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1)))
	d := must[*Delivery](t)(source.Next(ctx))
	check(t, d.Extend(ctx))
	check(t, w.Report(ctx, started("RUN1", "t1", "A1")))
	check(t, d.Ack(ctx))
	check(t, w.Heartbeat(ctx, &dispatchv1.WorkerStatus{WorkerId: "w1"}))
	check(t, w.RemoveWorker(ctx, "w1"))
	check(t, b.PutPipeline(ctx, "abc", []byte("content")))
	if got := must[[]byte](t)(w.Pipeline(ctx, "abc")); string(got) != "content" {
		t.Errorf("pipeline is %q", got)
	}
	must[uint64](t)(b.PutSetting(ctx, LakeSetting, []byte("id")))
	if got, _, err := w.Setting(ctx, LakeSetting); err != nil || string(got) != "id" {
		t.Errorf("the lake's id is %q, %v", got, err)
	}
	cancels := must[<-chan Cancelled](t)(w.WatchCancels(ctx))
	check(t, b.PublishCancel(ctx, Cancelled{RunID: "RUN1"}))
	if got := receive(t, ctx, cancels); got != (Cancelled{RunID: "RUN1"}) {
		t.Errorf("cancelled %v", got)
	}

	// What it may not do fails, it is not tried again forever.
	w.attempt = 200 * time.Millisecond
	wantError(t, w.Release(ctx, "default", task("RUN1", "t2", 1)), ErrNotPermitted)
	_, err := w.AppendRun(ctx, "RUN1", 0, submitted("daily"))
	wantError(t, err, ErrNotPermitted)
	_, err = w.PutSetting(ctx, LakeSetting, []byte("another"))
	wantError(t, err, ErrNotPermitted)
	must[uint64](t)(b.PutSetting(ctx, "secret", []byte("1234")))
	_, _, err = w.Setting(ctx, "secret")
	wantError(t, err, ErrNotPermitted)
	if runs := must[[]string](t)(b.Runs(ctx)); len(runs) != 0 {
		t.Errorf("a worker wrote %v", runs)
	}
}

func task(run, id string, release uint32) *dispatchv1.Task {
	return &dispatchv1.Task{
		RunId: run, Stage: "silver.orders", TaskId: id, Release: release, PlanSha256: "0123", ReleaseTime: timestamppb.Now(),
	}
}

func started(run, task, attempt string) *dispatchv1.TaskReport {
	return &dispatchv1.TaskReport{
		RunId: run, Stage: "silver.orders", TaskId: task, AttemptId: attempt,
		Outcome: &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}},
	}
}

func submitted(flow string) *dispatchv1.RunEvents {
	return &dispatchv1.RunEvents{Events: []*dispatchv1.RunEvent{{
		Time: timestamppb.Now(), Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: flow}},
	}}}
}
