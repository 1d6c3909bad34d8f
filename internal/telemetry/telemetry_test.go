package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// receiver is an OTLP collector that keeps what it gets.
type receiver struct {
	collecttrace.UnimplementedTraceServiceServer
	mu       sync.Mutex
	spans    map[string]*tracev1.Span // by name
	resource map[string]string
	metrics  []string
}

func (r *receiver) Export(_ context.Context, req *collecttrace.ExportTraceServiceRequest) (*collecttrace.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		for _, attr := range rs.GetResource().GetAttributes() {
			r.resource[attr.GetKey()] = attr.GetValue().GetStringValue()
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				r.spans[span.GetName()] = span
			}
		}
	}
	return &collecttrace.ExportTraceServiceResponse{}, nil
}

// metricReceiver is the metrics half: its method has the same name.
type metricReceiver struct {
	collectmetrics.UnimplementedMetricsServiceServer
	r *receiver
}

func (m metricReceiver) Export(_ context.Context, req *collectmetrics.ExportMetricsServiceRequest) (*collectmetrics.ExportMetricsServiceResponse, error) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	for _, rm := range req.GetResourceMetrics() {
		for _, sm := range rm.GetScopeMetrics() {
			for _, metric := range sm.GetMetrics() {
				m.r.metrics = append(m.r.metrics, metric.GetName())
			}
		}
	}
	return &collectmetrics.ExportMetricsServiceResponse{}, nil
}

func startReceiver(t *testing.T) (*receiver, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{spans: make(map[string]*tracev1.Span), resource: make(map[string]string)}
	server := grpc.NewServer()
	collecttrace.RegisterTraceServiceServer(server, r)
	collectmetrics.RegisterMetricsServiceServer(server, metricReceiver{r: r})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r, "http://" + listener.Addr().String()
}

// clearEnvironment removes what the machine's environment says about export.
func clearEnvironment(t *testing.T) {
	for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_SERVICE_NAME",
		"OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"} {
		t.Setenv(name, "")
	}
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
}

// A run's trace is whole though its parts are written by three processes in any order, one of them after a restart.
func TestTraceAcrossProcesses(t *testing.T) {
	clearEnvironment(t)
	r, endpoint := startReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	ctx := t.Context()
	tel, err := Start(ctx, Options{Service: "shoplake-test", Version: "1.2.3", LogOutput: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	tracer := otel.Tracer("test")
	begin := time.Now().Add(-time.Hour)

	traceHex, runHex := NewIDs()
	traceID, runSpan := ParseIDs(traceHex, runHex)
	stageSpan := StageSpanID("RUN1", "silver.orders")

	// A worker: a child of the stage, whose span is not written yet, by way of a message's headers.
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(RemoteParent(ctx, traceID, stageSpan), carrier)
	taskCtx, task := tracer.Start(propagation.TraceContext{}.Extract(ctx, carrier), "task")
	_, engine := tracer.Start(taskCtx, "engine")
	engine.End()
	task.End()
	// The coordinator, after a restart.
	_, stage := StartSpanWithIDs(RemoteParent(ctx, traceID, runSpan), tracer, "stage", traceID, stageSpan, begin.Add(time.Second))
	stage.End()
	runCtx, run := StartSpanWithIDs(ctx, tracer, "run", traceID, runSpan, begin)
	_, commit := tracer.Start(runCtx, "commit")
	commit.End()
	run.End()
	// The span of another trace is no parent of a run.
	otherCtx, rpc := tracer.Start(ctx, "rpc")
	traceHex2, runHex2 := NewIDs()
	traceID2, runSpan2 := ParseIDs(traceHex2, runHex2)
	_, run2 := StartSpanWithIDs(otherCtx, tracer, "run2", traceID2, runSpan2, begin)
	run2.End()
	rpc.End()

	counter, err := otel.Meter("test").Int64Counter("shoplake.test.rows")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 3)
	if err := tel.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	for _, want := range []struct{ name, parent string }{
		{"run", ""}, {"stage", "run"}, {"task", "stage"}, {"engine", "task"}, {"commit", "run"},
	} {
		span := r.spans[want.name]
		if span == nil {
			t.Fatalf("no span %s; there are %v", want.name, r.spans)
		}
		if !bytes.Equal(span.GetTraceId(), traceID[:]) {
			t.Errorf("%s has trace %x, want %s", want.name, span.GetTraceId(), traceID)
		}
		var parent []byte
		if want.parent != "" {
			parent = r.spans[want.parent].GetSpanId()
		}
		if !bytes.Equal(span.GetParentSpanId(), parent) {
			t.Errorf("%s has parent %x, want %s %x", want.name, span.GetParentSpanId(), want.parent, parent)
		}
	}
	if got := r.spans["run"]; !bytes.Equal(got.GetSpanId(), runSpan[:]) || got.GetStartTimeUnixNano() != uint64(begin.UnixNano()) {
		t.Errorf("run has span id %x and start %d", got.GetSpanId(), got.GetStartTimeUnixNano())
	}
	if !bytes.Equal(r.spans["stage"].GetSpanId(), stageSpan[:]) {
		t.Errorf("stage has span id %x, want %s", r.spans["stage"].GetSpanId(), stageSpan)
	}
	if bytes.Equal(r.spans["commit"].GetSpanId(), runSpan[:]) {
		t.Error("a child has the span id of its parent")
	}
	if got := r.spans["run2"]; !bytes.Equal(got.GetTraceId(), traceID2[:]) || len(got.GetParentSpanId()) != 0 {
		t.Errorf("run2 has trace %x and parent %x", got.GetTraceId(), got.GetParentSpanId())
	}
	for key, want := range map[string]string{
		"service.name": "shoplake-test", "service.version": "1.2.3", "deployment.environment.name": "test",
	} {
		if r.resource[key] != want {
			t.Errorf("resource attribute %s is %q, want %q", key, r.resource[key], want)
		}
	}
	if len(r.metrics) != 1 || r.metrics[0] != "shoplake.test.rows" {
		t.Errorf("metrics %v", r.metrics)
	}
}

func TestNothingExportedByDefault(t *testing.T) {
	clearEnvironment(t)
	var log bytes.Buffer
	tel, err := Start(t.Context(), Options{Service: "shoplake-test", LogOutput: &log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := otel.Tracer("test").Start(t.Context(), "span")
	slog.InfoContext(ctx, "hello")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), span.SpanContext().TraceID().String()) {
		t.Errorf("without export, logs have no trace id: %s", &log)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines logged: %s", n, &log)
	}
	if tel.MetricsHandler() != nil {
		t.Error("metrics are served though not asked for")
	}
}

func TestUnreachableCollectorIsToldOnce(t *testing.T) {
	clearEnvironment(t)
	var log bytes.Buffer
	logger, err := newLogger(Options{LogOutput: &log}, &sinks{})
	if err != nil {
		t.Fatal(err)
	}
	h := complaints(logger)
	for range 3 {
		h.Handle(errors.New("connection refused"))
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines logged: %s", n, &log)
	}
}

func TestGRPCPort(t *testing.T) {
	for _, c := range []struct {
		endpoint, protocol, exporter string
		want                         bool
	}{
		{"http://localhost:4317", "", "", true},
		{"http://localhost:4317", "", "otlp", true},
		{"http://localhost:4318", "", "", false},
		{"http://localhost:4317", "http/protobuf", "", false},
		{"http://localhost:4317", "", "console", false},
		{"", "", "", false},
	} {
		clearEnvironment(t)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.endpoint)
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", c.protocol)
		t.Setenv("OTEL_TRACES_EXPORTER", c.exporter)
		if got := speaksGRPC("TRACES"); got != c.want {
			t.Errorf("%+v: gRPC is %t", c, got)
		}
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if asked("TRACES") {
		t.Error("OTEL_SDK_DISABLED is not heard")
	}
}

func TestPrometheus(t *testing.T) {
	clearEnvironment(t)
	tel, err := Start(t.Context(), Options{Service: "shoplake-test", LogOutput: io.Discard, Metrics: true})
	if err != nil {
		t.Fatal(err)
	}
	counter, err := otel.Meter("test").Int64Counter("shoplake.rows.read")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 42)
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"shoplake_rows_read_total", "} 42", "go_goroutines", "process_"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics do not hold %s", want)
		}
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStageSpanID(t *testing.T) {
	t.Parallel()
	a, b := StageSpanID("RUN1", "silver.orders"), StageSpanID("RUN1", "silver.products")
	if a == b || a != StageSpanID("RUN1", "silver.orders") || !a.IsValid() {
		t.Errorf("ids %s and %s", a, b)
	}
}

func TestLogAttributes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger, err := newLogger(Options{LogOutput: &out, LogFormat: "json"}, &sinks{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithTask(WithStage(WithRun(t.Context(), "RUN1"), "silver.orders"), "t1")
	traceID, spanID := randomIDs()
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID}))
	logger.With("worker", "w1").InfoContext(ctx, "done", "run", "RUN2")
	for _, want := range []string{`"run":"RUN2"`, `"stage":"silver.orders"`, `"task":"t1"`, `"worker":"w1"`,
		`"trace_id":"` + traceID.String(), `"span_id":"` + spanID.String()} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in %s", want, &out)
		}
	}
	if strings.Contains(out.String(), "RUN1") {
		t.Errorf("the run is said twice: %s", &out)
	}
}

func TestLogHidesSecrets(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		logger, err := newLogger(Options{LogOutput: &out, LogFormat: format}, &sinks{})
		if err != nil {
			t.Fatal(err)
		}
		u := &url.URL{Scheme: "nats", User: url.UserPassword("me", "hunter2"), Host: "h:4222"}
		logger.Warn("connecting to nats://me:hunter2@h:4222",
			"token", "hunter2", "NatsPassword", "hunter2", "client_secret", "hunter2",
			"url", "postgres://me:hunter2@db/x?sslmode=off", "parsed", u,
			"error", errors.New(`dial "slack://token:hunter2@channel": refused, password=hunter2`),
			"hosts", []string{"nats://a:hunter2@b"}, "header", "Bearer hunter2hunter2", "json", `{"token":"hunter2"}`,
			slog.Group("inner", "secret", "hunter2"))
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s: a secret is in %s", format, &out)
		}
		for _, kept := range []string{"h:4222", "db/x?sslmode=off", "refused"} {
			if !strings.Contains(out.String(), kept) {
				t.Errorf("%s: %s is not in %s", format, kept, &out)
			}
		}
	}
}

func TestUnknownLogOptions(t *testing.T) {
	t.Parallel()
	if _, err := newLogger(Options{LogLevel: "loud"}, &sinks{}); err == nil || !strings.Contains(err.Error(), "debug") {
		t.Errorf("unknown level: %v", err)
	}
	if _, err := newLogger(Options{LogFormat: "xml"}, &sinks{}); err == nil || !strings.Contains(err.Error(), "json") {
		t.Errorf("unknown format: %v", err)
	}
}

func TestLinesOfRuns(t *testing.T) {
	t.Parallel()
	lines := &sinks{funcs: map[int]func(Line){}}
	tel := &Telemetry{sinks: lines}
	var out bytes.Buffer
	logger, err := newLogger(Options{LogOutput: &out, LogLevel: "error"}, lines)
	if err != nil {
		t.Fatal(err)
	}
	logger = logger.With("worker", "w1")
	var got []Line
	stop := tel.OnLine(func(l Line) { got = append(got, l) })
	ctx := WithStage(WithRun(t.Context(), "r1"), "silver.orders")
	logger.InfoContext(ctx, "done", "rows", 3, "url", "nats://me:hidden@host", "password", "hidden")
	logger.DebugContext(ctx, "detail")
	logger.Info("of no run")
	logger.Warn("of another run", "run", "r2")
	stop()
	logger.WarnContext(ctx, "nobody listens")
	if len(got) != 2 || got[1].Run != "r2" || out.Len() > 0 {
		t.Fatalf("got %v; the log itself says %q", got, out.String())
	}
	l := got[0]
	if l.Run != "r1" || l.Stage != "silver.orders" || l.Attributes["worker"] != "w1" || l.Attributes["rows"] != "3" || strings.Contains(fmt.Sprint(l), "hidden") {
		t.Errorf("got %+v", l)
	}
}
