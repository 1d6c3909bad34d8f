package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

const (
	// maxLine bounds the text of a line, in bytes, and of each of its attributes.
	maxLine = 8 << 10
	// maxAttributes bounds how many attributes of a line are kept.
	maxAttributes = 16
)

// LogLine stores a line about a run. It waits for nothing: a line is lost where the server is away for long.
func (b *Bus) LogLine(line *dispatchv1.RunLogLine) error {
	what := "log a line of run " + line.GetRunId()
	if err := token("run id", line.GetRunId()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	data, err := encode("a line of a run", shortened(line), func(l *dispatchv1.RunLogLine) { l.ProtocolVersion = Protocol })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := b.nc.Publish(logSubject+line.GetRunId(), data); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// shortened is a copy of a line that can be sent, whatever it says.
func shortened(line *dispatchv1.RunLogLine) *dispatchv1.RunLogLine {
	short := &dispatchv1.RunLogLine{RunId: line.GetRunId(), Time: line.GetTime(), Level: line.GetLevel(), Message: sendable(line.GetMessage()),
		Stage: sendable(line.GetStage()), Task: sendable(line.GetTask()), Worker: sendable(line.GetWorker()), Attributes: map[string]string{}}
	for name, value := range line.GetAttributes() {
		if len(short.Attributes) < maxAttributes {
			short.Attributes[sendable(name)] = sendable(value)
		}
	}
	return short
}

func sendable(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "..."
	}
	return text
}

// LoggedLine is a line as it is kept.
type LoggedLine struct {
	// Seq grows from line to line.
	Seq  uint64
	Line *dispatchv1.RunLogLine
}

// ReadLines calls f with the lines of a run behind a sequence (0: all that are kept), the oldest first, up to the present end
// or until f returns false.
func (b *Bus) ReadLines(ctx context.Context, runID string, after uint64, f func(LoggedLine) bool) error {
	what := "read the lines of run " + runID
	if err := token("run id", runID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s, err := b.stream(ctx, logStream)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	end, found, err := b.last(ctx, s, logSubject+runID)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !found || end.Sequence <= after {
		return nil
	}
	err = b.followLines(ctx, runID, after, func(l LoggedLine) error {
		if !f(l) || l.Seq >= end.Sequence {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// WatchLines calls f with the lines of a run behind a sequence, those that are there and those that come, until ctx ends or f fails.
func (b *Bus) WatchLines(ctx context.Context, runID string, after uint64, f func(LoggedLine) error) error {
	what := "watch the lines of run " + runID
	if err := token("run id", runID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err := b.followLines(ctx, runID, after, f)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return ctx.Err()
}

func (b *Bus) followLines(ctx context.Context, runID string, after uint64, f func(LoggedLine) error) error {
	o := followOptions{stream: logStream, subject: logSubject + runID, from: after + 1}
	return b.follow(ctx, o, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		line := new(dispatchv1.RunLogLine)
		if err := decode("a line of a run", msg.Data(), line); errors.Is(err, ErrProtocol) {
			return nil // of another version: nothing is decided by lines
		} else if err != nil {
			return err
		}
		return f(LoggedLine{Seq: meta.Sequence.Stream, Line: line})
	})
}
