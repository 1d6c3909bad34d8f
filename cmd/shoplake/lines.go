package main

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// keepLines keeps what this process logs about runs in NATS, for `shoplake runs logs`, until the function that it returns is called.
func keepLines(ctx context.Context, c bus.Config, t *telemetry.Telemetry) (stop func() error, err error) {
	c.Name += "-lines"
	b, err := bus.Connect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	quiet := t.OnLine(func(l telemetry.Line) {
		line := &dispatchv1.RunLogLine{RunId: l.Run, Time: timestamppb.New(l.Time), Level: l.Level.String(), Message: l.Message,
			Stage: l.Stage, Task: l.Task, Worker: l.Attributes["worker"], Attributes: l.Attributes}
		delete(line.Attributes, "worker")
		// A line that is lost is in the process's own log; nobody is told, since that would be a line.
		_ = b.LogLine(line)
	})
	return func() error {
		quiet()
		b.Close()
		return nil
	}, nil
}
