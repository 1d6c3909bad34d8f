package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/telemetry"
	"github.com/shoplake/shoplake/worker/ingest"
	"github.com/shoplake/shoplake/worker/maintain"
	"github.com/shoplake/shoplake/worker/transform"
)

var tracer = otel.Tracer("github.com/shoplake/shoplake/worker")

// do does one task: it reports that it has begun, works, reports the outcome, and only then acknowledges. free gives back the one
// slot that it comes with; nil where it comes without.
func (w *Worker) do(d *bus.Delivery, free func()) {
	t := d.Task
	id := ulid.Make().String()
	name := fmt.Sprintf("runs/%s/stages/%s/tasks/%s", t.GetRunId(), t.GetStage(), t.GetTaskId())
	ctx, cancel := context.WithCancelCause(d.Context(w.killed))
	defer cancel(nil)
	ctx = telemetry.WithTask(telemetry.WithStage(telemetry.WithRun(ctx, t.GetRunId()), t.GetStage()), t.GetTaskId())
	w.began(id, &attempt{name: name, runID: t.GetRunId(), life: t.GetLife(), stage: t.GetStage(), cancel: cancel})
	defer func() {
		w.mu.Lock()
		delete(w.current, id)
		w.mu.Unlock()
	}()
	// The span of the attempt itself is recorded by the coordinator, so that it is there even when this worker is killed.
	ctx = telemetry.RemoteParent(ctx, trace.SpanContextFromContext(ctx).TraceID(), telemetry.AttemptSpanID(id))
	ctx, span := tracer.Start(ctx, "work "+t.GetStage()+" "+t.GetTaskId(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("shoplake.run", t.GetRunId()), attribute.String("shoplake.stage", t.GetStage()), attribute.String("shoplake.task", t.GetTaskId()),
		attribute.String("shoplake.attempt", id), attribute.String("shoplake.worker", w.ID), attribute.Int("shoplake.release", int(t.GetRelease()))))
	defer span.End()
	alive, stopped := context.WithCancel(ctx)
	defer stopped()
	go w.keepAlive(alive, d)
	report := &dispatchv1.TaskReport{
		ProtocolVersion: bus.Protocol, RunId: t.GetRunId(), Stage: t.GetStage(), TaskId: t.GetTaskId(), AttemptId: id, Worker: w.ID,
		ReleaseTime: t.GetReleaseTime(), StartTime: timestamppb.Now(), Release: t.GetRelease(), PlanSha256: t.GetPlanSha256(),
	}
	share := w.room.shareOf(t, d.Deliveries)
	if share.slots > 1 || free == nil {
		if free != nil {
			free()
		}
		var err error
		if free, err = w.room.take(ctx, share); err != nil { // cancelled, or the worker stops
			stopped()
			w.handBack(ctx, d, report)
			return
		}
		report.StartTime = timestamppb.Now()
	}
	defer func() { free() }()
	report.Outcome = &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}}
	if err := w.bus.Report(ctx, report); err != nil {
		w.Log.WarnContext(ctx, "could not report that a task began", "error", err)
	}
	w.Log.InfoContext(ctx, "began", "release", t.GetRelease(), "attempt", id)
	succeeded, err := w.attemptInTime(ctx, t, id, share)
	report = proto.CloneOf(report)
	report.EndTime = timestamppb.Now()
	switch {
	case err == nil:
		report.Outcome = &dispatchv1.TaskReport_Succeeded{Succeeded: succeeded}
		w.tasksDone.Add(1)
		w.Log.InfoContext(ctx, "done", "attempt", id, "rows_in", succeeded.GetRowsIn(), "rows_out", succeeded.GetRowsOut(),
			"rows_quarantined", succeeded.GetRowsQuarantined(), "bytes_out", succeeded.GetBytesOut(), "seconds", report.GetEndTime().AsTime().Sub(report.GetStartTime().AsTime()).Seconds())
	case ctx.Err() != nil:
		stopped()
		w.handBack(ctx, d, report)
		return
	default:
		span.SetStatus(codes.Error, err.Error())
		w.Log.WarnContext(ctx, "a task failed", "error", err, "class", classOf(err))
		report.Outcome = &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: classOf(err), Message: err.Error(),
			OutOfMemory: errors.Is(err, engine.ErrOutOfMemory), PlanAgain: errors.Is(err, ingest.ErrNotAsPlanned)}}
	}
	if err := w.bus.Report(ctx, report); err != nil {
		w.Log.WarnContext(ctx, "could not report the outcome of a task; another worker will do it again", "error", err)
		return
	}
	stopped()
	w.finish(d, d.Ack)
}

// handedBack is said of an attempt that its worker did not end since it was stopped.
const handedBack = "its worker was stopped before it was done, and gave it back"

// handBack ends a delivery that was not done: of a cancelled run nobody waits for it; of a worker that stops another has it at once.
func (w *Worker) handBack(ctx context.Context, d *bus.Delivery, report *dispatchv1.TaskReport) {
	if errors.Is(context.Cause(ctx), errCancelled) {
		w.Log.InfoContext(ctx, "stopped: "+errCancelled.Error(), "attempt", report.GetAttemptId())
		w.finish(d, d.Ack)
		return
	}
	w.Log.InfoContext(ctx, "given back: the worker stops", "attempt", report.GetAttemptId())
	report.EndTime = timestamppb.Now()
	report.Outcome = &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, Message: handedBack, HandedBack: true}}
	w.finish(d, func(ctx context.Context) error {
		// It is released again. The queue would give it out as one whose worker may have died of it.
		if err := w.bus.Report(ctx, report); err != nil {
			return errors.Join(err, d.Nak(ctx, 0))
		}
		return d.Ack(ctx)
	})
}

// errTimeout is why an attempt ends that takes too long.
var errTimeout = errors.New("the attempt took longer than its timeout")

// attemptInTime is attempt within the task's timeout.
func (w *Worker) attemptInTime(ctx context.Context, t *dispatchv1.Task, id string, s share) (*dispatchv1.TaskSucceeded, error) {
	if t.GetTimeout() == nil {
		return w.attempt(ctx, t, id, s)
	}
	limit := t.GetTimeout().AsDuration()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	succeeded, err := w.attempt(ctx, t, id, s)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return nil, fmt.Errorf("%w of %v: give it more time (tasks: timeout), more slots, or smaller partitions: %w", errTimeout, limit, err)
	}
	return succeeded, err
}

// finish ends a delivery even when the worker is stopping.
func (w *Worker) finish(d *bus.Delivery, end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.killed), finishWait)
	defer cancel()
	if err := end(ctx); err != nil {
		w.Log.Warn("a task could not be acknowledged; it will be done again, and its second result ignored", "task", d.Task.GetTaskId(), "run", d.Task.GetRunId(), "error", err)
	}
}

// keepAlive extends the task's lease while it is under way.
func (w *Worker) keepAlive(ctx context.Context, d *bus.Delivery) {
	tick := time.NewTicker(w.AckWait / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.Extend(ctx); err != nil && ctx.Err() == nil {
				w.Log.WarnContext(ctx, "could not extend the lease of a task", "error", err)
			}
		}
	}
}

// attempt does the work of a task and stages what it wrote.
func (w *Worker) attempt(ctx context.Context, t *dispatchv1.Task, id string, s share) (*dispatchv1.TaskSucceeded, error) {
	plan, task, err := w.plans.of(ctx, t)
	if err != nil {
		return nil, err
	}
	p, err := w.pipelines.Get(ctx, plan.GetPipelineDigest())
	if err != nil {
		return nil, err
	}
	scratch := filepath.Join(w.scratch.Path, id)
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, fmt.Errorf("make the task's scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	staging := map[string]string{}
	for _, out := range plan.GetOutputs() {
		staging[out.GetTable()] = w.lake.Staging(out.GetTable(), plan.GetRunId())
	}
	j := job{w: w, plan: plan, planFolder: path.Dir(t.GetPlanPath()), task: task, pipeline: p, id: id, scratch: scratch, staging: staging, share: s}
	switch task.GetKind() {
	case dispatchv1.TaskKind_TASK_KIND_INGEST:
		return j.ingest(ctx)
	case dispatchv1.TaskKind_TASK_KIND_CARRY:
		return j.carry(ctx)
	case dispatchv1.TaskKind_TASK_KIND_TRANSFORM:
		return j.transform(ctx)
	case dispatchv1.TaskKind_TASK_KIND_COMPACT:
		return j.compact(ctx)
	case dispatchv1.TaskKind_TASK_KIND_CHECK:
		failures, err := transform.Check(ctx, j.request())
		return &dispatchv1.TaskSucceeded{CheckFailures: failures}, err
	}
	return nil, fmt.Errorf("the plan %s has a task of a kind (%v) that this worker does not know: run the version that wrote it, or a newer one", t.GetPlanPath(), task.GetKind())
}

// job is one attempt with all that it needs.
type job struct {
	w    *Worker
	plan *dispatchv1.StagePlan
	// planFolder is where the plan lies.
	planFolder  string
	task        *dispatchv1.TaskPlan
	pipeline    *pipeline.Pipeline
	id, scratch string
	staging     map[string]string
	share       share
}

// written is a Parquet file that an attempt wrote.
type written struct {
	table, partition, path string
	// columns are those of the file where they are not those that the plan has for the table.
	columns []*dispatchv1.TableColumn
}

func (j *job) engine() engine.Options {
	read := []string{j.w.Warehouse, j.scratch}
	write := []string{j.scratch}
	for _, folder := range j.staging {
		write = append(write, folder)
	}
	return engine.Options{
		MemoryLimit: j.w.MemoryLimit / int64(j.w.Slots) * int64(j.share.slots), Threads: j.threads(), SpillDir: filepath.Join(j.scratch, "spill"),
		ReadPaths: read, WritePaths: write, TimeZone: j.pipeline.TimeZone, Currency: j.pipeline.Currency,
	}
}

// threads are those of the slots that the task has. Alone it has one: each thread takes memory of its own.
func (j *job) threads() int {
	if j.share.alone {
		return 1
	}
	return j.w.Threads * j.share.slots
}

func (j *job) request() transform.Request {
	return transform.Request{Pipeline: j.pipeline, Plan: j.plan, Task: j.task, Staging: j.staging[j.plan.GetStage()], Attempt: j.id, Engine: j.engine()}
}

func (j *job) transform(ctx context.Context) (*dispatchv1.TaskSucceeded, error) {
	result, err := transform.Run(ctx, j.request())
	if err != nil {
		return nil, err
	}
	files := make([]written, 0, len(result.Files))
	for _, f := range result.Files {
		files = append(files, written{table: f.Table, partition: f.Partition, path: f.Path})
	}
	return j.stage(ctx, files, &dispatchv1.TaskSucceeded{RowsIn: result.RowsIn})
}

// stage describes the files for the commit and writes the list of them beside the plan.
func (j *job) stage(ctx context.Context, files []written, succeeded *dispatchv1.TaskSucceeded) (*dispatchv1.TaskSucceeded, error) {
	ctx, span := tracer.Start(ctx, "stage files")
	defer span.End()
	var output dispatchv1.TaskOutput
	for _, f := range files {
		staged, err := j.w.lake.Describe(ctx, f.path, j.schema(f), f.partition)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", f.path, err)
		}
		output.Files = append(output.Files, &dispatchv1.StagedFile{Table: f.table, Path: staged.Path, Partition: staged.Partition, Rows: staged.Rows, SizeBytes: staged.Bytes, Entry: staged.Entry})
		succeeded.BytesOut += staged.Bytes
		switch f.table {
		case j.plan.GetStage():
			succeeded.RowsOut += staged.Rows
		case pipeline.QuarantineTable:
			succeeded.RowsQuarantined += staged.Rows
		}
	}
	data, err := proto.Marshal(&output)
	if err != nil {
		return nil, fmt.Errorf("encode the list of staged files: %w", err)
	}
	sum := sha256.Sum256(data)
	succeeded.OutputPath = fmt.Sprintf("%s/output-%s-%s.pb", j.planFolder, j.task.GetTaskId(), j.id)
	succeeded.OutputSha256 = hex.EncodeToString(sum[:])
	if err := j.w.lake.WriteObject(ctx, succeeded.GetOutputPath(), data); err != nil {
		return nil, fmt.Errorf("write the list of staged files: %w", err)
	}
	return succeeded, nil
}

func (j *job) schema(f written) lake.Schema {
	s := lake.Schema{}
	for _, out := range j.plan.GetOutputs() {
		if out.GetTable() != f.table {
			continue
		}
		s.Partition = lake.Partition{Transform: lake.Transform(out.GetPartitionTransform()), Column: out.GetPartitionColumn()}
		columns := out.GetColumns()
		if f.columns != nil {
			columns = f.columns
		}
		for _, c := range columns {
			s.Columns = append(s.Columns, lake.Column{ID: int(c.GetFieldId()), Name: c.GetName(), Type: c.GetType(), Required: c.GetRequired()})
		}
	}
	return s
}

func (w *Worker) readPlan(ctx context.Context, path, sha string, plan *dispatchv1.StagePlan) error {
	data, err := w.lake.ReadObject(ctx, path)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sha {
		return fmt.Errorf("%s does not have the content that the task names: is this the control plane's lake?", path)
	}
	return proto.Unmarshal(data, plan)
}

// classOf says whether trying again can help.
func classOf(err error) dispatchv1.ErrorClass {
	var refused *engine.Error
	switch {
	case errors.Is(err, transform.ErrStrays), errors.Is(err, ingest.ErrContract), errors.Is(err, ingest.ErrNotConserved), errors.Is(err, maintain.ErrNotConserved):
		return dispatchv1.ErrorClass_ERROR_CLASS_BUG
	case errors.Is(err, engine.ErrOutOfMemory), errors.Is(err, engine.ErrDiskFull):
		return dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT
	case errors.As(err, &refused):
		switch refused.Class {
		case "Conversion", "Out of Range", "Constraint", "Invalid Input":
			return dispatchv1.ErrorClass_ERROR_CLASS_BAD_DATA
		case "Binder", "Catalog", "Parser", "Syntax", "Permission", "Not implemented", "INTERNAL":
			return dispatchv1.ErrorClass_ERROR_CLASS_BUG
		}
	}
	return dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT
}
