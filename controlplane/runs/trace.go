package runs

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// tracer makes the spans of runs, stages and attempts. Their ids are fixed before they begin (a run's lie in its log, a stage's
// follow from the run, an attempt's from its own id), so that a trace is whole even when the control plane was started again
// half-way, or a worker died: whoever coordinates at the end records the span.
var tracer = otel.Tracer("github.com/shoplake/shoplake/controlplane/runs")

// stageContext is the context under which a stage's steps and tasks make their spans; those of the run's itself where stage is
// empty.
func stageContext(ctx context.Context, submitted *dispatchv1.RunSubmitted, runID string, life uint32, stage string) context.Context {
	trace, span := telemetry.ParseIDs(submitted.GetTraceId(), submitted.GetSpanId())
	if life > 0 || stage != "" {
		span = stageSpan(runID, life, stage)
	}
	return telemetry.RemoteParent(ctx, trace, span)
}

// stageSpan is the id of the span of a stage in one life of a run; of that life itself where stage is empty.
func stageSpan(runID string, life uint32, stage string) trace.SpanID {
	if life > 0 {
		runID += "/" + strconv.Itoa(int(life))
	}
	return telemetry.StageSpanID(runID, stage)
}

// former says that something ended, or began where it never ended, before the run was reopened: its span was recorded then.
func (s *State) former(at time.Time) bool { return s.Life > 0 && !at.After(s.Reopened) }

func recordRun(ctx context.Context, s *State) {
	traceID, spanID := telemetry.ParseIDs(s.Submitted.GetTraceId(), s.Submitted.GetSpanId())
	name, begin := "run "+s.Submitted.GetFlow(), s.Created
	options := []trace.SpanStartOption{trace.WithAttributes(
		attribute.String("shoplake.run", s.RunID),
		attribute.String("shoplake.flow", s.Submitted.GetFlow()),
		attribute.String("shoplake.pipeline", s.Submitted.GetPipelineDigest()),
		attribute.String("shoplake.state", s.Phase.String()),
	)}
	if s.Life > 0 { // below the first
		ctx = stageContext(ctx, s.Submitted, s.RunID, 0, "")
		name, begin, spanID = "resume "+s.Submitted.GetFlow(), s.Reopened, stageSpan(s.RunID, s.Life, "")
	} else {
		options = append(options, trace.WithNewRoot())
	}
	_, span := telemetry.StartSpanWithIDs(ctx, tracer, name, traceID, spanID, begin, options...)
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
	ctx = stageContext(ctx, s.Submitted, s.RunID, s.Life, "")
	_, span := telemetry.StartSpanWithIDs(ctx, tracer, "stage "+st.Table, traceID, stageSpan(s.RunID, s.Life, st.Table), begin, trace.WithAttributes(
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

// recordAttempt records an attempt at a task. One that nothing was heard of since it began ends with its task or, at the latest,
// its stage.
func recordAttempt(ctx context.Context, s *State, st *Stage, t *Task, a *Attempt) {
	traceID, _ := telemetry.ParseIDs(s.Submitted.GetTraceId(), s.Submitted.GetSpanId())
	ctx = stageContext(ctx, s.Submitted, s.RunID, s.Life, st.Table)
	_, span := telemetry.StartSpanWithIDs(ctx, tracer, "task "+st.Table+" "+t.ID, traceID, telemetry.AttemptSpanID(a.ID), a.Started, trace.WithAttributes(
		attribute.String("shoplake.run", s.RunID),
		attribute.String("shoplake.stage", st.Table),
		attribute.String("shoplake.task", t.ID),
		attribute.String("shoplake.attempt", a.ID),
		attribute.String("shoplake.worker", a.Worker),
		attribute.Int("shoplake.release", int(a.Release)),
		attribute.Int64("shoplake.queued_ms", max(0, a.Started.Sub(a.Released).Milliseconds())),
	))
	end := a.Ended
	switch {
	case a.Error != "":
		span.SetStatus(codes.Error, a.Error)
	case end.IsZero():
		span.SetStatus(codes.Error, "nothing was heard of it after it began: its worker died, the run was cancelled, or another attempt was first")
		if end = t.EndedAt; end.Before(a.Started) {
			end = st.Ended
		}
	}
	span.End(trace.WithTimestamp(end))
}

// recordEnded records the spans of what has ended by the events that were appended last.
func (r *running) recordEnded(ctx context.Context, events []*dispatchv1.RunEvent) {
	for _, e := range events {
		if st := r.state.Stage(e.GetTask().GetStage()); st != nil && e.GetTask().GetEndTime() != nil {
			if t := st.Task(e.GetTask().GetTaskId()); t != nil {
				r.recordTries(ctx, st, t, func(a *Attempt) bool { return a.ID == e.GetTask().GetAttemptId() && !a.Ended.IsZero() })
			}
		}
	}
	for _, st := range r.state.Stages {
		if st.Terminal() && !r.recorded[st.Table] && !r.state.former(st.Ended) {
			r.recorded[st.Table] = true
			for _, t := range append(st.all(), st.Former...) {
				r.recordTries(ctx, st, t, func(*Attempt) bool { return true })
			}
			recordStage(ctx, r.state, st)
		}
	}
	if r.state.Terminal() {
		recordRun(ctx, r.state)
	}
}

func (r *running) recordTries(ctx context.Context, st *Stage, t *Task, wanted func(*Attempt) bool) {
	for _, a := range t.Tries {
		if wanted(a) && !r.recorded[a.ID] && !r.state.former(a.Started) {
			r.recorded[a.ID] = true
			recordAttempt(ctx, r.state, st, t, a)
		}
	}
}

// flushTimeout bounds how long the spans of a run that has ended are waited for to be exported.
const flushTimeout = 2 * time.Second

// flushSpans exports what was recorded, where spans are exported at all.
func flushSpans(ctx context.Context) {
	exporting, ok := otel.GetTracerProvider().(interface{ ForceFlush(context.Context) error })
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := exporting.ForceFlush(ctx); err != nil {
		slog.DebugContext(ctx, "spans of a run that has ended are exported later", "error", err)
	}
}

// exportGrace is how long before a takeover the former coordinator may have recorded a span that it did not live to export.
const exportGrace = 30 * time.Second

// recordAgain records what ended shortly before a takeover: a span that is exported twice is the same span.
func (r *running) recordAgain(ctx context.Context, now time.Time) {
	old := func(end time.Time) bool { return !end.IsZero() && end.Before(now.Add(-exportGrace)) }
	if r.state.Terminal() && old(r.state.Ended) {
		return
	}
	for _, st := range r.state.Stages {
		for _, t := range append(st.all(), st.Former...) {
			for _, a := range t.Tries {
				r.recorded[a.ID] = old(a.Ended) || old(st.Ended)
			}
			r.recordTries(ctx, st, t, func(a *Attempt) bool { return !a.Ended.IsZero() })
		}
		r.recorded[st.Table] = old(st.Ended)
	}
	r.recordEnded(ctx, nil)
}
