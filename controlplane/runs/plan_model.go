package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// wholeTable is how the one partition of a table without partitions is written.
const wholeTable = "all"

// inputState is an input of a model as this run sees it, and what changed in it since the table was built.
type inputState struct {
	pipeline.Input
	partition      pipeline.Partition
	columns        []pipeline.Column
	snapshot       int64
	files          []lake.File
	added, removed []lake.File
	// repartitioned says that not all of these files are partitioned as the pipeline has it by now.
	repartitioned bool
	// rebuilt are the partitions of a model that a dry run would build before: what they will hold is not known. more says in
	// words what else of the input would change, which only the run itself can tell.
	rebuilt map[string]bool
	more    string
	// reasons are why partitions of the input (of bronze: landing files) changed, by partition, as far as that was noted.
	reasons map[string]*dispatchv1.PlannedPartition
}

func (in *inputState) changed() bool {
	return len(in.added)+len(in.removed)+len(in.rebuilt) > 0 || in.more != ""
}

// staleModel plans the partitions of a model that its changed inputs touch, or all of them where the model itself changed.
func (l *planner) staleModel(ctx context.Context, p *pipeline.Pipeline, model *pipeline.Model, f facts, plan *dispatchv1.StagePlan) (*planned, error) {
	current, err := l.table(ctx, f, model.Table, model.Columns, model.Partition)
	if err != nil {
		return nil, err
	}
	currentFiles, err := l.files(ctx, model.Table, current.SnapshotID)
	if err != nil {
		return nil, err
	}
	// The header was given another partition: files of the former one are replaced all at once, since theirs are not among those
	// that are built.
	var former []lake.File
	if otherwise(current.Partition, currentFiles) {
		former, currentFiles = currentFiles, nil
	}
	built := decodeInputs(current.Summary[propertyInputs])
	whole := wholeReason(f, current, model, built, plan.GetFingerprint())
	if whole.words == "" && len(former) > 0 {
		whole = why{"its partition changed", causedBy("the new partition of " + model.Table)}
	}
	found := &planned{reason: whole.words}
	if f.submitted.GetDefers() && Deferred(p, model.Table) && current.Summary[propertyFingerprint] != "" {
		found.reason = "it is not partitioned by date: the last run of backfill " + f.submitted.GetBackfill() + " builds it"
		return found, nil
	}
	inputs, err := l.inputStates(ctx, p, model, f, built, whole.words != "")
	if errors.Is(err, lake.ErrExpired) {
		whole = why{"what changed since it was built is no longer known", causedBy("the expiry of snapshots that " + model.Table + " was built from")}
		found.reason = whole.words
		inputs, err = l.inputStates(ctx, p, model, f, nil, true)
	}
	if err != nil {
		return nil, err
	}
	touched, more, err := l.touched(ctx, model, inputs, currentFiles, whole)
	if err != nil {
		return nil, err
	}
	ps := decodeParts(current.Summary[propertyParts])
	if found.reason == "" {
		more, err = l.touchedSinceParts(ctx, p, model, f, ps, currentFiles, touched, more)
		if err != nil {
			return nil, err
		}
	}
	if err := l.backfilled(ctx, model, inputs, f, currentFiles, touched); err != nil {
		return nil, err
	}
	if len(touched) == 0 && found.reason == "" && more == "" {
		found.reason = "nothing that it reads has changed"
		return found, nil
	}
	build, outside := pipeline.Within(model.Partition, touched, f.submitted.GetStartDate(), f.submitted.GetEndDate())
	if len(former) > 0 && len(outside) > 0 {
		build, outside = touched, nil
		found.notices = append(found.notices, model.Table+": its partition changed: it is built as a whole, also outside the interval")
	}
	if len(outside) > 0 {
		found.notices = append(found.notices, fmt.Sprintf("%s: %d stale partitions lie outside the interval and stay as they are (for example %q)",
			model.Table, len(outside), sortedKeys(outside)[:min(namesShown, len(outside))]))
	}
	if len(build) == 0 && len(touched) > 0 && more == "" {
		found.reason = "what is stale lies outside the interval"
		return found, nil
	}
	if len(outside) == 0 {
		// Inputs advance only when every partition that changed up to them is built: an interval run swallows nothing.
		plan.BuiltInputs = map[string]int64{}
		for _, in := range inputs {
			plan.BuiltInputs[in.Table] = in.snapshot
		}
	} else {
		now := part{Inputs: map[string]int64{}, Fingerprint: plan.GetFingerprint()}
		for _, in := range inputs {
			now.Inputs[in.Table] = in.snapshot
		}
		plan.BuiltInputs, plan.Fingerprint, plan.Parts = built, current.Summary[propertyFingerprint], encodeParts(ps.and(now))
	}
	for _, partition := range sortedKeys(build) {
		found.add(shownPartition(partition), build[partition])
	}
	found.plan, found.more = plan, more
	if f.submitted.GetDryRun() {
		plan.Kind = dispatchv1.StageKind_STAGE_KIND_TRANSFORM // nothing is computed: there are no tasks
	} else {
		l.planTransform(model, inputs, current, currentFiles, sortedKeys(build), f.submitted.GetBackfill() != "", plan)
		for _, file := range former {
			plan.Outputs[0].Replaced = append(plan.Outputs[0].Replaced, file.Path)
		}
	}
	return found, nil
}

// wholeReason says why the whole table is built; empty where only what changed is.
func wholeReason(f facts, current *lake.Table, model *pipeline.Model, built map[string]int64, fingerprint string) why {
	switch {
	case current.Summary[propertyFingerprint] == "":
		return why{"the table was never built as a whole", causedBy("the first build of " + model.Table)}
	case f.submitted.GetFullRefresh():
		return why{"full refresh", causedBy("the full refresh")}
	case current.Summary[propertyFingerprint] != fingerprint:
		return why{"its SQL, its header, the time zone, a contract or the engine changed", causedBy("the new definition of " + model.Table)}
	case decodeParts(current.Summary[propertyParts]).otherThan(fingerprint):
		return why{"a run of an interval built partitions by other SQL, another header, time zone, contract or engine", causedBy("the new definition of " + model.Table)}
	}
	for _, input := range model.Inputs {
		if _, ok := built[input.Table]; !ok {
			return why{"it reads " + input.Table + " for the first time", causedBy("the new input of " + model.Table)}
		}
	}
	return why{}
}

// inputStates are the inputs of a model, and, unless the whole of it is built, what changed in them since it was built.
func (l *planner) inputStates(ctx context.Context, p *pipeline.Pipeline, model *pipeline.Model, f facts, built map[string]int64, whole bool) ([]*inputState, error) {
	inputs := make([]*inputState, 0, len(model.Inputs))
	for _, input := range model.Inputs {
		in, err := l.inputState(ctx, p, f, input, built, whole)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

func (l *planner) inputState(ctx context.Context, p *pipeline.Pipeline, f facts, input pipeline.Input, built map[string]int64, whole bool) (*inputState, error) {
	in := &inputState{Input: input, columns: p.Columns(input.Table), snapshot: f.snapshots[input.Table], reasons: map[string]*dispatchv1.PlannedPartition{}}
	in.partition, _ = p.PartitionOf(input.Table)
	var err error
	if in.files, err = l.files(ctx, input.Table, in.snapshot); err != nil {
		return nil, err
	}
	// No change of a lookup touches anything, so that its history may expire.
	if !whole && input.Relation != pipeline.RelationLookup && in.snapshot != built[input.Table] {
		if in.added, in.removed, err = l.Lake.Changes(ctx, input.Table, built[input.Table], in.snapshot); err != nil {
			return nil, fmt.Errorf("find what changed in %s since snapshot %d: %w", input.Table, built[input.Table], err)
		}
		if err := l.learnSince(ctx, in, built[input.Table], in.snapshot); err != nil {
			return nil, err
		}
	}
	v, err := l.previewOf(ctx, f, input.Table)
	if err != nil {
		return nil, err
	}
	if v != nil {
		in.foresee(v, whole)
	}
	in.repartitioned = otherwise(lakePartition(in.partition), in.files, in.added, in.removed)
	return in, nil
}

// touched are the partitions to build, each with the reason. whole, where not empty, is why all of them are. more, in a dry run,
// says what is touched besides and can't be told yet.
func (l *planner) touched(ctx context.Context, model *pipeline.Model, inputs []*inputState, current []lake.File, whole why) (touched map[string]why, more string, err error) {
	touched = map[string]why{}
	if whole.words == "" {
		for _, in := range inputs {
			if in.changed() && (in.Relation == pipeline.RelationAll || model.Partition.IsZero() && in.Relation != pipeline.RelationLookup) {
				whole = whole.and(in.whyAtAll())
			}
		}
	}
	if model.Partition.IsZero() {
		if whole.words != "" {
			touched[""] = whole
		}
		return touched, "", nil
	}
	if whole.words != "" {
		for _, file := range current { // what is there now and may be empty then
			touched[file.Partition] = whole
		}
	}
	var open []string
	for _, in := range inputs {
		var parts map[string]why
		var unknown string
		switch {
		case in.Relation == pipeline.RelationSame && whole.words != "":
			parts, unknown, err = l.partitionsHeld(ctx, model, in, whole)
		case in.Relation == pipeline.RelationSame && in.changed():
			parts, unknown, err = l.touchedBySame(ctx, model, in, inputs)
		case in.Relation == pipeline.RelationAsOf && whole.words == "" && in.changed():
			parts, unknown, err = l.touchedByAsOf(ctx, model, in, inputs, current)
		}
		if err != nil {
			return nil, "", err
		}
		for partition, reason := range parts {
			touched[partition] = touched[partition].and(reason)
		}
		if unknown != "" && !slices.Contains(open, unknown) {
			open = append(open, unknown)
		}
	}
	return touched, strings.Join(open, "; "), nil
}

// planTransform splits the partitions into tasks and names the files that each needs. In the background a stage is one task a slot:
// whatever overtakes it waits for no more.
func (l *planner) planTransform(model *pipeline.Model, inputs []*inputState, current *lake.Table, currentFiles []lake.File, partitions []string, background bool, plan *dispatchv1.StagePlan) {
	plan.Kind = dispatchv1.StageKind_STAGE_KIND_TRANSFORM
	build := map[string]bool{}
	for _, partition := range partitions {
		build[partition] = true
	}
	var replaced []string
	for _, file := range currentFiles {
		if build[file.Partition] {
			replaced = append(replaced, file.Path)
		}
	}
	plan.Outputs = []*dispatchv1.OutputTable{l.output(current, replaced)}
	weights := map[string]int64{}
	for _, in := range inputs {
		pinned := &dispatchv1.PinnedTable{Table: in.Table, SnapshotId: in.snapshot}
		for _, c := range in.columns {
			pinned.Columns = append(pinned.Columns, &dispatchv1.TableColumn{Name: c.Name, Type: c.Type})
		}
		for _, file := range in.files {
			pinned.Files = append(pinned.Files, &dispatchv1.PinnedFile{Path: file.Path, Partition: file.Partition, Rows: file.Rows, SizeBytes: file.Bytes})
			if in.Relation == pipeline.RelationSame && in.aligned(model) {
				weights[pipeline.Coarsen(model.Partition.Transform, file.Partition)] += file.Rows
			}
		}
		plan.Inputs = append(plan.Inputs, pinned)
	}
	tasks := l.tasksAtOnce(plan)
	if model.Reach.Kind != pipeline.ReachAny && !background {
		tasks *= 2 // where each task reads its own partitions only, smaller tasks spread better
	}
	for i, group := range pipeline.Tasks(partitions, weights, tasks) {
		task := &dispatchv1.TaskPlan{TaskId: fmt.Sprint(i + 1), Kind: dispatchv1.TaskKind_TASK_KIND_TRANSFORM}
		if !model.Partition.IsZero() {
			task.Partitions = group
			task.InputFiles = inputFiles(model, inputs, group)
		}
		plan.Tasks = append(plan.Tasks, task)
	}
}

// inputFiles names the files of the inputs of which a task needs only some: those partitioned like the model, of the same partitions.
func inputFiles(model *pipeline.Model, inputs []*inputState, partitions []string) []*dispatchv1.InputFiles {
	if model.Reach.Kind != pipeline.ReachNone {
		return nil
	}
	var list []*dispatchv1.InputFiles
	for i, in := range inputs {
		if in.Relation != pipeline.RelationSame || !in.aligned(model) {
			continue
		}
		some := &dispatchv1.InputFiles{Input: int32(i)}
		for j, file := range in.files {
			if slices.Contains(partitions, pipeline.Coarsen(model.Partition.Transform, file.Partition)) {
				some.Files = append(some.Files, int32(j))
			}
		}
		list = append(list, some)
	}
	return list
}

func shownPartition(partition string) string {
	if partition == "" {
		return wholeTable
	}
	return partition
}
