package page

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

const (
	openPages = 50
	// renewal is the shortest interval that the page's settings offer; a minute is what they begin with.
	renewal = 15 * time.Second
)

// TestOpenPages holds what 50 open pages cost the server: less than one core, while nothing happens and while a run goes that all
// of them hear of, at whose end all of them ask everything again. What a page asks is recorded from a real one.
func TestOpenPages(t *testing.T) {
	dir := t.TempDir()
	add := func(data sample.Config) {
		t.Helper()
		data.Out = dir
		if _, err := sample.Generate(t.Context(), data); err != nil {
			t.Fatal(err)
		}
		rested := time.Now().Add(-time.Minute)
		err := filepath.WalkDir(filepath.Join(dir, "landing"), func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, rested, rested))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(sample.Config{Start: day(1, 1), Days: 90, Orders: 9000, Events: 20000, Products: 300, Seed: 1, Dirt: 0.01})
	port, nats := deploy.FreePort(t), deploy.FreePort(t)
	program, env, landing := deploy.Program(t), deploy.Environment(), filepath.Join(dir, "landing")
	control := deploy.Launch(t, "control plane", dir, env, program, "controlplane", "--data-dir", dir, "--landing", landing,
		"--listen", "127.0.0.1:"+port, "--nats-port", nats, "--query-memory", "512MiB")
	control.Says("Serving at ")
	deploy.Launch(t, "worker", dir, env, program, "worker", "--data-dir", dir, "--landing", landing, "--nats", "nats://127.0.0.1:"+nats,
		"--nats-credentials", filepath.Join(dir, "nats", "worker.json"), "--worker-memory", "512MiB")
	conn, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &shop{t: t, dir: dir, address: "127.0.0.1:" + port, conn: conn}
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})

	pages := record(t, s.address, []string{"/", "/?range=90d&filter.category=Electronics", "/quality?source=orders", "/pipeline", "/tables"})
	used := func() time.Duration {
		t.Helper()
		cpu, err := control.CPU()
		if err != nil {
			t.Fatal(err)
		}
		return cpu
	}
	// window measures what the server's processor does while f goes on.
	var whole, all time.Duration
	window := func(what string, f func(context.Context, *errgroup.Group)) {
		t.Helper()
		group, ctx := errgroup.WithContext(t.Context())
		began, before := time.Now(), used()
		f(ctx, group)
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		took, cpu := time.Since(began), used()-before
		whole, all = whole+took, all+cpu
		t.Logf("%d open pages, %s: %.2f cores over %.1f s", openPages, what, cpu.Seconds()/took.Seconds(), took.Seconds())
	}
	window(fmt.Sprintf("renewed every %.0f s", renewal.Seconds()), func(ctx context.Context, group *errgroup.Group) {
		next := time.NewTicker(renewal / openPages)
		defer next.Stop()
		for n := range openPages {
			<-next.C
			group.Go(func() error { return pages[n%len(pages)].ask(ctx) })
		}
	})
	add(sample.Config{Start: day(4, 1), Days: 1, Orders: 100, Events: 300, Products: 300, Seed: 1, Dirt: 0.01})
	window("hearing of a run from its start to its end, then all renewed at once", func(ctx context.Context, group *errgroup.Group) {
		listening := make(chan bool, openPages)
		for n := range openPages {
			group.Go(func() error {
				page, first, state := pages[n%len(pages)], true, shoplakev1.RunState_RUN_STATE_UNSPECIFIED
				return hear(ctx, s.address, func(told []*shoplakev1.Run) (more bool, err error) {
					if first {
						first = false
						listening <- true
					}
					for _, run := range told {
						moved := run.GetState() != state
						state = run.GetState()
						if run.GetEndTime() != nil {
							return false, page.ask(ctx)
						}
						if moved && page.path == "/pipeline" {
							err = errors.Join(err, page.ask(ctx))
						}
					}
					return true, err
				})
			})
		}
		for range openPages {
			select {
			case <-listening:
			case <-ctx.Done():
				return
			}
		}
		if _, err := shoplakev1.NewRunServiceClient(conn).SubmitRun(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily"}); err != nil {
			t.Fatal(err)
		}
	})
	if cores := all.Seconds() / whole.Seconds(); cores >= 1 {
		t.Errorf("%d open pages cost the server %.2f cores, want less than 1", openPages, cores)
	}
}

// recorded is what a page asks when it is renewed.
type recorded struct {
	path  string
	calls []*http.Request
	// client has as many connections as a browser has to one server.
	client *http.Client
}

// record opens pages in a real browser, renews each, and writes down what it asks.
func record(t *testing.T, address string, paths []string) []*recorded {
	t.Helper()
	var mu sync.Mutex
	var heard []*http.Request
	under := 0
	target := &url.URL{Scheme: "http", Host: address}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && !strings.Contains(r.URL.Path, "/Watch") {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the page went away
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			again, err := http.NewRequest(r.Method, target.JoinPath(r.URL.Path).String(), bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			again.Header = r.Header.Clone()
			again.Header.Set("Origin", "http://"+address) // as of a page that the server itself served
			mu.Lock()
			heard, under = append(heard, again), under+1
			mu.Unlock()
			defer func() { mu.Lock(); under--; mu.Unlock() }()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(between.Close)
	b := chromium(t, strings.TrimPrefix(between.URL, "http://"))
	var pages []*recorded
	for _, path := range paths {
		b.see(view{path: path})
		mu.Lock()
		heard = nil
		mu.Unlock()
		b.clickText(".top", "Refresh")
		b.until(`document.querySelector("[aria-busy=true]") === null`)
		evaluate[bool](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
		mu.Lock()
		if len(heard) < 2 || under > 0 {
			t.Errorf("%s asked %d things when it was renewed, %d of them are not answered", path, len(heard), under)
		}
		pages = append(pages, &recorded{path: path, calls: heard, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 6 * openPages / len(paths)}}})
		asked := map[string]bool{}
		for _, call := range heard {
			body, _ := call.GetBody()
			question, _ := io.ReadAll(body)
			key := call.URL.Path + string(question)
			if asked[key] {
				t.Errorf("%s asks twice when it is renewed: %s %q", path, call.URL.Path, question)
			}
			asked[key] = true
		}
		t.Logf("%s asks %d things when it is renewed", path, len(heard))
		mu.Unlock()
	}
	b.do(chromedp.Navigate("about:blank")) // the browser asks nothing more
	return pages
}

// ask asks all that the page asks, at once.
func (p *recorded) ask(ctx context.Context) error {
	var group errgroup.Group
	for _, call := range p.calls {
		group.Go(func() error {
			r := call.Clone(ctx)
			var err error
			if r.Body, err = call.GetBody(); err != nil {
				return err
			}
			answer, err := p.client.Do(r)
			if err != nil {
				return fmt.Errorf("%s: %w", p.path, err)
			}
			defer answer.Body.Close()
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				return fmt.Errorf("%s: read what %s answers: %w", p.path, r.URL.Path, err)
			}
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s answers %s", p.path, r.URL.Path, answer.Status)
			}
			return nil
		})
	}
	return group.Wait()
}

// hear listens to what becomes of runs, as every page does, until f has heard enough.
func hear(ctx context.Context, address string, f func([]*shoplakev1.Run) (more bool, err error)) error {
	nothing := make([]byte, 5) // a frame of a message without fields
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/shoplake.v1.RunService/WatchRuns", bytes.NewReader(nothing))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/connect+proto")
	r.Header.Set("Connect-Protocol-Version", "1")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("listen to runs: %w", err)
	}
	defer answer.Body.Close()
	for {
		var head [5]byte
		if _, err := io.ReadFull(answer.Body, head[:]); err != nil {
			return fmt.Errorf("listen to runs: %w", err)
		}
		message := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(answer.Body, message); err != nil {
			return fmt.Errorf("listen to runs: %w", err)
		}
		const last = 2 // the frame of what ended the stream
		if head[0]&last != 0 {
			return fmt.Errorf("listen to runs: the stream ended: %s", message)
		}
		var told shoplakev1.WatchRunsResponse
		if err := proto.Unmarshal(message, &told); err != nil {
			return fmt.Errorf("listen to runs: %w", err)
		}
		if more, err := f(told.GetRuns()); err != nil || !more {
			return err
		}
	}
}
