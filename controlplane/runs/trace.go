package runs

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/shoplake/shoplake/internal/telemetry"
)

// tracer makes the spans of runs and stages. Their ids are fixed before they begin (a run's lie in its log, a stage's follow
// from the run), so that a trace is whole even when the control plane was started again half-way: whoever sees the end records the span.
var tracer = otel.Tracer("github.com/shoplake/shoplake/controlplane/runs")

// stageContext is the context under which a stage's steps and tasks make their spans.
func stageContext(ctx context.Context, traceID, runSpan, runID, stage string) context.Context {
	trace, span := telemetry.ParseIDs(traceID, runSpan)
	if stage != "" {
		span = telemetry.StageSpanID(runID, stage)
	}
	return telemetry.RemoteParent(ctx, trace, span)
}

func recordRun(ctx context.Context, s *State) {
	traceID, spanID := telemetry.ParseIDs(s.Submitted.GetTraceId(), s.Submitted.GetSpanId())
	_, span := telemetry.StartSpanWithIDs(ctx, tracer, "run "+s.Submitted.GetFlow(), traceID, spanID, s.Created, trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("shoplake.run", s.RunID),
		attribute.String("shoplake.flow", s.Submitted.GetFlow()),
		attribute.String("shoplake.pipeline", s.Submitted.GetPipelineDigest()),
		attribute.String("shoplake.state", s.Phase.String()),
	))
	if s.Failure != nil {
		span.SetStatus(codes.Error, s.Failure.Message)
	}
	span.End(trace.WithTimestamp(s.Ended))
}

func recordStage(ctx context.Context, s *State, st *Stage) {
	begin := st.Started
	if begin.IsZero() {
		begin = st.Ended
	}
	traceID, _ := telemetry.ParseIDs(s.Submitted.GetTraceId(), s.Submitted.GetSpanId())
	ctx = stageContext(ctx, s.Submitted.GetTraceId(), s.Submitted.GetSpanId(), s.RunID, "")
	_, span := telemetry.StartSpanWithIDs(ctx, tracer, "stage "+st.Table, traceID, telemetry.StageSpanID(s.RunID, st.Table), begin, trace.WithAttributes(
		attribute.String("shoplake.run", s.RunID),
		attribute.String("shoplake.stage", st.Table),
		attribute.String("shoplake.state", st.State.String()),
		attribute.Int("shoplake.tasks", len(st.Tasks)),
	))
	if st.Failure != nil {
		span.SetStatus(codes.Error, st.Failure.Message)
	}
	span.End(trace.WithTimestamp(st.Ended))
}
