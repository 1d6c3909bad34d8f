//go:build unix

package e2e

import (
	"context"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// collector receives spans over OTLP, as Jaeger would.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	address string

	mu sync.Mutex
	// traces hold the spans of each trace by their ids: a span that came twice is one.
	traces map[string]map[string]*span
}

// span is a span that was received, with the service that recorded it.
type span struct {
	*tracev1.Span
	service string
}

// collect starts a collector.
func collect(t *testing.T) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{address: l.Addr().String(), traces: map[string]map[string]*span{}}
	s := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(s, c)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return c
}

// env makes processes send their spans here, soon: what a killed one had not sent is lost.
func (c *collector) env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + c.address, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_METRICS_EXPORTER=none", "OTEL_BSP_SCHEDULE_DELAY=100"}
}

// Export takes spans.
func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				trace := hex.EncodeToString(s.GetTraceId())
				if c.traces[trace] == nil {
					c.traces[trace] = map[string]*span{}
				}
				c.traces[trace][hex.EncodeToString(s.GetSpanId())] = &span{Span: s, service: service}
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// tree is a trace by who is below whom.
type tree struct {
	spans map[string]*span
	below map[string][]*span // by the parent's id; "" for roots
}

func (c *collector) tree(trace string) tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := tree{spans: c.traces[trace], below: map[string][]*span{}}
	for _, s := range t.spans {
		parent := hex.EncodeToString(s.GetParentSpanId())
		t.below[parent] = append(t.below[parent], s)
	}
	return t
}

// named are the spans of a name right below one.
func (t tree) named(parent *span, name string) []*span {
	id := ""
	if parent != nil {
		id = hex.EncodeToString(parent.GetSpanId())
	}
	var found []*span
	for _, s := range t.below[id] {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

// has says whether a span whose name begins so is anywhere below one.
func (t tree) has(parent *span, prefix string) bool {
	for _, s := range t.below[hex.EncodeToString(parent.GetSpanId())] {
		if strings.HasPrefix(s.GetName(), prefix) || t.has(s, prefix) {
			return true
		}
	}
	return false
}

func (s *span) attribute(key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// try is what is known of a task's attempts.
type try struct {
	attempts int
	worker   string // of the latest
	alive    bool   // it was never killed
}

// tried asks for the tasks of some runs' stages.
func (d *deployment) tried(runs map[string][]*shoplakev1.Stage) map[string]map[string]try {
	d.t.Helper()
	all := map[string]map[string]try{}
	for _, stages := range runs {
		for _, stage := range stages {
			all[stage.GetName()] = map[string]try{}
			for _, task := range d.tasksOf(stage) {
				id := task.GetName()[strings.LastIndexByte(task.GetName(), '/')+1:]
				all[stage.GetName()][id] = try{attempts: int(task.GetAttempts()), worker: task.GetWorker(), alive: d.workers[task.GetWorker()] != nil}
			}
		}
	}
	return all
}

// detailsOf gets some runs.
func (d *deployment) detailsOf(names []string) []*shoplakev1.Run {
	d.t.Helper()
	var runs []*shoplakev1.Run
	for _, name := range names {
		run, err := d.runs.GetRun(d.ctx, &shoplakev1.GetRunRequest{Name: name})
		if err != nil {
			d.t.Fatal(err)
		}
		runs = append(runs, run)
	}
	return runs
}

// wantWhole sees that one trace holds a run, each of its stages and each attempt at each of their tasks, under the right
// parent, with the worker's spans below those of workers that were not killed.
func (c *collector) wantWhole(t *testing.T, run *shoplakev1.Run, stages []*shoplakev1.Stage, tried map[string]map[string]try) (tree, *span) {
	t.Helper()
	trace := c.tree(run.GetTraceId())
	roots := trace.named(nil, "run daily")
	if len(roots) != 1 || len(trace.below[""]) != 1 {
		t.Fatalf("the trace of %s has %d roots, %d of them the run", run.GetName(), len(trace.below[""]), len(roots))
	}
	for _, stage := range stages {
		spans := trace.named(roots[0], "stage "+stage.GetTable())
		if len(spans) != 1 {
			t.Errorf("%d spans of the stage %s are below the run", len(spans), stage.GetTable())
			continue
		}
		for id, task := range tried[stage.GetName()] {
			attempts := trace.named(spans[0], "task "+stage.GetTable()+" "+id)
			if len(attempts) != task.attempts || len(attempts) == 0 {
				t.Errorf("%d attempts at task %s are below the stage %s, want %d", len(attempts), id, stage.GetTable(), task.attempts)
			}
			good := 0
			for _, attempt := range attempts {
				if attempt.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR {
					continue
				}
				good++
				if task.alive && attempt.attribute("shoplake.worker") == task.worker {
					wantWork(t, trace, attempt, id)
				}
			}
			if good == 0 {
				t.Errorf("no attempt at task %s of %s is a success", id, stage.GetTable())
			}
		}
	}
	return trace, roots[0]
}

// wantWork sees that a worker's spans are below its attempt.
func wantWork(t *testing.T, trace tree, attempt *span, task string) {
	t.Helper()
	work := trace.below[hex.EncodeToString(attempt.GetSpanId())]
	if len(work) != 1 || work[0].service != "shoplake-worker" || !strings.HasPrefix(work[0].GetName(), "work ") {
		t.Errorf("below %q are %v, want the work of a worker", attempt.GetName(), work)
		return
	}
	if !trace.has(work[0], "engine.") {
		t.Errorf("%q has no span of the engine", work[0].GetName())
	}
	if task != checkTask && !trace.has(work[0], "lake.") {
		t.Errorf("%q has no span of the lake", work[0].GetName())
	}
}

func TestTraceOfARun(t *testing.T) {
	t.Parallel()
	traces := collect(t)
	d := deployed(t, 2, traces.env()...)
	run := d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	stages := map[string][]*shoplakev1.Stage{run.GetName(): d.stagesOf(run.GetName())}
	tried := d.tried(stages)
	d.stopAll()

	trace, root := traces.wantWhole(t, run, stages[run.GetName()], tried)
	for _, s := range trace.spans {
		if parent := hex.EncodeToString(s.GetParentSpanId()); parent != "" && trace.spans[parent] == nil {
			t.Errorf("the parent of %q is not in the trace", s.GetName())
		}
	}
	for _, stage := range stages[run.GetName()] {
		for _, at := range trace.named(root, "stage "+stage.GetTable()) {
			if len(trace.named(at, "plan "+stage.GetTable())) != 1 {
				t.Errorf("the planning of %s is not below its stage", stage.GetTable())
			}
			commits := trace.named(at, "commit "+stage.GetTable())
			if len(commits) != 1 || !trace.has(commits[0], "lake.commit") {
				t.Errorf("the commit of %s and of the lake are not below its stage", stage.GetTable())
			}
		}
	}
}
