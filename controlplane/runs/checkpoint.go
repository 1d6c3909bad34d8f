package runs

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// checkpointVersion grows whenever State.Apply comes to fold a log to another state than before: checkpoints of open runs that
// an older program wrote are then not continued.
const checkpointVersion = 1

// checkpointEvents is after how many events an open run's state is written down at the latest, unless it has more tasks.
const checkpointEvents = 500

// checkpointTimeout bounds how long the coordinator waits for a checkpoint to be kept: it can do without.
const checkpointTimeout = 5 * time.Second

// errCheckpoint says that a checkpoint cannot be read.
var errCheckpoint = errors.New("the checkpoint cannot be read")

// checkpointDue says whether the state is worth writing down, after so many events since the last time. A state with many tasks
// is large, and is written the less often: what is written stays in proportion to the log.
func checkpointDue(s *State, events int, stageEnded bool) bool {
	tasks := 0
	for _, st := range s.Stages {
		tasks += len(st.Tasks)
	}
	return events >= max(checkpointEvents, tasks) || stageEnded && 8*events >= tasks
}

// endsStage says whether an event ends a stage, or begins its plan anew.
func endsStage(e *dispatchv1.RunEvent) bool {
	switch e.GetKind().(type) {
	case *dispatchv1.RunEvent_StageCommitted, *dispatchv1.RunEvent_StagePreviewed, *dispatchv1.RunEvent_StageUpToDate, *dispatchv1.RunEvent_StageFailed, *dispatchv1.RunEvent_StageReset:
		return true
	}
	return false
}

// keepCheckpoint writes a state down. Where that fails nothing is lost: the log is read from an older one, or from its start.
func (l *Log) keepCheckpoint(ctx context.Context, s *State) {
	data, err := encodeCheckpoint(s)
	if err == nil {
		putting, cancel := context.WithTimeout(ctx, checkpointTimeout)
		defer cancel()
		err = l.bus.PutCheckpoint(putting, s.RunID, data)
	}
	if err != nil && ctx.Err() == nil {
		slog.WarnContext(ctx, "could not write a run's checkpoint; its log will be read from further back", "run", s.RunID, "error", err)
	}
}

// checkpoint reads a run's state from its checkpoint; nil where there is none that can be continued.
func (l *Log) checkpoint(ctx context.Context, runID string) (*State, error) {
	data, err := l.bus.Checkpoint(ctx, runID)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint of run %s: %w", runID, err)
	}
	s, version, err := decodeCheckpoint(data, runID)
	if err == nil && version != checkpointVersion {
		err = fmt.Errorf("%w: its version is %d, this program continues %d", errCheckpoint, version, checkpointVersion)
	}
	if err != nil {
		slog.WarnContext(ctx, "left a run's checkpoint aside; reading its log from the start", "run", runID, "error", err)
		return nil, nil
	}
	return s, nil
}

func encodeCheckpoint(s *State) ([]byte, error) {
	folded, err := proto.MarshalOptions{Deterministic: true}.Marshal(foldedRun(s))
	if err != nil {
		return nil, fmt.Errorf("encode the state of run %s: %w", s.RunID, err)
	}
	var state bytes.Buffer
	w := gzip.NewWriter(&state)
	if _, err := w.Write(folded); err != nil {
		return nil, fmt.Errorf("compress the state of run %s: %w", s.RunID, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress the state of run %s: %w", s.RunID, err)
	}
	sum := sha256.Sum256(state.Bytes())
	return proto.Marshal(&dispatchv1.Checkpoint{Version: checkpointVersion, State: state.Bytes(), Sha256: sum[:]})
}

// decodeCheckpoint reads a checkpoint that this program or an older one wrote; errCheckpoint where it is damaged or newer.
func decodeCheckpoint(data []byte, runID string) (_ *State, version uint32, err error) {
	var c dispatchv1.Checkpoint
	if err := proto.Unmarshal(data, &c); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	if c.GetVersion() == 0 || c.GetVersion() > checkpointVersion {
		return nil, 0, fmt.Errorf("%w: its version is %d, this program reads up to %d", errCheckpoint, c.GetVersion(), checkpointVersion)
	}
	if sum := sha256.Sum256(c.GetState()); !bytes.Equal(sum[:], c.GetSha256()) {
		return nil, 0, fmt.Errorf("%w: it is damaged: its content does not have the SHA-256 that it names", errCheckpoint)
	}
	r, err := gzip.NewReader(bytes.NewReader(c.GetState()))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	folded, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	var run dispatchv1.FoldedRun
	if err := proto.Unmarshal(folded, &run); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	if run.GetRunId() != runID {
		return nil, 0, fmt.Errorf("%w: it is of run %q", errCheckpoint, run.GetRunId())
	}
	return unfoldRun(&run), c.GetVersion(), nil
}

func foldedRun(s *State) *dispatchv1.FoldedRun {
	r := &dispatchv1.FoldedRun{
		RunId: s.RunID, Sequence: s.Seq, Messages: s.Messages, Submitted: s.Submitted, Phase: int32(s.Phase), Epoch: s.Epoch, Pinned: s.Pinned,
		Notices: s.Notices, Publishing: s.Publishing, PublishedVersion: s.PublishedVersion, Failure: s.Failure.folded(),
		Suspended: s.Suspended, Life: s.Life, Led: s.Led, ReopenTime: timestamp(s.Reopened), CreateTime: timestamp(s.Created), StartTime: timestamp(s.Started), EndTime: timestamp(s.Ended),
	}
	for _, st := range s.Stages {
		r.Stages = append(r.Stages, &dispatchv1.FoldedStage{
			Table: st.Table, DependsOn: st.DependsOn, State: int32(st.State), Planned: st.Planned, Tasks: foldedTasks(st.Tasks), Check: foldedTask(st.Check),
			Checking: st.Checking, StagedPath: st.StagedPath, StagedSha256: st.StagedSHA256, Committing: st.Committing, Snapshots: st.Snapshots,
			Reason: st.Reason, Failure: st.Failure.folded(), StartTime: timestamp(st.Started), EndTime: timestamp(st.Ended), Plans: st.Plans,
			Former: foldedTasks(st.Former), Settled: st.Settled, Maintained: st.Maintained,
		})
	}
	return r
}

func foldedTasks(tasks []*Task) []*dispatchv1.FoldedTask {
	list := make([]*dispatchv1.FoldedTask, 0, len(tasks))
	for _, t := range tasks {
		list = append(list, foldedTask(t))
	}
	return list
}

func foldedTask(t *Task) *dispatchv1.FoldedTask {
	if t == nil {
		return nil
	}
	f := &dispatchv1.FoldedTask{
		TaskId: t.ID, State: int32(t.State), Release: t.Release, Attempts: int32(t.Attempts), Failures: int32(t.Failures), Worker: t.Worker,
		Queued: durationpb.New(t.Queued), Running: durationpb.New(t.Running),
		QueueTime: timestamp(t.QueuedAt), StartTime: timestamp(t.StartedAt), EndTime: timestamp(t.EndedAt), Done: t.Done, Failure: t.Failure.folded(), Alone: t.Alone,
	}
	for _, a := range t.Tries {
		f.Tries = append(f.Tries, &dispatchv1.FoldedAttempt{
			AttemptId: a.ID, Worker: a.Worker, Release: a.Release, ReleaseTime: timestamp(a.Released), StartTime: timestamp(a.Started), EndTime: timestamp(a.Ended), Error: a.Error, Class: a.Class,
		})
	}
	return f
}

func (f *Failure) folded() *dispatchv1.FoldedFailure {
	if f == nil {
		return nil
	}
	return &dispatchv1.FoldedFailure{Class: f.Class, Stage: f.Stage, Message: f.Message}
}

func unfoldRun(r *dispatchv1.FoldedRun) *State {
	s := NewState(r.GetRunId())
	s.Seq, s.Messages, s.Submitted, s.Phase, s.Epoch, s.Pinned = r.GetSequence(), r.GetMessages(), r.GetSubmitted(), shoplakev1.RunState(r.GetPhase()), r.GetEpoch(), r.GetPinned()
	s.Notices, s.Publishing, s.PublishedVersion, s.Failure = r.GetNotices(), r.GetPublishing(), r.GetPublishedVersion(), unfoldFailure(r.GetFailure())
	s.Suspended, s.Life, s.Led, s.Reopened = r.GetSuspended(), r.GetLife(), r.GetLed(), moment(r.GetReopenTime())
	s.Created, s.Started, s.Ended = moment(r.GetCreateTime()), moment(r.GetStartTime()), moment(r.GetEndTime())
	for _, f := range r.GetStages() {
		st := &Stage{
			Table: f.GetTable(), DependsOn: f.GetDependsOn(), State: shoplakev1.StageState(f.GetState()), Planned: f.GetPlanned(), Tasks: unfoldTasks(f.GetTasks()),
			Check: unfoldTask(f.GetCheck()), Checking: f.GetChecking(), StagedPath: f.GetStagedPath(), StagedSHA256: f.GetStagedSha256(),
			Committing: f.GetCommitting(), Snapshots: f.GetSnapshots(), Reason: f.GetReason(), Failure: unfoldFailure(f.GetFailure()),
			Started: moment(f.GetStartTime()), Ended: moment(f.GetEndTime()), Plans: f.GetPlans(), Former: unfoldTasks(f.GetFormer()),
			Settled: f.GetSettled(), Maintained: f.GetMaintained(), tasks: map[string]*Task{},
		}
		for _, t := range st.Tasks {
			st.tasks[t.ID] = t
		}
		st.recount()
		s.Stages = append(s.Stages, st)
		s.stages[st.Table] = st
	}
	return s
}

func unfoldTasks(list []*dispatchv1.FoldedTask) []*Task {
	var tasks []*Task
	for _, f := range list {
		tasks = append(tasks, unfoldTask(f))
	}
	return tasks
}

func unfoldTask(f *dispatchv1.FoldedTask) *Task {
	if f == nil {
		return nil
	}
	t := &Task{
		ID: f.GetTaskId(), State: shoplakev1.TaskState(f.GetState()), Release: f.GetRelease(), Attempts: int(f.GetAttempts()), Failures: int(f.GetFailures()),
		Worker: f.GetWorker(), Queued: f.GetQueued().AsDuration(), Running: f.GetRunning().AsDuration(),
		QueuedAt: moment(f.GetQueueTime()), StartedAt: moment(f.GetStartTime()), EndedAt: moment(f.GetEndTime()), Done: f.GetDone(), Failure: unfoldFailure(f.GetFailure()), Alone: f.GetAlone(),
	}
	for _, a := range f.GetTries() {
		t.Tries = append(t.Tries, &Attempt{ID: a.GetAttemptId(), Worker: a.GetWorker(), Release: a.GetRelease(),
			Released: moment(a.GetReleaseTime()), Started: moment(a.GetStartTime()), Ended: moment(a.GetEndTime()), Error: a.GetError(), Class: a.GetClass()})
	}
	return t
}

func unfoldFailure(f *dispatchv1.FoldedFailure) *Failure {
	if f == nil {
		return nil
	}
	return &Failure{Class: f.GetClass(), Stage: f.GetStage(), Message: f.GetMessage()}
}

// moment is the time that timestamp made a message of.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
