package runs

import (
	"context"
	"log/slog"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// say logs what the events of a run mean to people.
func say(ctx context.Context, log *slog.Logger, runID string, events []*dispatchv1.RunEvent) {
	ctx = telemetry.WithRun(ctx, runID)
	for _, e := range events {
		if l, ok := sentence(e); ok {
			if l.stage != "" {
				l.attrs = append(l.attrs, slog.String("stage", l.stage))
			}
			log.LogAttrs(ctx, l.level, l.text, l.attrs...)
		}
	}
}

// said is what an event means to people.
type said struct {
	level slog.Level
	text  string
	stage string
	attrs []slog.Attr
}

// sentence words an event; ok is false where there is nothing to say.
func sentence(e *dispatchv1.RunEvent) (l said, ok bool) {
	switch k := e.GetKind().(type) {
	case *dispatchv1.RunEvent_Started:
		return said{text: "the run began", attrs: []slog.Attr{slog.Int("stages", len(k.Started.GetStages())), slog.Uint64("epoch", k.Started.GetEpoch())}}, true
	case *dispatchv1.RunEvent_Reopened:
		return said{text: "the run was resumed"}, true
	case *dispatchv1.RunEvent_StagePlanned:
		p := k.StagePlanned
		l = said{text: "planned", stage: p.GetStage(), attrs: []slog.Attr{slog.Int64("partitions", p.GetPartitions()), slog.Int("tasks", len(p.GetTaskIds()))}}
		if p.GetReason() != "" {
			l.attrs = append(l.attrs, slog.String("reason", p.GetReason()))
		}
		return l, true
	case *dispatchv1.RunEvent_StageUpToDate:
		return said{text: "up to date", stage: k.StageUpToDate.GetStage(), attrs: []slog.Attr{slog.String("reason", k.StageUpToDate.GetReason())}}, true
	case *dispatchv1.RunEvent_Task:
		failed := k.Task.GetFailed()
		if failed == nil {
			return l, false // its worker says so itself
		}
		return said{level: slog.LevelWarn, text: "an attempt failed", stage: k.Task.GetStage(), attrs: []slog.Attr{slog.String("task", k.Task.GetTaskId()),
			slog.String("by", k.Task.GetWorker()), slog.String("class", className(failed.GetClass())), slog.String("error", failed.GetMessage())}}, true
	case *dispatchv1.RunEvent_StageCommitted:
		l = said{text: "committed", stage: k.StageCommitted.GetStage(), attrs: []slog.Attr{slog.Any("snapshots", k.StageCommitted.GetSnapshots())}}
		if m := k.StageCommitted.GetMaintenance(); m != nil {
			l.text, l.attrs = "maintained", append(l.attrs, slog.Int64("files_compacted", m.GetFilesCompacted()), slog.Int64("snapshots_expired", m.GetSnapshotsExpired()),
				slog.Int64("orphans_removed", m.GetOrphansRemoved()), slog.Int64("bytes_removed", m.GetBytesRemoved()))
		}
		return l, true
	case *dispatchv1.RunEvent_StageReset:
		return said{level: slog.LevelWarn, text: "planned again", stage: k.StageReset.GetStage(), attrs: []slog.Attr{slog.String("reason", k.StageReset.GetReason())}}, true
	case *dispatchv1.RunEvent_StageFailed:
		return said{level: slog.LevelError, text: "the stage failed", stage: k.StageFailed.GetStage(), attrs: []slog.Attr{
			slog.String("class", className(k.StageFailed.GetClass())), slog.String("error", k.StageFailed.GetMessage())}}, true
	case *dispatchv1.RunEvent_Finished:
		l = said{text: "the run ended", attrs: []slog.Attr{slog.String("state", k.Finished.GetState())}}
		if k.Finished.GetMessage() != "" {
			l.level = slog.LevelError
			l.attrs = append(l.attrs, slog.String("class", className(k.Finished.GetClass())), slog.String("error", k.Finished.GetMessage()))
		}
		return l, true
	}
	return l, false
}

// className is an error class as people read it: bad data.
func className(c dispatchv1.ErrorClass) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(c.String(), "ERROR_CLASS_")), "_", " ")
}
