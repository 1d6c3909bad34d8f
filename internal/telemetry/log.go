package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

type contextKey int

const (
	runKey contextKey = iota
	stageKey
	taskKey
)

// logged are the ids that go from the context into each line.
var logged = []struct {
	key  contextKey
	name string
}{{runKey, "run"}, {stageKey, "stage"}, {taskKey, "task"}}

// WithRun puts a run's id into the log lines of a context.
func WithRun(ctx context.Context, run string) context.Context {
	return context.WithValue(ctx, runKey, run)
}

// WithStage puts a stage, {layer}.{table}, into the log lines of a context.
func WithStage(ctx context.Context, stage string) context.Context {
	return context.WithValue(ctx, stageKey, stage)
}

// WithTask puts a task's id into the log lines of a context.
func WithTask(ctx context.Context, task string) context.Context {
	return context.WithValue(ctx, taskKey, task)
}

// Line is a line that was logged about a run, without secrets.
type Line struct {
	Time             time.Time
	Level            slog.Level
	Message          string
	Run, Stage, Task string
	// Attributes are all others, by name.
	Attributes map[string]string
}

// sinks get the lines about runs.
type sinks struct {
	mu    sync.RWMutex
	funcs map[int]func(Line)
	next  int
}

// OnLine calls f with each line about a run from now on, those of level info too where the log itself shows less, until the
// function that it returns is called. f must not wait, and must not log.
func (t *Telemetry) OnLine(f func(Line)) (stop func()) {
	s := t.sinks
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	s.next++
	s.funcs[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.funcs, id)
	}
}

func (s *sinks) empty() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.funcs) == 0
}

func (s *sinks) send(l Line) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.funcs {
		f(l)
	}
}

func newLogger(o Options, s *sinks) (*slog.Logger, error) {
	var level slog.Level
	if o.LogLevel != "" {
		if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
			return nil, fmt.Errorf("log level %q is not known: use debug, info, warn or error", o.LogLevel)
		}
	}
	out := o.LogOutput
	if out == nil {
		out = os.Stderr
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	switch o.LogFormat {
	case "", "text":
		return slog.New(handler{Handler: slog.NewTextHandler(out, options), sinks: s}), nil
	case "json":
		return slog.New(handler{Handler: slog.NewJSONHandler(out, options), sinks: s}), nil
	}
	return nil, fmt.Errorf("log format %q is not known: use text or json", o.LogFormat)
}

// handler adds what the context knows to each line, and gives lines about runs to whoever asked for them.
type handler struct {
	slog.Handler
	sinks *sinks
	// with are the attributes that the logger itself has; those of groups are for the log alone.
	with []slog.Attr
}

// Enabled lets through what the log shows, and what is told of runs.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, level) || level >= slog.LevelInfo && !h.sinks.empty()
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	for _, l := range logged {
		id, ok := ctx.Value(l.key).(string)
		if !ok {
			continue
		}
		// What the line says itself is not said twice.
		said := false
		r.Attrs(func(a slog.Attr) bool {
			said = a.Key == l.name
			return !said
		})
		if !said {
			r.AddAttrs(slog.String(l.name, id))
		}
	}
	if r.Level >= slog.LevelInfo && !h.sinks.empty() {
		if line := lineOf(r, h.with); line.Run != "" {
			h.sinks.send(line)
		}
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.sinks, append(h.with[:len(h.with):len(h.with)], attrs...)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.sinks, h.with}
}

func lineOf(r slog.Record, with []slog.Attr) Line {
	line := Line{Time: r.Time, Level: r.Level, Message: clean(r.Message), Attributes: map[string]string{}}
	add := func(a slog.Attr) bool {
		a.Value = a.Value.Resolve()
		switch value := redact(nil, a).Value.String(); a.Key {
		case "run":
			line.Run = value
		case "stage":
			line.Stage = value
		case "task":
			line.Task = value
		default:
			line.Attributes[a.Key] = value
		}
		return true
	}
	for _, a := range with {
		add(a)
	}
	r.Attrs(add)
	return line
}

const redacted = "[redacted]"

var (
	userInfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s"']*@`)
	// assignment is a secret in a connection string (password=x) or in JSON ("token":"x").
	assignment = regexp.MustCompile(`(?i)\b(\w*(?:password|passwd|secret|token)\w*(?:\s*=\s*|"\s*:\s*")["']?)[^\s"'&;,]+`)
	bearer     = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`)
)

// redact keeps secrets out of the log.
func redact(_ []string, a slog.Attr) slog.Attr {
	key := strings.ToLower(a.Key)
	for _, secret := range []string{"password", "passwd", "secret", "token", "authorization"} {
		if strings.Contains(key, secret) {
			return slog.String(a.Key, redacted)
		}
	}
	switch a.Value.Kind() {
	case slog.KindString:
		if text := a.Value.String(); clean(text) != text {
			return slog.String(a.Key, clean(text))
		}
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case *slog.Source, nil:
		case *url.URL:
			if v != nil {
				return slog.String(a.Key, clean(v.String()))
			}
		case error:
			return slog.String(a.Key, clean(v.Error()))
		case []string:
			cleaned := make([]string, len(v))
			for i := range v {
				cleaned[i] = clean(v[i])
			}
			return slog.Any(a.Key, cleaned)
		case fmt.Stringer:
			// A protobuf, for example.
			return slog.String(a.Key, clean(fmt.Sprint(v)))
		}
	}
	return a
}

// clean takes the user names, passwords and tokens out of a text.
func clean(text string) string {
	text = userInfo.ReplaceAllString(text, "${1}"+redacted+"@")
	text = bearer.ReplaceAllString(text, "${1} "+redacted)
	return assignment.ReplaceAllString(text, "${1}"+redacted)
}
