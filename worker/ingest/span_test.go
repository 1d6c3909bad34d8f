package ingest

import (
	"slices"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestSpans is not parallel: the provider of traces is the program's.
func TestSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(recorder)))
	defer otel.SetTracerProvider(before)
	l := newLanding(t, shipped(t).Source("orders"), "UTC")
	l.drop("a.csv", ordersHeader+"O1,1,2026-01-15,,,,,,,P1,1,1,,EUR,paid\nO1,1,2026-01-15,,,,,,,P1,1,1,,EUR,gone\n")
	l.run()
	found := map[string][]attribute.KeyValue{}
	for _, span := range recorder.Ended() {
		found[span.Name()] = span.Attributes()
	}
	for name, want := range map[string][]attribute.KeyValue{
		"ingest.read":  {attribute.String("shoplake.source", "orders"), attribute.Int64("shoplake.rows", 2)},
		"ingest.check": {attribute.Int64("shoplake.rows_bronze", 1), attribute.Int64("shoplake.rows_quarantined", 1)},
	} {
		for _, attribute := range want {
			if !slices.Contains(found[name], attribute) {
				t.Errorf("span %s has %v, not %v", name, found[name], attribute)
			}
		}
	}
}
