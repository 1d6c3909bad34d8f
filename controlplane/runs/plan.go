package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// Properties of a snapshot's summary that say how the table came to be.
const (
	propertyRun         = "shoplake.run"
	propertyStage       = "shoplake.stage"
	propertyInputs      = "shoplake.inputs"
	propertyFingerprint = "shoplake.fingerprint"
	propertyParts       = "shoplake.parts"
	propertyChecks      = "shoplake.checks"
	propertyReasons     = lake.ReasonsProperty
)

// planner finds out what is stale, by what the lake and the landing folder hold.
type planner struct {
	Config
	log *Log
	// slots is how many tasks the workers of each pool together do at a time.
	slots poolSlots
}

const (
	// plannedShown is how many planned partitions a run's log keeps, and plannedBytes what they may take of a message.
	plannedShown = 1000
	plannedBytes = bus.MaxMessage / 4
)

// planned is what planning a stage found.
type planned struct {
	plan *dispatchv1.StagePlan
	// partitions that are built, each with the reason.
	partitions []*dispatchv1.PlannedPartition
	// more says, in a dry run, what is built besides, which only the run itself can tell.
	more string
	// reason is why the stage is built as a whole, or why it is up to date.
	reason  string
	notices []string
}

// plan finds out what is stale in a stage, and writes down its tasks.
func (l *planner) plan(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	p, err := l.Pipelines.Get(ctx, f.submitted.GetPipelineDigest())
	if err != nil {
		return nil, fmt.Errorf("load the pipeline of run %s: %w", f.runID, err)
	}
	found, err := l.stale(ctx, p, f)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", f.table, err)
	}
	if found.plan == nil {
		return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageUpToDate{StageUpToDate: &dispatchv1.StageUpToDate{
			Stage: f.table, Reason: found.reason, Notices: found.notices}}}}, nil
	}
	plan := found.plan
	path, sha, err := l.writeObject(ctx, planFolder(f, plan.GetKind(), plan.GetPlanNumber())+"/plan", plan)
	if err != nil {
		return nil, fmt.Errorf("write the plan of %s: %w", f.table, err)
	}
	reasonsPath, reasonsSHA, err := l.writeObject(ctx, planFolder(f, plan.GetKind(), plan.GetPlanNumber())+"/reasons", &dispatchv1.StageReasons{Planned: found.partitions, More: found.more})
	if err != nil {
		return nil, fmt.Errorf("write the reasons of the plan of %s: %w", f.table, err)
	}
	event := &dispatchv1.StagePlanned{
		Stage: f.table, PlanPath: path, PlanSha256: sha, PlanNumber: plan.GetPlanNumber(), Partitions: int64(len(found.partitions)),
		Planned: shown(found.partitions), Reason: found.reason, Notices: found.notices,
		HasChecks: len(checksOf(p, f.table)) > 0 && plan.GetKind() != dispatchv1.StageKind_STAGE_KIND_MAINTENANCE, Kind: plan.GetKind(), ReasonsPath: reasonsPath, ReasonsSha256: reasonsSHA, More: found.more,
	}
	work := p.Work(f.table)
	event.Pool, event.Slots, event.Attempts = work.Pool, int32(work.Slots), int32(work.Attempts)
	if work.Timeout > 0 {
		event.Timeout = durationpb.New(work.Timeout)
	}
	if work.StageTimeout > 0 {
		event.StageTimeout = durationpb.New(work.StageTimeout)
	}
	for _, t := range plan.GetTasks() {
		event.TaskIds = append(event.TaskIds, t.GetTaskId())
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StagePlanned{StagePlanned: event}}}, nil
}

// shown are the planned partitions that the log keeps: the first of them, without what only planning needs.
func shown(partitions []*dispatchv1.PlannedPartition) []*dispatchv1.PlannedPartition {
	var list []*dispatchv1.PlannedPartition
	size := 0
	for _, p := range partitions[:min(plannedShown, len(partitions))] {
		short := &dispatchv1.PlannedPartition{Partition: p.GetPartition(), Reason: p.GetReason()}
		if size += proto.Size(short); size > plannedBytes {
			break
		}
		list = append(list, short)
	}
	return list
}

// stale plans a stage. In a dry run it changes nothing: tables that do not exist yet are taken as empty.
func (l *planner) stale(ctx context.Context, p *pipeline.Pipeline, f facts) (*planned, error) {
	work := p.Work(f.table)
	base := &dispatchv1.StagePlan{
		Pool: work.Pool, Slots: int32(work.Slots),
		ProtocolVersion: bus.Protocol, RunId: f.runID, Stage: f.table, PlanNumber: f.plans + 1,
		PipelineDigest: p.Digest, IngestTime: timestamppb.New(f.started),
		Fingerprint: pipeline.Fingerprint(p, f.table, engine.Version()),
	}
	if flow := p.Flow(f.submitted.GetFlow()); flow != nil && flow.Maintenance != nil {
		return l.staleFiles(ctx, p, flow.Maintenance, f, base)
	}
	base.Checks = pipeline.ChecksFingerprint(p, f.table)
	var found *planned
	var err error
	if source, ok := strings.CutPrefix(f.table, "bronze."); ok {
		found, err = l.staleSource(ctx, p, p.Source(source), f, base)
	} else {
		found, err = l.staleModel(ctx, p, p.Model(f.table), f, base)
	}
	if err != nil || found.plan != nil || base.Checks == "" {
		return found, err
	}
	return found, l.checkAgain(ctx, f, base, found)
}

// checkAgain plans the checks alone of a table that is up to date but passed others than those that it has now.
func (l *planner) checkAgain(ctx context.Context, f facts, plan *dispatchv1.StagePlan, found *planned) error {
	current, err := l.Lake.Table(ctx, f.table)
	if errors.Is(err, lake.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if current.SnapshotID == 0 || current.Summary[propertyChecks] == plan.GetChecks() {
		return nil
	}
	plan.Kind = dispatchv1.StageKind_STAGE_KIND_TRANSFORM // without tasks: nothing is computed
	plan.Outputs = []*dispatchv1.OutputTable{l.output(current, nil)}
	plan.BuiltInputs, plan.Fingerprint, plan.Parts = decodeInputs(current.Summary[propertyInputs]), current.Summary[propertyFingerprint], current.Summary[propertyParts]
	found.plan, found.reason = plan, "its checks changed: "+found.reason
	return nil
}

// table returns a table as it is now, after making it or adding columns to it; in a dry run, which changes nothing, as it would
// be after that, at the snapshot that is pinned.
func (l *planner) table(ctx context.Context, f facts, name string, columns []pipeline.Column, partition pipeline.Partition) (*lake.Table, error) {
	schema := lakeSchema(columns, partition)
	if f.submitted.GetDryRun() {
		return l.Lake.PreviewTable(ctx, name, schema, f.snapshots[name])
	}
	return l.Lake.EnsureTable(ctx, name, schema)
}

func lakeSchema(columns []pipeline.Column, partition pipeline.Partition) lake.Schema {
	s := lake.Schema{}
	for _, c := range columns {
		s.Columns = append(s.Columns, lake.Column{Name: c.Name, Type: c.Type, Required: c.Required})
	}
	s.Partition = lakePartition(partition)
	return s
}

func lakePartition(partition pipeline.Partition) lake.Partition {
	switch partition.Transform {
	case pipeline.TransformMonth:
		return lake.Partition{Transform: lake.Month, Column: partition.Column}
	case pipeline.TransformDay, pipeline.TransformIdentity:
		return lake.Partition{Transform: lake.Identity, Column: partition.Column}
	}
	return lake.Partition{}
}

// pinnedTable describes a table at a snapshot for a plan.
func (l *planner) pinnedTable(ctx context.Context, name string, snapshot int64, columns []pipeline.Column) (*dispatchv1.PinnedTable, error) {
	pinned := &dispatchv1.PinnedTable{Table: name, SnapshotId: snapshot}
	for _, c := range columns {
		pinned.Columns = append(pinned.Columns, &dispatchv1.TableColumn{Name: c.Name, Type: c.Type})
	}
	files, err := l.files(ctx, name, snapshot)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		pinned.Files = append(pinned.Files, &dispatchv1.PinnedFile{Path: file.Path, Partition: file.Partition, Rows: file.Rows, SizeBytes: file.Bytes})
	}
	return pinned, nil
}

func (l *planner) files(ctx context.Context, name string, snapshot int64) ([]lake.File, error) {
	if snapshot == 0 {
		return nil, nil
	}
	files, err := l.Lake.Files(ctx, name, snapshot)
	if err != nil {
		return nil, fmt.Errorf("list the files of %s at snapshot %d: %w", name, snapshot, err)
	}
	return files, nil
}

func (l *planner) output(t *lake.Table, replaced []string) *dispatchv1.OutputTable {
	out := &dispatchv1.OutputTable{Table: t.Name, BaseSnapshotId: t.SnapshotID, Replaced: replaced,
		PartitionTransform: string(t.Partition.Transform), PartitionColumn: t.Partition.Column}
	for _, c := range t.Columns {
		out.Columns = append(out.Columns, &dispatchv1.TableColumn{FieldId: int32(c.ID), Name: c.Name, Type: c.Type, Required: c.Required})
	}
	return out
}

func checksOf(p *pipeline.Pipeline, table string) []*pipeline.Check {
	var checks []*pipeline.Check
	for _, c := range p.Checks {
		if c.Table == table {
			checks = append(checks, c)
		}
	}
	return checks
}

// planCheck plans the task that runs a table's checks: the table as it would be (its pinned files, less those replaced,
// plus those staged), and the other tables that the checks read.
func (l *planner) planCheck(ctx context.Context, f facts, plan *dispatchv1.StagePlan, staged *dispatchv1.TaskOutput) (*dispatchv1.StagePlan, error) {
	p, err := l.Pipelines.Get(ctx, f.submitted.GetPipelineDigest())
	if err != nil {
		return nil, err
	}
	check := &dispatchv1.StagePlan{
		ProtocolVersion: bus.Protocol, RunId: f.runID, Stage: f.table, PlanNumber: plan.GetPlanNumber(), Kind: dispatchv1.StageKind_STAGE_KIND_CHECK,
		PipelineDigest: p.Digest, IngestTime: plan.GetIngestTime(),
		Tasks: []*dispatchv1.TaskPlan{{TaskId: checkTask, Kind: dispatchv1.TaskKind_TASK_KIND_CHECK}},
	}
	written := map[string]*dispatchv1.OutputTable{}
	for _, out := range plan.GetOutputs() {
		written[out.GetTable()] = out
	}
	read := map[string]bool{f.table: true}
	for _, c := range checksOf(p, f.table) {
		for _, table := range c.Tables {
			read[table] = true
		}
	}
	for table := range read {
		snapshot := f.snapshots[table]
		out := written[table]
		if out != nil {
			snapshot = out.GetBaseSnapshotId()
		}
		pinned, err := l.pinnedTable(ctx, table, snapshot, p.Columns(table))
		if err != nil {
			return nil, err
		}
		if out != nil {
			gone := map[string]bool{}
			for _, path := range out.GetReplaced() {
				gone[path] = true
			}
			pinned.Files = slices.DeleteFunc(pinned.Files, func(file *dispatchv1.PinnedFile) bool { return gone[file.GetPath()] })
			for _, file := range staged.GetFiles() {
				if file.GetTable() == table {
					pinned.Files = append(pinned.Files, &dispatchv1.PinnedFile{Path: file.GetPath(), Partition: file.GetPartition(), Rows: file.GetRows(), SizeBytes: file.GetSizeBytes()})
				}
			}
		}
		check.Inputs = append(check.Inputs, pinned)
	}
	slices.SortFunc(check.Inputs, func(a, b *dispatchv1.PinnedTable) int { return strings.Compare(a.GetTable(), b.GetTable()) })
	return check, nil
}

func encodeInputs(inputs map[string]int64) string {
	text, err := json.Marshal(inputs)
	if err != nil {
		return "{}" // a map of strings to integers always encodes
	}
	return string(text)
}

func decodeInputs(text string) map[string]int64 {
	inputs := map[string]int64{}
	if json.Unmarshal([]byte(text), &inputs) != nil {
		return map[string]int64{} // unreadable is the same as unknown: everything is built again
	}
	return inputs
}
