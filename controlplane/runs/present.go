package runs

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Run is the run as the API shows it.
func (s *State) Run() *shoplakev1.Run {
	r := &shoplakev1.Run{
		Name: "runs/" + s.RunID, Flow: "flows/" + s.Submitted.GetFlow(), State: s.Phase,
		Trigger:  shoplakev1.Trigger(shoplakev1.Trigger_value[s.Submitted.GetTrigger()]),
		Pipeline: "pipelines/" + s.Submitted.GetPipelineDigest(), TraceId: s.Submitted.GetTraceId(),
		StartDate: s.Submitted.GetStartDate(), EndDate: s.Submitted.GetEndDate(), FullRefresh: s.Submitted.GetFullRefresh(),
		CreateTime: timestamp(s.Created), StartTime: timestamp(s.Started), EndTime: timestamp(s.Ended),
		Error: s.Failure.present(), Counts: &shoplakev1.RunCounts{}, PublishedVersion: int64(s.PublishedVersion), Notices: s.Notices,
		DryRun: s.Dry(), Resumes: int32(s.Life), NominalTime: s.Submitted.GetNominalTime(),
	}
	for _, st := range s.Stages {
		r.Counts.Stages++
		if st.Good() {
			r.Counts.StagesDone++
		}
		stage := st.present(s.RunID)
		r.Counts.Tasks += stage.GetTasks()
		r.Counts.TasksDone += stage.GetTasksDone()
		if st.ingests() {
			r.Counts.RowsRead += stage.GetRowsIn()
			r.Counts.RowsBronze += stage.GetRowsOut()
			r.Counts.RowsQuarantined += stage.GetRowsQuarantined()
		}
	}
	return r
}

func (st *Stage) ingests() bool {
	return strings.HasPrefix(st.Table, "bronze.") && st.Planned.GetKind() != dispatchv1.StageKind_STAGE_KIND_MAINTENANCE
}

// StageViews are the stages as the API shows them; only the named ones where names are given.
func (s *State) StageViews(names ...string) []*shoplakev1.Stage {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	var list []*shoplakev1.Stage
	for _, st := range s.Stages {
		if len(names) == 0 || wanted[st.Table] {
			list = append(list, st.present(s.RunID))
		}
	}
	return list
}

func (st *Stage) present(runID string) *shoplakev1.Stage {
	v := &shoplakev1.Stage{
		Name: "runs/" + runID + "/stages/" + st.Table, Table: st.Table, State: st.State, DependsOn: st.DependsOn, Tasks: int32(len(st.Tasks)),
		StartTime: timestamp(st.Started), EndTime: timestamp(st.Ended), Error: st.Failure.present(), Reason: st.Reason, SnapshotId: st.Snapshots[st.Table],
	}
	if st.Planned != nil {
		v.Partitions, v.PlannedTotal = st.Planned.GetPartitions(), st.Planned.GetPartitions()
		v.Planned, v.PlannedMore = presentPlanned(st.Planned.GetPlanned()), st.Planned.GetMore()
	}
	if m := st.Maintained; m != nil {
		v.Maintenance = &shoplakev1.StageMaintenance{FilesCompacted: m.GetFilesCompacted(), FilesWritten: m.GetFilesWritten(),
			SnapshotsExpired: m.GetSnapshotsExpired(), OrphansRemoved: m.GetOrphansRemoved(), BytesRemoved: m.GetBytesRemoved()}
	}
	var queued, running time.Duration
	for _, t := range st.all() {
		if t != st.Check { // one try at each task is no retry, though the checks are a task besides
			v.Attempts += int32(t.Attempts)
		}
		queued, running = queued+t.Queued, running+t.Running
		if t.Done != nil && t != st.Check {
			v.TasksDone++
			if t.ID == carryTask {
				continue // its rows were read by an earlier run
			}
			v.RowsIn += t.Done.GetRowsIn()
			v.RowsOut += t.Done.GetRowsOut()
			v.BytesOut += t.Done.GetBytesOut()
			v.RowsQuarantined += t.Done.GetRowsQuarantined()
		}
	}
	v.Queued, v.Running = durationpb.New(queued), durationpb.New(running)
	failures, all := st.failures()
	v.FailedAttempts, v.FailedAttemptsTotal = failures, int32(all)
	st.presentUnderWay(v)
	return v
}

func presentPlanned(planned []*dispatchv1.PlannedPartition) []*shoplakev1.PlannedPartition {
	var list []*shoplakev1.PlannedPartition
	for _, p := range planned {
		list = append(list, &shoplakev1.PlannedPartition{Partition: p.GetPartition(), Reason: p.GetReason()})
	}
	return list
}

// TaskViews are the tasks of a stage as the API shows them, the check included. partitions are those of the stage's plan.
func (st *Stage) TaskViews(runID string, plan *dispatchv1.StagePlan) []*shoplakev1.Task {
	partitions := map[string][]string{}
	for _, t := range plan.GetTasks() {
		partitions[t.GetTaskId()] = t.GetPartitions()
		for _, f := range t.GetLandingFiles() {
			partitions[t.GetTaskId()] = append(partitions[t.GetTaskId()], f.GetPath())
		}
	}
	var list []*shoplakev1.Task
	for _, t := range st.all() {
		list = append(list, &shoplakev1.Task{
			Name: "runs/" + runID + "/stages/" + st.Table + "/tasks/" + t.ID, State: t.State, Attempts: int32(t.Attempts), Partitions: partitions[t.ID],
			Worker: t.Worker, RowsIn: t.Done.GetRowsIn(), RowsOut: t.Done.GetRowsOut(), BytesOut: t.Done.GetBytesOut(),
			QueueTime: timestamp(t.QueuedAt), StartTime: timestamp(t.StartedAt), EndTime: timestamp(t.EndedAt), Error: t.Failure.present(),
			Tries: t.presentTries(st.Table),
		})
	}
	return list
}

func (f *Failure) present() *shoplakev1.RunError {
	if f == nil {
		return nil
	}
	return &shoplakev1.RunError{Class: shoplakev1.ErrorClass(f.Class), Stage: f.Stage, Message: f.Message}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
