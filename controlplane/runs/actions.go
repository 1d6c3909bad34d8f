package runs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/failpoint"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// badData is an error that trying again cannot mend: somebody has to look at the data or the pipeline.
type badData struct{ error }

func (e badData) Unwrap() error { return e.error }

// facts is what a step needs of a run's state: a copy, since the state changes while the step is under way.
type facts struct {
	runID     string
	submitted *dispatchv1.RunSubmitted
	started   time.Time
	snapshots map[string]int64
	// openPins are the snapshots that open runs have pinned or committed, by table.
	openPins   map[string][]int64
	stages     []string
	table      string
	plans      uint32
	planned    *dispatchv1.StagePlanned
	stagedPath string
	stagedSHA  string
	results    []*dispatchv1.TaskSucceeded
	failure    *Failure
	// previewed are the stages of a dry run that are closed already, by table.
	previewed map[string]previewed
	// life counts how often the run was reopened, and laidOut says that it has its stages.
	life    uint32
	laidOut bool
	// beside are the runs that are under way when a dry run begins.
	beside []string
}

func gatherFacts(s *State, table string) facts {
	f := facts{runID: s.RunID, submitted: s.Submitted, started: s.Started, snapshots: maps.Clone(s.Pinned), failure: s.Failure, table: table,
		life: s.Life, laidOut: s.LaidOut()}
	if f.snapshots == nil {
		f.snapshots = map[string]int64{}
	}
	for _, st := range s.Stages {
		if !st.Settled {
			maps.Copy(f.snapshots, st.Snapshots)
		}
		f.stages = append(f.stages, st.Table)
	}
	if s.Dry() {
		f.previewed = previewedStages(s)
	}
	if st := s.Stage(table); st != nil {
		f.plans, f.planned, f.stagedPath, f.stagedSHA = st.Plans, st.Planned, st.StagedPath, st.StagedSHA256
		// All of them are asked for when all are there; a stage may have 100,000, and each of its tasks is released by itself.
		if st.tally.count[succeeded] == len(st.Tasks) {
			for _, t := range st.Tasks {
				f.results = append(f.results, t.Done)
			}
		}
	}
	return f
}

// job returns the work of an action; it is called with the state, the work it returns is not.
func (l *leader) job(s *State, a Action) func(context.Context) ([]*dispatchv1.RunEvent, error) {
	f := gatherFacts(s, a.Stage)
	if a.Kind == Start && s.Dry() {
		f.beside = l.underWay()
	}
	if a.Kind == Plan || a.Kind == CommitStage { // not for each of a hundred thousand tasks
		f.openPins = l.pins()
	}
	var release *dispatchv1.Task
	var pool string
	if a.Kind == Release {
		release, pool = releaseOf(s, a), l.poolOf(s.Stage(a.Stage))
	}
	return func(ctx context.Context) ([]*dispatchv1.RunEvent, error) {
		ctx = stageContext(ctx, f.submitted, f.runID, f.life, a.Stage)
		switch a.Kind {
		case Start:
			return l.start(ctx, f)
		case Plan:
			ctx, span := tracer.Start(ctx, "plan "+a.Stage)
			defer span.End()
			return l.plan(ctx, f)
		case Release:
			release.ReleaseTime = timestamppb.Now()
			return nil, l.Bus.Release(ctx, pool, release)
		case Gather:
			return l.gather(ctx, f)
		case Preview:
			return l.preview(ctx, f)
		case Announce:
			if a.Stage == "" {
				return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_Publishing{Publishing: &dispatchv1.RunPublishing{Epoch: l.epoch}}}}, nil
			}
			return []*dispatchv1.RunEvent{committing(f.table, l.epoch, f.stagedPath, f.stagedSHA)}, nil
		case CommitStage:
			ctx, span := tracer.Start(ctx, "commit "+a.Stage)
			defer span.End()
			return l.commit(ctx, f)
		case Publish:
			return l.publish(ctx, f)
		case Resume:
			return l.resume(ctx)
		case Finish:
			if f.submitted.GetDryRun() {
				l.sweep(ctx, f)
			}
			return []*dispatchv1.RunEvent{finished(a.State, 0, f.failure)}, nil
		case Fail:
			return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{
				Stage: a.Stage, Class: dispatchv1.ErrorClass_ERROR_CLASS_BAD_DATA, Message: a.Message}}}}, nil
		}
		return nil, fmt.Errorf("the coordinator has no step %d", a.Kind)
	}
}

func releaseOf(s *State, a Action) *dispatchv1.Task {
	st := s.Stage(a.Stage)
	path, sha := st.Planned.GetPlanPath(), st.Planned.GetPlanSha256()
	if a.Task == checkTask {
		path, sha = st.Checking.GetPlanPath(), st.Checking.GetPlanSha256()
	}
	return &dispatchv1.Task{
		ProtocolVersion: bus.Protocol, RunId: s.RunID, Stage: a.Stage, TaskId: a.Task, Release: a.ReleaseNumber, PlanPath: path, PlanSha256: sha,
		Slots: st.Planned.GetSlots(), Alone: st.Task(a.Task).Alone, Timeout: st.Planned.GetTimeout(), Life: s.Life,
	}
}

// start pins the snapshot of every table that the flow knows and lays out the stages.
// A run that was reopened has both: it goes on where it stopped, if its tables are where it left them.
func (l *leader) start(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	if f.laidOut {
		if err := l.whereLeft(ctx, f); err != nil {
			return nil, err
		}
		return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Epoch: l.epoch}}}}, nil
	}
	p, err := l.Pipelines.Get(ctx, f.submitted.GetPipelineDigest())
	if err != nil {
		return nil, fmt.Errorf("load the pipeline of run %s: %w", f.runID, err)
	}
	started := &dispatchv1.RunStarted{Epoch: l.epoch, Pinned: map[string]int64{}}
	flow := p.Flow(f.submitted.GetFlow())
	if flow == nil {
		return nil, badData{fmt.Errorf("the pipeline has no flow %q: see `shoplake flows list`", f.submitted.GetFlow())}
	}
	for _, table := range p.TablesOf(flow) {
		started.Stages = append(started.Stages, &dispatchv1.StageNode{Table: table, DependsOn: p.WaitsFor(flow, table)})
	}
	if started.Pinned, err = l.pin(ctx); err != nil {
		return nil, err
	}
	if len(f.beside) > 0 {
		started.Notices = append(started.Notices, fmt.Sprintf("run %s is under way: what it had not built when the dry run began is told as still to be built", strings.Join(f.beside, ", ")))
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_Started{Started: started}}}, nil
}

// resume pins the tables as they are now, for a run that was overtaken.
func (l *leader) resume(ctx context.Context) ([]*dispatchv1.RunEvent, error) {
	pinned, err := l.pin(ctx)
	if err != nil {
		return nil, err
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_Resumed{Resumed: &dispatchv1.RunResumed{Epoch: l.epoch, Pinned: pinned}}}}, nil
}

// gather lists what the winning attempts staged, and goes on to the table's checks or, where it has none, to its commit.
func (l *leader) gather(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	staged, err := l.listStaged(ctx, f)
	if err != nil {
		return nil, err
	}
	notices, err := l.readTwice(ctx, f, staged)
	if err != nil {
		return nil, err
	}
	if !f.planned.GetHasChecks() {
		event := committing(f.table, l.epoch, staged.path, staged.sha256)
		event.GetStageCommitting().Notices = notices
		return []*dispatchv1.RunEvent{event}, nil
	}
	check, err := l.planCheck(ctx, f, staged.plan, staged.files)
	if err != nil {
		return nil, fmt.Errorf("plan the checks of %s: %w", f.table, err)
	}
	path, sha, err := l.writeObject(ctx, planFolder(f, staged.plan.GetKind(), staged.plan.GetPlanNumber())+"/check", check)
	if err != nil {
		return nil, fmt.Errorf("write the plan of the checks of %s: %w", f.table, err)
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageChecking{StageChecking: &dispatchv1.StageChecking{
		Stage: f.table, StagedPath: staged.path, StagedSha256: staged.sha256, PlanPath: path, PlanSha256: sha, Notices: notices}}}}, nil
}

// stagedList is what the winning attempts of a stage staged, and where the list of it lies.
type stagedList struct {
	plan         *dispatchv1.StagePlan
	files        *dispatchv1.TaskOutput
	path, sha256 string
}

func (l *leader) listStaged(ctx context.Context, f facts) (*stagedList, error) {
	s := &stagedList{plan: &dispatchv1.StagePlan{}, files: &dispatchv1.TaskOutput{}}
	var read, written int64
	for _, r := range f.results {
		var output dispatchv1.TaskOutput
		if err := l.readObject(ctx, r.GetOutputPath(), r.GetOutputSha256(), &output); err != nil {
			return nil, fmt.Errorf("read what a task of %s staged: %w", f.table, err)
		}
		s.files.Files = append(s.files.Files, output.GetFiles()...)
		read += r.GetRowsIn()
	}
	if err := l.readObject(ctx, f.planned.GetPlanPath(), f.planned.GetPlanSha256(), s.plan); err != nil {
		return nil, fmt.Errorf("read the plan of %s: %w", f.table, err)
	}
	if s.plan.GetKind() == dispatchv1.StageKind_STAGE_KIND_INGEST {
		for _, file := range s.files.GetFiles() {
			if file.GetTable() == f.table || file.GetTable() == pipeline.QuarantineTable {
				written += file.GetRows()
			}
		}
		if read != written {
			return nil, fmt.Errorf("ingest of %s: %d rows were read but %d would be kept (bronze and quarantine): nothing is committed; this is a fault of the program, please report it", f.table, read, written)
		}
	}
	if s.plan.GetKind() == dispatchv1.StageKind_STAGE_KIND_MAINTENANCE {
		if err := sameRows(s.plan, s.files); err != nil {
			return nil, err
		}
	}
	var err error
	if s.path, s.sha256, err = l.writeObject(ctx, planFolder(f, s.plan.GetKind(), s.plan.GetPlanNumber())+"/staged", s.files); err != nil {
		return nil, fmt.Errorf("write the list of staged files of %s: %w", f.table, err)
	}
	return s, nil
}

// commit makes the staged files part of the stage's tables: for an ingest quarantine first, then bronze, and the fate of the
// files last. Once announced it is made again with the same files, by this or another coordinator, until it is known to have
// happened: to give up half-way would lose rows or read them twice. Only where the stage's own table has nothing of it, and
// never can, since somebody removed or altered the files or the table, is the stage planned again.
func (l *leader) commit(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	events, err := l.commitOutputs(ctx, f)
	if !errors.Is(err, lake.ErrStaged) && !errors.Is(err, lake.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errAltered) {
		return events, err
	}
	history, lookErr := l.Lake.Snapshots(ctx, f.table)
	if lookErr != nil && !errors.Is(lookErr, lake.ErrNotFound) {
		return nil, errors.Join(err, lookErr)
	}
	if slices.ContainsFunc(history, func(s lake.Snapshot) bool { return s.Summary[lake.TokenProperty] == commitToken(f) }) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", errStagedGone, err)
}

func (l *leader) commitOutputs(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	var plan dispatchv1.StagePlan
	if err := l.readObject(ctx, f.planned.GetPlanPath(), f.planned.GetPlanSha256(), &plan); err != nil {
		return nil, fmt.Errorf("read the plan of %s: %w", f.table, err)
	}
	var staged dispatchv1.TaskOutput
	if err := l.readObject(ctx, f.stagedPath, f.stagedSHA, &staged); err != nil {
		return nil, fmt.Errorf("read the list of staged files of %s: %w", f.table, err)
	}
	byTable := map[string][]lake.Staged{}
	for _, file := range staged.GetFiles() {
		byTable[file.GetTable()] = append(byTable[file.GetTable()], lake.Staged{
			File:  lake.File{Path: file.GetPath(), Partition: file.GetPartition(), Rows: file.GetRows(), Bytes: file.GetSizeBytes()},
			Entry: file.GetEntry(),
		})
	}
	if plan.GetKind() == dispatchv1.StageKind_STAGE_KIND_MAINTENANCE {
		return l.maintain(ctx, f, &plan, byTable[f.table])
	}
	snapshots := map[string]int64{}
	for _, out := range plan.GetOutputs() {
		properties := map[string]string{propertyRun: f.runID, propertyStage: f.table}
		if out.GetTable() == f.table {
			properties[propertyInputs] = encodeInputs(plan.GetBuiltInputs())
			properties[propertyFingerprint] = plan.GetFingerprint()
			for name, value := range map[string]string{propertyParts: plan.GetParts(), propertyChecks: plan.GetChecks()} {
				if value != "" {
					properties[name] = value
				}
			}
			properties[propertyReasons] = f.planned.GetReasonsPath()
		} else if len(byTable[out.GetTable()]) == 0 && len(out.GetReplaced()) == 0 {
			continue // nothing was quarantined
		}
		id, err := l.commitTable(ctx, lake.Commit{
			Table: out.GetTable(), Remove: out.GetReplaced(), Add: byTable[out.GetTable()], Properties: properties,
			Base: out.GetBaseSnapshotId(), CheckBase: out.GetTable() == f.table, Epoch: l.epoch, Token: commitToken(f),
		})
		if err != nil {
			return nil, err
		}
		snapshots[out.GetTable()] = id
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageCommitted{StageCommitted: &dispatchv1.StageCommitted{Stage: f.table, Snapshots: snapshots}}}}, nil
}

// commitToken names the commits of a stage's plan.
func commitToken(f facts) string {
	return f.runID + "/" + f.table + "/" + strconv.Itoa(int(f.planned.GetPlanNumber()))
}

func (l *leader) commitTable(ctx context.Context, c lake.Commit) (id int64, err error) {
	err = failpoint.Around(ctx, failpoint.CommitTable, func() error {
		id, err = l.Lake.Commit(ctx, c)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("commit %s: %w", c.Table, err)
	}
	return id, nil
}

func committing(table string, epoch uint64, path, sha string) *dispatchv1.RunEvent {
	return &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_StageCommitting{StageCommitting: &dispatchv1.StageCommitting{
		Stage: table, Epoch: epoch, StagedPath: path, StagedSha256: sha}}}
}

func finished(state shoplakev1.RunState, version uint64, f *Failure) *dispatchv1.RunEvent {
	end := &dispatchv1.RunFinished{State: state.String(), PublishedVersion: version}
	if f != nil {
		end.Class, end.Stage, end.Message = f.Class, f.Stage, f.Message
	}
	return &dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Finished{Finished: end}}
}

// writeObject keeps a message in the lake and returns its path and hash: events and tasks carry these, never lists. The path
// holds the hash, so that a coordinator that slept while another one planned does not put its own plan in place of the other's.
func (l *planner) writeObject(ctx context.Context, path string, m proto.Message) (string, string, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(data)
	sha := hex.EncodeToString(sum[:])
	path += "-" + sha[:16] + ".pb"
	return path, sha, l.Lake.WriteObject(ctx, path, data)
}

func (l *planner) readObject(ctx context.Context, path, sha string, m proto.Message) error {
	data, err := l.Lake.ReadObject(ctx, path)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sha {
		return fmt.Errorf("%s %w", path, errAltered)
	}
	return proto.Unmarshal(data, m)
}

// classOf says whether trying again can help. What nobody classed may be a passing fault, so it is tried again.
func classOf(err error) dispatchv1.ErrorClass {
	var bad badData
	switch {
	case errors.As(err, &bad):
		return dispatchv1.ErrorClass_ERROR_CLASS_BAD_DATA
	case errors.Is(err, lake.ErrIncompatible):
		return dispatchv1.ErrorClass_ERROR_CLASS_BUG
	}
	return dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT
}
