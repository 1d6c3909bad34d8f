package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func flows(logged []LoggedEvents) []string {
	var names []string
	for _, l := range logged {
		names = append(names, l.Events.GetEvents()[0].GetSubmitted().GetFlow())
	}
	return names
}

func TestRunLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)

	if got := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0)); len(got) != 0 {
		t.Errorf("a run without a log has %v", got)
	}
	events := submitted("a")
	first := must[uint64](t)(b.AppendRun(ctx, "RUN1", 0, events))
	if events.GetProtocolVersion() != 0 {
		t.Error("the caller's message was changed")
	}
	must[uint64](t)(b.AppendRun(ctx, "RUN2", 0, submitted("x")))
	second := must[uint64](t)(b.AppendRun(ctx, "RUN1", first, submitted("b")))

	logged := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0))
	if got := flows(logged); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("log is %v", got)
	}
	if logged[0].Seq != first || logged[1].Seq != second || time.Since(logged[0].Time) > patience {
		t.Errorf("log is %+v", logged)
	}
	if logged[0].Events.GetProtocolVersion() != Protocol {
		t.Errorf("protocol version is %d", logged[0].Events.GetProtocolVersion())
	}
	if got := flows(must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", first))); !slices.Equal(got, []string{"b"}) {
		t.Errorf("log after the first message is %v", got)
	}
	if got := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", second)); len(got) != 0 {
		t.Errorf("log after its end is %v", got)
	}
	if got := must[[]string](t)(b.Runs(ctx)); !slices.Equal(got, []string{"RUN1", "RUN2"}) {
		t.Errorf("runs are %v", got)
	}
}

func TestAppendConflict(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	first := must[uint64](t)(b.AppendRun(ctx, "RUN1", 0, submitted("a")))
	for _, after := range []uint64{0, first + 1, first + 1000} {
		_, err := b.AppendRun(ctx, "RUN1", after, submitted("b"))
		wantError(t, err, ErrConflict)
	}
	// Of many who decide on the same state one wins.
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.AppendRun(ctx, "RUN1", first, submitted(fmt.Sprint(i))) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantError(t, err, ErrConflict)
		}
	}
	if logged := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0)); won != 1 || len(logged) != 2 {
		t.Errorf("%d won, the log has %d messages", won, len(logged))
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	for _, id := range []string{"", "a.b", "*", ">", "a b"} {
		if _, err := b.AppendRun(ctx, id, 0, submitted("a")); err == nil {
			t.Errorf("run id %q was accepted", id)
		}
	}
	_, err := b.AppendRun(ctx, "RUN1", 0, submitted(strings.Repeat("x", MaxPayload)))
	wantError(t, err, ErrTooLarge)
	_, err = b.AppendRun(ctx, "RUN1", 0, &dispatchv1.RunEvents{ProtocolVersion: 2})
	wantError(t, err, ErrProtocol)

	// The largest that is accepted arrives.
	events := submitted("")
	events.ProtocolVersion = Protocol
	events.Events[0].GetSubmitted().Flow = strings.Repeat("x", MaxPayload-headerRoom-proto.Size(events)-16)
	must[uint64](t)(b.AppendRun(ctx, "RUN1", 0, events))
	if got := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0)); len(got) != 1 {
		t.Errorf("log is %d messages", len(got))
	}
}

func TestUnknownProtocolInLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	newer := must[[]byte](t)(proto.Marshal(&dispatchv1.RunEvents{ProtocolVersion: Protocol + 1}))
	must[*jetstream.PubAck](t)(b.js.Publish(ctx, runSubject+"RUN1", newer))
	must[*jetstream.PubAck](t)(b.js.Publish(ctx, runSubject+"RUN2", []byte("\xff junk")))
	for _, id := range []string{"RUN1", "RUN2"} {
		_, err := b.ReadRun(ctx, id, 0)
		wantError(t, err, ErrProtocol)
		closed(t, ctx, must[<-chan LoggedEvents](t)(b.WatchRun(ctx, id, 0)))
	}
}

func TestWatchRuns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(testContext(t))
	b := setup(t)
	must[uint64](t)(b.AppendRun(ctx, "OLD", 0, submitted("old")))
	runs := must[<-chan string](t)(b.WatchNewRuns(ctx))
	events := must[<-chan LoggedEvents](t)(b.WatchRun(ctx, "RUN1", 0))
	seq := must[uint64](t)(b.AppendRun(ctx, "RUN1", 0, submitted("a")))
	if got := receive(t, ctx, runs); got != "RUN1" {
		t.Errorf("run %s has news", got)
	}
	if got := receive(t, ctx, events); got.Seq != seq {
		t.Errorf("got %+v", got)
	}
	later := must[<-chan LoggedEvents](t)(b.WatchRun(ctx, "RUN1", seq))
	seq = must[uint64](t)(b.AppendRun(ctx, "RUN1", seq, submitted("b")))
	for _, c := range []<-chan LoggedEvents{events, later} {
		if got := receive(t, ctx, c); got.Seq != seq {
			t.Errorf("got %+v", got)
		}
	}
	cancel()
	end := testContext(t)
	closed(t, end, runs)
	closed(t, end, events)
}

// proxy passes bytes between clients and a server, and swallows the server's answers while mute.
type proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	mute  bool
	conns []net.Conn
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &proxy{listener: l, server: server}
	t.Cleanup(func() {
		l.Close()
		p.set(false)
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", p.server)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, upstream)
			p.mu.Unlock()
			go func() { defer upstream.Close(); io.Copy(upstream, client) }()
			go func() { defer client.Close(); p.answer(client, upstream) }()
		}
	}()
	return p
}

func (p *proxy) answer(client, upstream net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := upstream.Read(buf)
		p.mu.Lock()
		mute := p.mute
		p.mu.Unlock()
		if n > 0 && !mute {
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// set mutes the server or lets it speak; either way the connections break when it speaks again.
func (p *proxy) set(mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = mute
	if !mute {
		for _, c := range p.conns {
			c.Close()
		}
		p.conns = nil
	}
}

// The server stores the message and its answer is lost; the events must be there once, and the caller must learn where.
func TestAppendAmbiguous(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := startTestServer(t, ServerConfig{})
	direct := other(t, s)
	check(t, direct.Setup(ctx))
	p := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	b := connect(t, Config{URL: "nats://" + p.listener.Addr().String(), CredentialsFile: s.CredentialsFile()})
	b.attempt = 300 * time.Millisecond

	first := must[uint64](t)(b.AppendRun(ctx, "RUN1", 0, submitted("a")))
	watched := must[<-chan LoggedEvents](t)(direct.WatchRun(ctx, "RUN1", first))
	p.set(true)
	type result struct {
		seq uint64
		err error
	}
	appended := make(chan result, 1)
	go func() {
		seq, err := b.AppendRun(ctx, "RUN1", first, submitted("b"))
		appended <- result{seq, err}
	}()
	stored := receive(t, ctx, watched)
	// Somebody else appends behind it before the first one knows.
	third := must[uint64](t)(direct.AppendRun(ctx, "RUN1", stored.Seq, submitted("c")))
	p.set(false)
	got := receive(t, ctx, appended)
	if got.err != nil || got.seq != stored.Seq {
		t.Errorf("append gives %d, %v; the message stands at %d", got.seq, got.err, stored.Seq)
	}
	if names := flows(must[[]LoggedEvents](t)(direct.ReadRun(ctx, "RUN1", 0))); !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("log is %v", names)
	}

	// Another's message stands there instead.
	p.set(true)
	go func() {
		seq, err := b.AppendRun(ctx, "RUN1", first, submitted("late"))
		appended <- result{seq, err}
	}()
	p.set(false)
	wantError(t, receive(t, ctx, appended).err, ErrConflict)

	// Nobody answers before the caller must go on.
	p.set(true)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err := b.AppendRun(short, "RUN1", third, submitted("d"))
	wantError(t, err, ErrUnknownOutcome)
	wantError(t, err, context.DeadlineExceeded)
	if errors.Is(err, ErrConflict) {
		t.Errorf("unknown outcome is a conflict: %v", err)
	}
}

// Everything acknowledged is there after the server was restarted, and connections and watches go on.
func TestRestart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	c := ServerConfig{StoreDir: t.TempDir(), Port: -1}
	s := startTestServer(t, c)
	b := other(t, s)
	check(t, b.Setup(ctx))
	seq := must[uint64](t)(b.AppendRun(ctx, "RUN1", 0, submitted("a")))
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1)))
	check(t, b.Release(ctx, "default", task("RUN1", "t2", 1)))
	check(t, b.Report(ctx, started("RUN1", "t1", "A1")))
	revision := must[uint64](t)(b.MovePublished(ctx, &dispatchv1.Published{Version: 1}, 0))
	check(t, b.PutPipeline(ctx, "abc", []byte("content")))
	check(t, b.PutCheckpoint(ctx, "RUN1", []byte("state")))
	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{AckWait: time.Second}))
	check(t, must[*Delivery](t)(source.Next(ctx)).Ack(ctx))
	watched := must[<-chan LoggedEvents](t)(b.WatchRun(ctx, "RUN1", seq))
	news := must[<-chan string](t)(b.WatchNewRuns(ctx))
	published := must[<-chan *dispatchv1.Published](t)(b.WatchPublished(ctx))
	receive(t, ctx, published)
	reports := must[<-chan ReportDelivery](t)(b.Reports(ctx))
	check(t, receive(t, ctx, reports).Ack())
	cancels := must[<-chan Cancelled](t)(b.WatchCancels(ctx))
	password := must[login](t)(ensureLogin(s.CredentialsFile(), "coordinator"))

	c.Port = s.port()
	s.Close()
	// A call made while the server is away waits for it.
	appended := make(chan error, 1)
	go func() {
		_, err := b.AppendRun(ctx, "RUN1", seq, submitted("b"))
		appended <- err
	}()
	s = startTestServer(t, c)
	check(t, receive(t, ctx, appended))
	if again := must[login](t)(ensureLogin(s.CredentialsFile(), "coordinator")); again != password {
		t.Error("the credentials changed")
	}

	if got := receive(t, ctx, watched); flows([]LoggedEvents{got})[0] != "b" {
		t.Errorf("watched %+v", got)
	}
	if got := receive(t, ctx, news); got != "RUN1" {
		t.Errorf("news of %s", got)
	}
	if got := flows(must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("log is %v", got)
	}
	d := must[*Delivery](t)(source.Next(ctx))
	if d.Task.GetTaskId() != "t2" {
		t.Errorf("got task %s, which was acknowledged", d.Task.GetTaskId())
	}
	check(t, d.Ack(ctx))
	check(t, b.Report(ctx, started("RUN1", "t2", "A2")))
	if got := receive(t, ctx, reports); got.Report.GetAttemptId() != "A2" {
		t.Errorf("got the report of %s", got.Report.GetAttemptId())
	}
	revision = must[uint64](t)(b.MovePublished(ctx, &dispatchv1.Published{Version: 2}, revision))
	if got := receive(t, ctx, published); got.GetVersion() != 2 {
		t.Errorf("published version %d", got.GetVersion())
	}
	if _, got, err := b.Published(ctx); err != nil || got != revision {
		t.Errorf("revision is %d, %v", got, err)
	}
	if got := must[[]byte](t)(b.Pipeline(ctx, "abc")); string(got) != "content" {
		t.Errorf("pipeline is %q", got)
	}
	if got := must[[]byte](t)(b.Checkpoint(ctx, "RUN1")); string(got) != "state" {
		t.Errorf("checkpoint is %q", got)
	}
	check(t, b.PublishCancel(ctx, Cancelled{RunID: "RUN1"}))
	if got := receive(t, ctx, cancels); got != (Cancelled{RunID: "RUN1"}) {
		t.Errorf("cancelled %v", got)
	}
}
