package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// givenIDs is the key under which StartSpanWithIDs hands ids to the generator.
type givenIDs struct{}

type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

// idGenerator makes random ids, or the ones that the context gives.
type idGenerator struct{}

func (idGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if given, ok := ctx.Value(givenIDs{}).(ids); ok {
		return given.trace, given.span
	}
	return randomIDs()
}

func (idGenerator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if given, ok := ctx.Value(givenIDs{}).(ids); ok {
		return given.span
	}
	_, span := randomIDs()
	return span
}

func randomIDs() (t trace.TraceID, s trace.SpanID) {
	for !t.IsValid() || !s.IsValid() {
		rand.Read(t[:])
		rand.Read(s[:])
	}
	return t, s
}

// StartSpanWithIDs starts a span whose ids were given out before: a run's span begins when the run is submitted and is
// written when it ends, perhaps by another process. A parent in ctx is kept if it is of the same trace. Children started
// from the returned context get ids of their own.
func StartSpanWithIDs(ctx context.Context, tracer trace.Tracer, name string, traceID trace.TraceID, spanID trace.SpanID,
	start time.Time, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	opts = append(opts, trace.WithTimestamp(start))
	parent := ctx
	if trace.SpanContextFromContext(ctx).TraceID() != traceID {
		// The span of another trace is no parent of this one.
		parent = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	if !traceID.IsValid() || !spanID.IsValid() {
		return tracer.Start(parent, name, opts...)
	}
	_, span := tracer.Start(context.WithValue(parent, givenIDs{}, ids{traceID, spanID}), name, opts...)
	return trace.ContextWithSpan(ctx, span), span
}

// RemoteParent makes a span of another process, or of an earlier life of this one, the parent of spans started from the
// context. Ids that are not valid leave ctx as it is.
func RemoteParent(ctx context.Context, traceID trace.TraceID, spanID trace.SpanID) context.Context {
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true})
	if !parent.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, parent)
}

// NewIDs makes random ids for a span to come, in hex.
func NewIDs() (traceHex, spanHex string) {
	t, s := randomIDs()
	return t.String(), s.String()
}

// ParseIDs reads ids in hex; what is not valid is zero.
func ParseIDs(traceHex, spanHex string) (trace.TraceID, trace.SpanID) {
	t, err := trace.TraceIDFromHex(traceHex)
	if err != nil {
		t = trace.TraceID{}
	}
	s, err := trace.SpanIDFromHex(spanHex)
	if err != nil {
		s = trace.SpanID{}
	}
	return t, s
}

// StageSpanID is the id of the span of a stage of a run: every process knows it without being told.
func StageSpanID(runID, stage string) trace.SpanID { return derived(runID + "/" + stage) }

// AttemptSpanID is the id of the span of an attempt at a task: the worker hangs its spans below it, and the coordinator, which
// has the attempt in the run's log, records it even when the worker did not live to.
func AttemptSpanID(attemptID string) trace.SpanID { return derived("attempt/" + attemptID) }

func derived(from string) trace.SpanID {
	sum := sha256.Sum256([]byte(from))
	var id trace.SpanID
	copy(id[:], sum[:])
	if !id.IsValid() {
		id[0] = 1
	}
	return id
}
