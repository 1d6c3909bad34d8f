package runs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/shoplake/shoplake/controlplane/page"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// lineFilter picks lines of a run.
type lineFilter struct {
	run, stage string
	min        shoplakev1.LogLevel
}

func newLineFilter(parent string, min shoplakev1.LogLevel) lineFilter {
	run, stage, _ := strings.Cut(strings.TrimPrefix(parent, "runs/"), "/stages/")
	return lineFilter{run: run, stage: stage, min: min}
}

// fits says whether the run has the stage; before it has begun any may come.
func (f lineFilter) fits(s *State) error {
	if f.stage == "" || !s.LaidOut() {
		return nil
	}
	_, err := s.stageOf(f.stage)
	return err
}

func (f lineFilter) picks(l bus.LoggedLine) bool {
	return (f.stage == "" || f.stage == l.Line.GetStage()) && levelOf(l) >= f.min
}

func levelOf(l bus.LoggedLine) shoplakev1.LogLevel {
	return shoplakev1.LogLevel(shoplakev1.LogLevel_value["LOG_LEVEL_"+l.Line.GetLevel()])
}

func lineView(l bus.LoggedLine) *shoplakev1.LogLine {
	return &shoplakev1.LogLine{Sequence: l.Seq, Time: l.Line.GetTime(), Level: levelOf(l), Message: l.Line.GetMessage(),
		Stage: l.Line.GetStage(), Task: l.Line.GetTask(), Worker: l.Line.GetWorker(), Attributes: l.Line.GetAttributes()}
}

// ListRunLogs returns what was logged about a run, the oldest first.
func (h *Handler) ListRunLogs(ctx context.Context, r *shoplakev1.ListRunLogsRequest) (*shoplakev1.ListRunLogsResponse, error) {
	f := newLineFilter(r.GetParent(), r.GetMinLevel())
	if err := h.Runs.View(ctx, f.run, f.fits); err != nil {
		return nil, err
	}
	var after uint64
	if token := r.GetPageToken(); token != "" {
		var err error
		if after, err = strconv.ParseUint(token, 10, 64); err != nil {
			return nil, page.ErrToken
		}
	}
	size := int(r.GetPageSize())
	if size == 0 {
		size = page.DefaultSize
	}
	response := &shoplakev1.ListRunLogsResponse{}
	err := h.Runs.bus.ReadLines(ctx, f.run, after, func(l bus.LoggedLine) bool {
		if !f.picks(l) {
			return true
		}
		if n := len(response.Lines); n == size {
			response.NextPageToken = strconv.FormatUint(response.Lines[n-1].GetSequence(), 10)
			return false
		}
		response.Lines = append(response.Lines, lineView(l))
		return true
	})
	return response, err
}

// lastLines is how long the lines of a run that has ended are waited for: they come beside its log, not in it.
const lastLines = 500 * time.Millisecond

// WatchRunLogs sends the lines that are there, then each as it is written, until the run has ended.
func (h *Handler) WatchRunLogs(r *shoplakev1.WatchRunLogsRequest, stream grpc.ServerStreamingServer[shoplakev1.WatchRunLogsResponse]) error {
	f := newLineFilter(r.GetParent(), r.GetMinLevel())
	if err := h.Runs.View(stream.Context(), f.run, f.fits); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	go func() {
		err := h.Runs.Watch(ctx, f.run, 0, func(*State, []string) error { return nil })
		if err == nil {
			wait(ctx, lastLines)
			err = errRunEnded
		}
		cancel(err)
	}()
	err := h.Runs.bus.WatchLines(ctx, f.run, r.GetAfterSequence(), func(l bus.LoggedLine) error {
		if !f.picks(l) {
			return nil
		}
		return stream.Send(&shoplakev1.WatchRunLogsResponse{Line: lineView(l)})
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errRunEnded):
		return nil
	case stream.Context().Err() == nil && cause != nil:
		return fmt.Errorf("watch the lines of run %s: %w", f.run, cause)
	}
	return err
}

// errRunEnded ends a watch of a run's lines.
var errRunEnded = errors.New("the run has ended")
