// Package runs executes runs of flows. A run is a log of events: state.go folds them, machine.go says what to do next
// (both pure), log.go keeps them in JetStream, and the coordinator, which holds the lease, plans stages, releases tasks,
// commits what workers wrote, and moves `published`.
package runs

import (
	"fmt"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	// checkTask is the id of the task that runs a stage's checks.
	checkTask = "check"
	// carryTask is the id of the task that copies rows that stay of bronze files that are replaced.
	carryTask = "carry"
)

// State is a run as its events tell it.
type State struct {
	RunID     string
	Submitted *dispatchv1.RunSubmitted
	Phase     shoplakev1.RunState
	// Epoch of the coordinator that started the run.
	Epoch uint64
	// Led is the highest epoch of a coordinator that appended to the log.
	Led uint64
	// Pinned is the snapshot of every table when the run began.
	Pinned map[string]int64
	Stages []*Stage
	// Notices are what a person should know though nothing failed.
	Notices []string
	// Life counts how often the run was reopened after it had failed or was cancelled, Reopened is when last. What a stage or a
	// task came to before that is of a former life.
	Life     uint32
	Reopened time.Time
	// Suspended says that another run overtook this one, between two tasks: it goes on from what the tables are afterwards.
	Suspended bool
	// Publishing says that every stage is done and `published` is being moved.
	Publishing       bool
	PublishedVersion uint64
	Failure          *Failure
	Created          time.Time
	Started          time.Time
	Ended            time.Time
	// Seq is the log's sequence that the state is folded up to, and Messages how many messages of the log these are.
	Seq, Messages uint64

	stages map[string]*Stage
}

// Stage is one table's part of the run.
type Stage struct {
	Table     string
	DependsOn []string
	State     shoplakev1.StageState
	Planned   *dispatchv1.StagePlanned
	Tasks     []*Task
	// Check is the task that runs the table's checks; nil until there is something to check.
	Check *Task
	// Checking names the plan of the check task.
	Checking *dispatchv1.StageChecking
	// Staged is where the list of files to commit lies.
	StagedPath, StagedSHA256 string
	// Committing is the epoch under which the commit was announced.
	Committing uint64
	Snapshots  map[string]int64
	// Settled says that the run's pinned snapshots hold what the stage wrote, or what a run wrote after it.
	Settled bool
	// Maintained is what maintenance did; nil for a stage that builds.
	Maintained *dispatchv1.Maintained
	Reason     string
	Failure    *Failure
	Started    time.Time
	Ended      time.Time
	// Plans counts how often the stage was planned.
	Plans uint32
	// Former are the tasks of plans that were given up.
	Former []*Task

	tasks map[string]*Task
	tally tally
}

// Task is what one worker does at a time.
type Task struct {
	ID    string
	State shoplakev1.TaskState
	// Release is the number of the release that is out, or will be next; a failed task is released again with the next number.
	Release uint32
	// Attempts counts the attempts that began, those that were too late included.
	Attempts int
	// Failures counts the attempts that failed.
	Failures int
	Worker   string
	Queued   time.Duration
	Running  time.Duration
	// QueuedAt, StartedAt and EndedAt are of the latest attempt.
	QueuedAt, StartedAt, EndedAt time.Time
	// Done is the report that won.
	Done *dispatchv1.TaskSucceeded
	// Alone says that an attempt ran out of memory: the next ones get a worker to themselves.
	Alone   bool
	Failure *Failure
	// Tries are all attempts that were heard of, the late ones included.
	Tries []*Attempt

	// waits says that it stands in its stage's queue.
	waits bool
}

// Attempt is one try at a task.
type Attempt struct {
	ID, Worker        string
	Release           uint32
	Released, Started time.Time
	// Ended is zero while it runs, and stays so where its worker died.
	Ended time.Time
	// Error is why it failed; empty where it did not.
	Error string
	Class dispatchv1.ErrorClass
}

// try notes what a report says of its attempt, and tells whether it is a new one.
func (t *Task) try(r *dispatchv1.TaskReport) (isNew bool) {
	var a *Attempt
	for _, known := range t.Tries {
		if known.ID == r.GetAttemptId() {
			a = known
		}
	}
	if a == nil {
		a = &Attempt{ID: r.GetAttemptId(), Worker: r.GetWorker(), Release: r.GetRelease(), Released: r.GetReleaseTime().AsTime(), Started: r.GetStartTime().AsTime()}
		t.Tries, isNew = append(t.Tries, a), true
	}
	if r.GetEndTime() != nil {
		a.Ended, a.Error, a.Class = r.GetEndTime().AsTime(), r.GetFailed().GetMessage(), r.GetFailed().GetClass()
	}
	return isNew
}

// maxLost is after how many attempts that nobody heard the end of a task is given up: it may be what brings workers down.
const maxLost = 8

// lost counts the attempts of the release before the present one that nobody heard the end of.
func (t *Task) lost() int {
	n := -1
	for _, a := range t.Tries {
		if a.Release == t.Release && a.Ended.IsZero() {
			n++
		}
	}
	return n
}

// Failure is what went wrong.
type Failure struct {
	Class   dispatchv1.ErrorClass
	Stage   string
	Message string
}

// NewState is a run without events.
func NewState(runID string) *State {
	return &State{RunID: runID, stages: map[string]*Stage{}}
}

// Stage returns the stage of a table, or nil.
func (s *State) Stage(table string) *Stage { return s.stages[table] }

// Dry says that the run only finds out what would be built: it commits and publishes nothing.
func (s *State) Dry() bool { return s.Submitted.GetDryRun() }

// Task returns the task of a stage, or nil.
func (st *Stage) Task(id string) *Task {
	if id == checkTask {
		return st.Check
	}
	return st.tasks[id]
}

// Terminal says that nothing more will happen to the run, unless it is reopened.
func (s *State) Terminal() bool {
	switch s.Phase {
	case shoplakev1.RunState_RUN_STATE_SUCCEEDED, shoplakev1.RunState_RUN_STATE_FAILED, shoplakev1.RunState_RUN_STATE_CANCELLED:
		return true
	}
	return false
}

// all are the stage's tasks, the check included.
func (st *Stage) all() []*Task {
	tasks := st.Tasks[:len(st.Tasks):len(st.Tasks)] // appending makes a copy
	if st.Check != nil {
		tasks = append(tasks, st.Check)
	}
	return tasks
}

// Terminal says that nothing more will happen to the stage.
func (st *Stage) Terminal() bool {
	switch st.State {
	case shoplakev1.StageState_STAGE_STATE_SUCCEEDED, shoplakev1.StageState_STAGE_STATE_UP_TO_DATE, shoplakev1.StageState_STAGE_STATE_BLOCKED,
		shoplakev1.StageState_STAGE_STATE_FAILED, shoplakev1.StageState_STAGE_STATE_CANCELLED, shoplakev1.StageState_STAGE_STATE_PREVIEWED:
		return true
	}
	return false
}

// Good says that what depends on the stage may go on.
func (st *Stage) Good() bool {
	switch st.State {
	case shoplakev1.StageState_STAGE_STATE_SUCCEEDED, shoplakev1.StageState_STAGE_STATE_UP_TO_DATE, shoplakev1.StageState_STAGE_STATE_PREVIEWED:
		return true
	}
	return false
}

// Apply folds one event into the state. Events that come too late or twice (a report of another attempt after the first
// result, an old plan's task, anything after the end) change nothing: the log may hold them, the state does not depend on their order.
func (s *State) Apply(e *dispatchv1.RunEvent) error {
	at := e.GetTime().AsTime()
	if s.Terminal() && e.GetKind() != nil {
		if e.GetReopened() != nil {
			s.reopen(at)
		}
		return nil
	}
	switch k := e.GetKind().(type) {
	case *dispatchv1.RunEvent_Submitted:
		s.Submitted, s.Created, s.Phase = k.Submitted, at, shoplakev1.RunState_RUN_STATE_QUEUED
		s.Notices = append(s.Notices, k.Submitted.GetNotices()...)
	case *dispatchv1.RunEvent_Started:
		if s.Phase == shoplakev1.RunState_RUN_STATE_QUEUED { // a cancel that came first holds
			s.start(k.Started, at)
		}
	case *dispatchv1.RunEvent_StagePlanned:
		return s.onStage(k.StagePlanned.GetStage(), func(st *Stage) {
			st.plan(k.StagePlanned, at)
			s.Notices = append(s.Notices, k.StagePlanned.GetNotices()...)
		})
	case *dispatchv1.RunEvent_StageUpToDate:
		return s.onStage(k.StageUpToDate.GetStage(), func(st *Stage) {
			st.State, st.Reason, st.Ended = shoplakev1.StageState_STAGE_STATE_UP_TO_DATE, k.StageUpToDate.GetReason(), at
			s.Notices = append(s.Notices, k.StageUpToDate.GetNotices()...)
		})
	case *dispatchv1.RunEvent_Task:
		return s.onStage(k.Task.GetStage(), func(st *Stage) {
			if st.report(k.Task, at) {
				s.Notices = append(s.Notices, noticesOf(st.Table, k.Task.GetSucceeded())...)
			}
		})
	case *dispatchv1.RunEvent_StageChecking:
		return s.onStage(k.StageChecking.GetStage(), func(st *Stage) {
			st.State, st.Checking = shoplakev1.StageState_STAGE_STATE_CHECKING, k.StageChecking
			st.StagedPath, st.StagedSHA256 = k.StageChecking.GetStagedPath(), k.StageChecking.GetStagedSha256()
			st.Check = &Task{ID: checkTask, State: shoplakev1.TaskState_TASK_STATE_QUEUED, Release: 1, QueuedAt: at}
			s.Notices = append(s.Notices, k.StageChecking.GetNotices()...)
		})
	case *dispatchv1.RunEvent_StageCommitting:
		return s.onStage(k.StageCommitting.GetStage(), func(st *Stage) {
			st.State, st.Committing = shoplakev1.StageState_STAGE_STATE_COMMITTING, k.StageCommitting.GetEpoch()
			st.StagedPath, st.StagedSHA256 = k.StageCommitting.GetStagedPath(), k.StageCommitting.GetStagedSha256()
			s.Notices = append(s.Notices, k.StageCommitting.GetNotices()...)
		})
	case *dispatchv1.RunEvent_StageCommitted:
		return s.onStage(k.StageCommitted.GetStage(), func(st *Stage) {
			st.State, st.Snapshots, st.Ended = shoplakev1.StageState_STAGE_STATE_SUCCEEDED, k.StageCommitted.GetSnapshots(), at
			st.Maintained = k.StageCommitted.GetMaintenance()
			s.Notices = append(s.Notices, k.StageCommitted.GetNotices()...)
		})
	case *dispatchv1.RunEvent_StagePreviewed:
		return s.onStage(k.StagePreviewed.GetStage(), func(st *Stage) {
			st.State, st.Ended = shoplakev1.StageState_STAGE_STATE_PREVIEWED, at
			st.StagedPath, st.StagedSHA256 = k.StagePreviewed.GetStagedPath(), k.StagePreviewed.GetStagedSha256()
		})
	case *dispatchv1.RunEvent_StageReset:
		return s.onStage(k.StageReset.GetStage(), func(st *Stage) {
			st.reset(k.StageReset.GetReason())
			if s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLING { // it was spared for the sake of its commit
				st.State, st.Ended = shoplakev1.StageState_STAGE_STATE_CANCELLED, at
			}
		})
	case *dispatchv1.RunEvent_StageFailed:
		return s.onStage(k.StageFailed.GetStage(), func(st *Stage) {
			s.fail(st, &Failure{Class: k.StageFailed.GetClass(), Stage: st.Table, Message: k.StageFailed.GetMessage()}, at)
		})
	case *dispatchv1.RunEvent_CancelRequested:
		s.cancel(at)
	case *dispatchv1.RunEvent_Suspended:
		if s.Phase == shoplakev1.RunState_RUN_STATE_RUNNING {
			s.suspend(k.Suspended)
		}
	case *dispatchv1.RunEvent_Resumed:
		s.resume(k.Resumed)
	case *dispatchv1.RunEvent_Publishing:
		// A cancel that came first holds: the announcement was written by somebody who had not seen it.
		s.Publishing = s.Publishing || s.Phase == shoplakev1.RunState_RUN_STATE_RUNNING
	case *dispatchv1.RunEvent_Finished:
		s.finish(k.Finished, at)
	case *dispatchv1.RunEvent_Reopened: // it is open already
	default:
		return fmt.Errorf("run %s: its log holds an event that this version does not know: run the version that wrote it, or a newer one", s.RunID)
	}
	return nil
}

func (s *State) start(k *dispatchv1.RunStarted, at time.Time) {
	s.Epoch, s.Phase = k.GetEpoch(), shoplakev1.RunState_RUN_STATE_RUNNING
	s.Notices = append(s.Notices, k.GetNotices()...)
	if s.LaidOut() {
		return
	}
	s.Pinned, s.Started = k.GetPinned(), at
	for _, n := range k.GetStages() {
		st := &Stage{Table: n.GetTable(), DependsOn: n.GetDependsOn(), State: shoplakev1.StageState_STAGE_STATE_WAITING}
		s.Stages = append(s.Stages, st)
		s.stages[st.Table] = st
	}
}

func (s *State) onStage(table string, change func(*Stage)) error {
	st := s.stages[table]
	if st == nil {
		return fmt.Errorf("run %s: its log speaks of the stage %q, which the run does not have: the log is damaged", s.RunID, table)
	}
	if !st.Terminal() {
		change(st)
		s.settle(st)
	}
	return nil
}

func (st *Stage) plan(k *dispatchv1.StagePlanned, at time.Time) {
	st.State, st.Planned, st.Reason, st.Plans = shoplakev1.StageState_STAGE_STATE_RUNNING, k, k.GetReason(), k.GetPlanNumber()
	if st.Started.IsZero() {
		st.Started = at
	}
	st.Tasks, st.tasks = nil, map[string]*Task{}
	for _, id := range k.GetTaskIds() {
		t := &Task{ID: id, State: queued, Release: 1, QueuedAt: at}
		st.Tasks = append(st.Tasks, t)
		st.tasks[id] = t
	}
	st.recount()
}

func (st *Stage) reset(reason string) {
	st.State, st.Reason = shoplakev1.StageState_STAGE_STATE_WAITING, reason
	st.Former = append(st.Former, st.all()...)
	st.Planned, st.Tasks, st.tasks, st.Check, st.Checking = nil, nil, nil, nil, nil
	st.StagedPath, st.StagedSHA256, st.Committing = "", "", 0
	st.recount()
}

// report folds what a worker said of an attempt, and tells whether it is the result of the task: the first one recorded wins.
func (st *Stage) report(r *dispatchv1.TaskReport, at time.Time) (won bool) {
	t := st.Task(r.GetTaskId())
	if t == nil || st.Planned == nil {
		return false
	}
	plan := st.Planned.GetPlanSha256()
	if r.GetTaskId() == checkTask {
		plan = st.Checking.GetPlanSha256()
	}
	if r.GetPlanSha256() != plan {
		return false
	}
	isNew := t.try(r)
	if isNew {
		t.Attempts++
	}
	if t.Done != nil || t.State == failed {
		return false
	}
	if n := t.lost(); isNew && n >= maxLost && r.GetStarted() != nil {
		t.Failure = &Failure{Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, Stage: st.Table, Message: fmt.Sprintf(
			"%d workers were lost while they did task %s, or their connections: see their logs; where they ran out of memory give them more, or the task more slots", n, t.ID)}
		t.EndedAt = at
		st.to(t, failed)
		return false
	}
	if r.GetFailed() != nil && r.GetRelease() < t.Release {
		return false // a release that was given up already, or the same report again
	}
	begun, released := r.GetStartTime().AsTime(), r.GetReleaseTime().AsTime()
	if isNew {
		t.Queued += max(0, begun.Sub(released))
	}
	t.Worker, t.QueuedAt, t.StartedAt = r.GetWorker(), released, begun
	if r.GetEndTime() != nil {
		t.EndedAt = r.GetEndTime().AsTime()
		t.Running += max(0, t.EndedAt.Sub(begun))
	}
	switch o := r.GetOutcome().(type) {
	case *dispatchv1.TaskReport_Started:
		if r.GetRelease() >= t.Release {
			st.to(t, shoplakev1.TaskState_TASK_STATE_RUNNING)
		}
	case *dispatchv1.TaskReport_Succeeded:
		st.to(t, succeeded)
		t.Done, t.Failure = o.Succeeded, nil
		return true
	case *dispatchv1.TaskReport_Failed:
		if o.Failed.GetHandedBack() {
			st.to(t, queued)
			t.Release, t.QueuedAt = t.Release+1, at
			return false
		}
		if o.Failed.GetPlanAgain() && st.Plans < maxPlans {
			st.to(t, shoplakev1.TaskState_TASK_STATE_CANCELLED)
			st.reset(o.Failed.GetMessage())
			return false
		}
		t.Failures++
		t.Failure = &Failure{Class: o.Failed.GetClass(), Stage: st.Table, Message: o.Failed.GetMessage()}
		t.Alone = t.Alone || o.Failed.GetOutOfMemory()
		if o.Failed.GetClass() == dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT && t.Failures < st.attempts() {
			st.to(t, queued)
			t.Release, t.QueuedAt = t.Release+1, at
			return false
		}
		st.to(t, failed)
	}
	return false
}

// settle draws the conclusions of a change to a stage: a task that failed for good fails it, and what depends on it is blocked.
func (s *State) settle(st *Stage) {
	if !st.Terminal() && (st.tally.count[failed] > 0 || st.Check != nil && st.Check.State == failed) {
		for _, t := range st.all() {
			if t.State == failed {
				s.fail(st, t.Failure, t.EndedAt)
				return
			}
		}
	}
	if st.Terminal() && !st.Good() {
		s.block(st.Ended)
	}
}

func (s *State) fail(st *Stage, f *Failure, at time.Time) {
	st.State, st.Failure, st.Ended = shoplakev1.StageState_STAGE_STATE_FAILED, f, at
	if s.Failure == nil {
		s.Failure = f
	}
	s.block(at)
}

func (s *State) block(at time.Time) {
	for _, st := range s.Stages { // in the order of dependencies, so once is enough
		if st.State != shoplakev1.StageState_STAGE_STATE_WAITING {
			continue
		}
		for _, d := range st.DependsOn {
			if dep := s.stages[d]; dep != nil && dep.Terminal() && !dep.Good() {
				st.State, st.Ended = shoplakev1.StageState_STAGE_STATE_BLOCKED, at
				break
			}
		}
	}
}

// cancel stops every stage that has not announced its commit; what is being committed is finished, so that no table is left between.
func (s *State) cancel(at time.Time) {
	if s.Terminal() || s.Publishing {
		return
	}
	s.Phase = shoplakev1.RunState_RUN_STATE_CANCELLING
	for _, st := range s.Stages {
		if st.Terminal() || st.State == shoplakev1.StageState_STAGE_STATE_COMMITTING {
			continue
		}
		st.State, st.Ended = shoplakev1.StageState_STAGE_STATE_CANCELLED, at
		for _, t := range st.all() {
			if t.Done == nil && t.State != shoplakev1.TaskState_TASK_STATE_FAILED {
				st.to(t, shoplakev1.TaskState_TASK_STATE_CANCELLED)
			}
		}
	}
}

func (s *State) finish(k *dispatchv1.RunFinished, at time.Time) {
	s.Phase, s.Ended, s.PublishedVersion = shoplakev1.RunState(shoplakev1.RunState_value[k.GetState()]), at, k.GetPublishedVersion()
	if k.GetMessage() != "" && s.Failure == nil {
		s.Failure = &Failure{Class: k.GetClass(), Stage: k.GetStage(), Message: k.GetMessage()}
	}
	for _, st := range s.Stages {
		if !st.Terminal() { // the run could not go on at all
			st.State, st.Ended = shoplakev1.StageState_STAGE_STATE_CANCELLED, at
		}
	}
}
