package bus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func queue(t *testing.T, b *Bus, waiting, pending int) {
	t.Helper()
	w, p, err := b.Queue(testContext(t), "default")
	check(t, err)
	if w != waiting || p != pending {
		t.Errorf("%d tasks wait and %d are pending, want %d and %d", w, p, waiting, pending)
	}
}

func TestTasks(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	queue(t, b, 0, 0)
	traceID, spanID := trace.TraceID{1}, trace.SpanID{2}
	releasing := trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled,
	}))
	check(t, b.Release(releasing, "default", task("RUN1", "t1", 1)))
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1))) // the same release
	queue(t, b, 1, 0)
	check(t, b.Release(ctx, "other", task("RUN1", "t1", 1)))

	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{}))
	d := must[*Delivery](t)(source.Next(ctx))
	if d.Task.GetTaskId() != "t1" || d.Task.GetProtocolVersion() != Protocol || d.Deliveries != 1 {
		t.Errorf("got %v", d)
	}
	remote := trace.SpanContextFromContext(d.Context(ctx))
	if remote.TraceID() != traceID || remote.SpanID() != spanID || !remote.IsRemote() || !remote.IsSampled() {
		t.Errorf("the task's context has span %v", remote)
	}
	queue(t, b, 0, 1)
	check(t, d.Ack(ctx))
	check(t, d.Ack(ctx))
	queue(t, b, 0, 0)
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1))) // a repeat is known after its end too
	queue(t, b, 0, 0)

	check(t, b.Release(ctx, "default", task("RUN1", "t1", 2)))
	d = must[*Delivery](t)(source.Next(ctx))
	check(t, d.Nak(ctx, 0))
	d = must[*Delivery](t)(source.Next(ctx))
	if d.Task.GetRelease() != 2 || d.Deliveries != 2 {
		t.Errorf("got %v", d)
	}
	check(t, d.Ack(ctx))

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := source.Next(short)
	wantError(t, err, context.DeadlineExceeded)
	if strings.Contains(err.Error(), "did not answer") {
		t.Errorf("an empty queue of a server that is well counts as a server that is away: %v", err)
	}
	queue(t, b, 0, 0)
}

func TestTasksWaitForControlPlane(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := connect(t, Config{Server: startTestServer(t, ServerConfig{InProcessOnly: true})})
	got := make(chan error, 1)
	go func() {
		source, err := b.Tasks(ctx, "default", TaskOptions{})
		if err == nil {
			_, err = source.Next(ctx)
		}
		got <- err
	}()
	check(t, b.Setup(ctx))
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1)))
	check(t, receive(t, ctx, got))
}

func TestRedeliveryAndLateAck(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	first := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{AckWait: 500 * time.Millisecond}))
	second := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{AckWait: 500 * time.Millisecond}))

	// A worker that shows no sign of life loses its task, and may still acknowledge it.
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1)))
	lost := must[*Delivery](t)(first.Next(ctx))
	d := must[*Delivery](t)(second.Next(ctx))
	if d.Task.GetTaskId() != "t1" || d.Deliveries != 2 {
		t.Errorf("got %v", d)
	}
	check(t, lost.Ack(ctx))
	queue(t, b, 0, 0)
	check(t, d.Ack(ctx))

	// One that extends keeps it: the task is not offered for several times AckWait.
	check(t, b.Release(ctx, "default", task("RUN1", "t2", 1)))
	kept := must[*Delivery](t)(first.Next(ctx))
	working, done := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer done()
	var wg sync.WaitGroup
	wg.Go(func() {
		for pause(working, 100*time.Millisecond) == nil {
			if err := kept.Extend(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	_, err := second.Next(working)
	wantError(t, err, context.DeadlineExceeded)
	wg.Wait()
	check(t, kept.Ack(ctx))
	queue(t, b, 0, 0)
}

// Each of many tasks goes to one of many workers.
func TestWorkersShareTasks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(testContext(t))
	b := setup(t)
	const tasks, workers = 200, 8
	got := make(chan string, tasks)
	var wg sync.WaitGroup
	for range workers {
		source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{}))
		wg.Go(func() {
			for {
				d, err := source.Next(ctx)
				if err != nil {
					return
				}
				if err := d.Ack(ctx); err != nil {
					t.Error(err)
				}
				got <- d.Task.GetTaskId()
			}
		})
	}
	for i := range tasks {
		check(t, b.Release(ctx, "default", task("RUN1", fmt.Sprint(i), 1)))
	}
	seen := make(map[string]bool)
	for range tasks {
		id := receive(t, ctx, got)
		if seen[id] {
			t.Errorf("task %s was done twice", id)
		}
		seen[id] = true
	}
	cancel()
	wg.Wait()
	queue(t, b, 0, 0)
}

func TestUnreadableTaskStays(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	newer := must[[]byte](t)(proto.Marshal(&dispatchv1.Task{ProtocolVersion: Protocol + 1, RunId: "RUN1"}))
	must[*jetstream.PubAck](t)(b.js.Publish(ctx, taskSubject+"default.RUN1", newer))
	must[*jetstream.PubAck](t)(b.js.Publish(ctx, taskSubject+"default.RUN1", []byte("\xff junk")))
	check(t, b.Release(ctx, "default", task("RUN2", "t1", 1)))
	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{}))
	d := must[*Delivery](t)(source.Next(ctx))
	if d.Task.GetRunId() != "RUN2" {
		t.Errorf("got %v", d.Task)
	}
	check(t, d.Ack(ctx))
	queue(t, b, 0, 2)
}

func TestPurgeTasks(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{}))
	for _, id := range []string{"t1", "t2", "t3"} {
		check(t, b.Release(ctx, "default", task("RUN1", id, 1)))
	}
	check(t, b.Release(ctx, "other", task("RUN1", "t4", 1)))
	check(t, b.Release(ctx, "default", task("RUN2", "t1", 1)))
	held := must[*Delivery](t)(source.Next(ctx))
	check(t, b.PurgeTasks(ctx, "RUN1", 0))
	check(t, b.PurgeTasks(ctx, "RUN1", 0))
	d := must[*Delivery](t)(source.Next(ctx))
	if d.Task.GetRunId() != "RUN2" {
		t.Errorf("got %v", d.Task)
	}
	// The worker that holds a removed task can go on and acknowledge.
	check(t, held.Extend(ctx))
	check(t, held.Ack(ctx))
	check(t, d.Ack(ctx))
	queue(t, b, 0, 0)
	if w, _, err := b.Queue(ctx, "other"); err != nil || w != 0 {
		t.Errorf("the other pool has %d tasks, %v", w, err)
	}
}

func succeeded(run, task, attempt string) *dispatchv1.TaskReport {
	r := started(run, task, attempt)
	r.Outcome = &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{RowsOut: 7}}
	return r
}

func TestReports(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	check(t, b.Report(ctx, started("RUN1", "t1", "A1")))
	check(t, b.Report(ctx, started("RUN1", "t1", "A1"))) // told once
	check(t, b.Report(ctx, succeeded("RUN1", "t1", "A1")))
	if err := b.Report(ctx, &dispatchv1.TaskReport{RunId: "RUN1"}); err == nil {
		t.Error("a report without an outcome was accepted")
	}
	must[*jetstream.PubAck](t)(b.js.Publish(ctx, reportSubject+"RUN1", []byte("\xff junk")))
	check(t, b.Report(ctx, started("RUN2", "t1", "A2")))

	// The first coordinator acknowledges one report and has seen another.
	first := must[<-chan ReportDelivery](t)(b.Reports(ctx))
	d := receive(t, ctx, first)
	if d.Report.GetStarted() == nil || d.Report.GetProtocolVersion() != Protocol {
		t.Errorf("got %v", d.Report)
	}
	check(t, d.Ack())
	seen := receive(t, ctx, first)
	if seen.Report.GetSucceeded().GetRowsOut() != 7 {
		t.Errorf("got %v", seen.Report)
	}

	// The second is given all that is not acknowledged, at once.
	second := must[<-chan ReportDelivery](t)(b.Reports(ctx))
	wanted := map[string]bool{"A1": true, "A2": true}
	for len(wanted) > 0 {
		d := receive(t, ctx, second)
		if d.Report.GetAttemptId() != "A1" || d.Report.GetSucceeded() != nil {
			// The acknowledgement of A1's beginning may have come too late: a report may come twice.
			delete(wanted, d.Report.GetAttemptId())
		}
		check(t, d.Ack())
	}
	check(t, seen.Ack())
	check(t, b.Report(ctx, started("RUN2", "t2", "A3")))
	if d := receive(t, ctx, second); d.Report.GetAttemptId() != "A3" {
		t.Errorf("got %v", d.Report)
	}
	// The first hears that it is not the reader any more.
	closed(t, ctx, first)
}

func TestReportIsMended(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	failed := started("RUN1", "t1", "A1")
	failed.Outcome = &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Message: "line 1: \xff" + strings.Repeat("é", MaxPayload)}}
	checked := succeeded("RUN1", "t2", "A2")
	checked.GetSucceeded().Notices = []string{"M\xe4rz.xlsx could not be read: " + strings.Repeat("x", MaxPayload)}
	for range 500 {
		checked.GetSucceeded().CheckFailures = append(checked.GetSucceeded().CheckFailures,
			&dispatchv1.CheckFailure{Check: "c", Sample: strings.Repeat("x", 10_000)})
	}
	check(t, b.Report(ctx, failed))
	check(t, b.Report(ctx, checked))
	reports := must[<-chan ReportDelivery](t)(b.Reports(ctx))
	d := receive(t, ctx, reports)
	message := d.Report.GetFailed().GetMessage()
	if !strings.HasPrefix(message, "line 1: \uFFFDé") || proto.Size(d.Report) > MaxReport {
		t.Errorf("the message of %d bytes begins with %.20q", len(message), message)
	}
	d = receive(t, ctx, reports)
	if n := len(d.Report.GetSucceeded().GetCheckFailures()); n != 500 || !strings.HasPrefix(d.Report.GetSucceeded().GetNotices()[0], "M\uFFFDrz.xlsx could not be read") || proto.Size(d.Report) > MaxReport {
		t.Errorf("%d failures in %d bytes", n, proto.Size(d.Report))
	}
}

func TestCancels(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(testContext(t))
	b := setup(t)
	cancels := must[<-chan Cancelled](t)(b.WatchCancels(ctx))
	for _, c := range []Cancelled{{RunID: "RUN1"}, {RunID: "RUN1", Life: 2}, {RunID: "RUN2", Life: 1, Stage: "silver.sales"}} {
		check(t, b.PublishCancel(ctx, c))
		if got := receive(t, ctx, cancels); got != c {
			t.Errorf("cancelled %v, want %v", got, c)
		}
	}
	cancel()
	closed(t, testContext(t), cancels)
}

// An acknowledgement that a server took along when it went away reaches the next one.
func TestAckAcrossRestart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	s := startTestServer(t, ServerConfig{StoreDir: dir})
	port := s.port()
	b := other(t, s)
	check(t, b.Setup(ctx))
	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{AckWait: time.Minute}))
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1)))
	d := must[*Delivery](t)(source.Next(ctx))
	s.Close()
	acked := make(chan error, 1)
	go func() { acked <- d.Ack(ctx) }()
	s = startTestServer(t, ServerConfig{StoreDir: dir, Port: port})
	check(t, <-acked)
	if waiting, pending, err := other(t, s).Queue(ctx, "default"); err != nil || waiting != 0 || pending != 0 {
		t.Errorf("%d tasks wait and %d are pending, %v", waiting, pending, err)
	}
}
