// Package telemetry sets up traces, metrics and logs of a Shoplake process, and carries run, stage and task ids in contexts.
//
// Where spans and metrics go is said by OpenTelemetry's own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT,
// OTEL_TRACES_EXPORTER, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and so on). Where they say nothing, nothing is exported.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options says what a process is and how it logs.
type Options struct {
	// Service is what the process is called in traces, for example shoplake-worker; OTEL_SERVICE_NAME goes before it.
	Service string
	// Version of the program.
	Version string
	// LogFormat is text (default) or json.
	LogFormat string
	// LogLevel is debug, info (default), warn or error.
	LogLevel string
	// LogOutput is where logs go; standard error where nil.
	LogOutput io.Writer
	// Metrics keeps a Prometheus registry for Telemetry.MetricsHandler.
	Metrics bool
	// Attributes are added to the resource, for example the worker's id.
	Attributes []attribute.KeyValue
}

// Telemetry is what Start set up.
type Telemetry struct {
	logger  *slog.Logger
	sinks   *sinks
	traces  *sdktrace.TracerProvider
	metrics *sdkmetric.MeterProvider
	handler http.Handler
}

// Start sets up logs, traces and metrics and makes them the process's defaults (slog, otel). Call it once.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	lines := &sinks{funcs: map[int]func(Line){}}
	logger, err := newLogger(o, lines)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(logger)
	otel.SetErrorHandler(complaints(logger))
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	t := &Telemetry{logger: logger, sinks: lines}

	res, err := newResource(ctx, o)
	if err != nil {
		return nil, err
	}
	spans, err := spanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the export of traces: %w: check the OTEL_ environment variables", err)
	}
	traceOptions := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithIDGenerator(idGenerator{})}
	if spans != nil {
		traceOptions = append(traceOptions, sdktrace.WithBatcher(spans))
	} else {
		// Trace ids still go into logs and messages, no span is recorded.
		traceOptions = append(traceOptions, sdktrace.WithSampler(sdktrace.NeverSample()))
	}
	t.traces = sdktrace.NewTracerProvider(traceOptions...)
	otel.SetTracerProvider(t.traces)

	metricOptions := []sdkmetric.Option{sdkmetric.WithResource(res)}
	reader, err := metricReader(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the export of metrics: %w: check the OTEL_ environment variables", err)
	}
	if reader != nil {
		metricOptions = append(metricOptions, sdkmetric.WithReader(reader))
	}
	if o.Metrics {
		reader, handler, err := newPrometheus()
		if err != nil {
			return nil, err
		}
		metricOptions = append(metricOptions, sdkmetric.WithReader(reader))
		t.handler = handler
	}
	t.metrics = sdkmetric.NewMeterProvider(metricOptions...)
	otel.SetMeterProvider(t.metrics)
	return t, nil
}

// Logger is the process's logger, also slog.Default.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// TracerProvider is the process's tracer provider, also otel's.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.traces }

// MeterProvider is the process's meter provider, also otel's.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.metrics }

// MetricsHandler serves metrics in Prometheus's text format; nil where Options.Metrics was not set.
func (t *Telemetry) MetricsHandler() http.Handler { return t.handler }

// Flush exports the spans and metrics that wait.
func (t *Telemetry) Flush(ctx context.Context) error {
	if err := errors.Join(t.traces.ForceFlush(ctx), t.metrics.ForceFlush(ctx)); err != nil {
		return fmt.Errorf("export waiting spans and metrics: %w", err)
	}
	return nil
}

// Shutdown exports what waits and stops exporting; logs go on.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := errors.Join(t.traces.Shutdown(ctx), t.metrics.Shutdown(ctx)); err != nil {
		return fmt.Errorf("stop telemetry: %w: the last spans or metrics may not have been exported", err)
	}
	return nil
}

func newResource(ctx context.Context, o Options) (*resource.Resource, error) {
	attrs := append([]attribute.KeyValue{
		attribute.String("service.name", o.Service),
		attribute.String("service.version", o.Version),
	}, o.Attributes...)
	// What the environment says (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) comes last and goes before ours.
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attrs...), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this process for telemetry: %w: check OTEL_RESOURCE_ATTRIBUTES", err)
	}
	return res, nil
}

// disabled tells whether the environment switches telemetry off.
func disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

// asked tells whether the environment asks for the export of a signal (TRACES or METRICS).
func asked(signal string) bool {
	if disabled() {
		return false
	}
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// speaksGRPC tells whether the environment names OTLP's gRPC port and no protocol: the standard's default protocol, HTTP,
// cannot work there.
func speaksGRPC(signal string) bool {
	if e := os.Getenv("OTEL_" + signal + "_EXPORTER"); e != "" && e != "otlp" {
		return false
	}
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL") != "" {
		return false
	}
	endpoint := os.Getenv("OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT")
	if endpoint == "" {
		endpoint = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	u, err := url.Parse(endpoint)
	return err == nil && u.Port() == "4317"
}

// spanExporter is what the environment asks for; nil for none.
func spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if !asked("TRACES") {
		return nil, nil
	}
	if speaksGRPC("TRACES") {
		return otlptracegrpc.New(ctx)
	}
	e, err := autoexport.NewSpanExporter(ctx)
	if err != nil || autoexport.IsNoneSpanExporter(e) {
		return nil, err
	}
	return e, nil
}

// metricReader is what the environment asks for; nil for none.
func metricReader(ctx context.Context) (sdkmetric.Reader, error) {
	if !asked("METRICS") {
		return nil, nil
	}
	if speaksGRPC("METRICS") {
		e, err := otlpmetricgrpc.New(ctx)
		if err != nil {
			return nil, err
		}
		return sdkmetric.NewPeriodicReader(e), nil
	}
	r, err := autoexport.NewMetricReader(ctx)
	if err != nil || autoexport.IsNoneMetricReader(r) {
		return nil, err
	}
	return r, nil
}

// newPrometheus is a registry of its own with the Go runtime's and the process's metrics beside ours.
func newPrometheus() (sdkmetric.Reader, http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, nil, fmt.Errorf("set up Prometheus metrics: %w", err)
	}
	return reader, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// complaintInterval is how often failures of export are logged at most.
const complaintInterval = time.Minute

// complaints logs failures of export: a collector that is away must not fill the log.
func complaints(logger *slog.Logger) otel.ErrorHandler {
	var mu sync.Mutex
	var last time.Time
	return otel.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= complaintInterval {
			last = now
			logger.Warn("telemetry could not be exported: check OTEL_EXPORTER_OTLP_ENDPOINT and that a collector listens there", "error", err)
		}
	})
}
