package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/failpoint"
)

// LoggedEvents is one message of a run's log.
type LoggedEvents struct {
	// Seq is the message's place in the log; it grows, with gaps, since all runs share one stream.
	Seq uint64
	// Time is when the server stored it.
	Time   time.Time
	Events *dispatchv1.RunEvents
}

// AppendRun appends events to a run's log if the last message of the run has sequence after (0: none yet), and gives the
// sequence of the new message. ErrConflict means that another process appended. Where the server's answer is lost, the log
// is asked whether the events are there; ErrUnknownOutcome means that ctx ended before it answered.
func (b *Bus) AppendRun(ctx context.Context, runID string, after uint64, events *dispatchv1.RunEvents) (uint64, error) {
	what := "append to the log of run " + runID
	if err := token("run id", runID); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := encode("the events of run "+runID, events, func(e *dispatchv1.RunEvents) { e.ProtocolVersion = Protocol })
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	var seq uint64
	err = failpoint.Around(ctx, failpoint.Append(kindOf(events)), func() error {
		seq, err = b.publishAfter(ctx, fmt.Sprintf("%s after sequence %d", what, after), runStream, runSubject+runID, after, data, 0)
		return err
	})
	return seq, err
}

// kindOf names the kind of the last event.
func kindOf(events *dispatchv1.RunEvents) string {
	if n := len(events.GetEvents()); n > 0 {
		m := events.GetEvents()[n-1].ProtoReflect()
		if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind")); field != nil {
			return string(field.Name())
		}
	}
	return "nothing"
}

// ReadRun reads what stands in a run's log behind a sequence (0: from the beginning), up to its present end. A run without
// a log has no events; ErrShort means that the log ends before the sequence.
func (b *Bus) ReadRun(ctx context.Context, runID string, after uint64) ([]LoggedEvents, error) {
	what := "read the log of run " + runID
	if err := token("run id", runID); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s, err := b.stream(ctx, runStream)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	end, found, err := b.last(ctx, s, runSubject+runID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case !found && after > 0, found && end.Sequence < after:
		return nil, fmt.Errorf("%s after sequence %d: %w", what, after, ErrShort)
	case !found, end.Sequence == after:
		return nil, nil
	}
	var logged []LoggedEvents
	o := followOptions{stream: runStream, subject: runSubject + runID, from: after + 1}
	err = b.follow(ctx, o, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		l, err := readEvents(msg, meta)
		if err != nil {
			return err
		}
		logged = append(logged, l)
		if l.Seq >= end.Sequence {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return logged, nil
}

// WatchRun sends what stands in a run's log behind a sequence, then what is appended. The channel is closed when ctx ends,
// or, with an error in the log, at a message that this program cannot read.
func (b *Bus) WatchRun(ctx context.Context, runID string, after uint64) (<-chan LoggedEvents, error) {
	if err := token("run id", runID); err != nil {
		return nil, fmt.Errorf("watch the log of run %s: %w", runID, err)
	}
	if _, err := b.stream(ctx, runStream); err != nil {
		return nil, fmt.Errorf("watch the log of run %s: %w", runID, err)
	}
	out := make(chan LoggedEvents)
	go func() {
		defer close(out)
		o := followOptions{stream: runStream, subject: runSubject + runID, from: after + 1}
		err := b.follow(ctx, o, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			l, err := readEvents(msg, meta)
			if err != nil {
				return err
			}
			select {
			case out <- l:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		logEnd(ctx, "watching a run's log ended", err, "run", runID)
	}()
	return out, nil
}

func readEvents(msg jetstream.Msg, meta *jetstream.MsgMetadata) (LoggedEvents, error) {
	events := new(dispatchv1.RunEvents)
	if err := decode("a message of a run's log", msg.Data(), events); err != nil {
		return LoggedEvents{}, fmt.Errorf("sequence %d of %s: %w", meta.Sequence.Stream, msg.Subject(), err)
	}
	return LoggedEvents{Seq: meta.Sequence.Stream, Time: meta.Timestamp, Events: events}, nil
}

// Runs lists the ids of all runs that have a log, sorted: ULIDs sort by age.
func (b *Bus) Runs(ctx context.Context) ([]string, error) {
	logs, err := b.subjects(ctx, runStream, runSubject+"*")
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	ids := make([]string, 0, len(logs))
	for subject := range logs {
		ids = append(ids, strings.TrimPrefix(subject, runSubject))
	}
	slices.Sort(ids)
	return ids, nil
}

// WatchNewRuns sends the id of each run whose log gets a message from now on; several messages of a run may be told as one.
// The channel is closed when ctx ends.
func (b *Bus) WatchNewRuns(ctx context.Context) (<-chan string, error) {
	return b.watchSubjects(ctx, "watch for runs", runStream, runSubject)
}

// watchSubjects sends what follows the prefix in the subject of each message of a stream from now on, each that already waits once.
func (b *Bus) watchSubjects(ctx context.Context, what, stream, prefix string) (<-chan string, error) {
	end, err := b.lastSequence(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	seen := make(chan string)
	go func() {
		defer close(seen)
		o := followOptions{stream: stream, subject: prefix + "*", from: end + 1, headersOnly: true}
		err := b.follow(ctx, o, func(msg jetstream.Msg, _ *jetstream.MsgMetadata) error {
			select {
			case seen <- strings.TrimPrefix(msg.Subject(), prefix):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		logEnd(ctx, what+": ended", err)
	}()
	out := make(chan string)
	go coalesce(seen, out)
	return out, nil
}

// coalesce passes values on, each that already waits once, and closes out when in is closed.
func coalesce[T comparable](in <-chan T, out chan<- T) {
	defer close(out)
	var waiting []T
	for {
		var to chan<- T
		var first T
		if len(waiting) > 0 {
			to, first = out, waiting[0]
		}
		select {
		case value, open := <-in:
			if !open {
				return
			}
			if !slices.Contains(waiting, value) {
				waiting = append(waiting, value)
			}
		case to <- first:
			waiting = waiting[1:]
		}
	}
}

// logEnd tells why a background reader ended, where that was not asked for.
func logEnd(ctx context.Context, message string, err error, attrs ...any) {
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	slog.ErrorContext(ctx, message, append(attrs, "error", err)...)
}
