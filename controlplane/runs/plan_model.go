package runs

import (
	"context"
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
}

func (in *inputState) changed() bool { return len(in.added)+len(in.removed) > 0 }

// staleModel plans the partitions of a model that its changed inputs touch, or all of them where the model itself changed.
func (l *planner) staleModel(ctx context.Context, p *pipeline.Pipeline, model *pipeline.Model, f facts, plan *dispatchv1.StagePlan, dry bool) (*planned, error) {
	current, err := l.table(ctx, model.Table, model.Columns, model.Partition, dry)
	if err != nil {
		return nil, err
	}
	currentFiles, err := l.files(ctx, model.Table, current.SnapshotID)
	if err != nil {
		return nil, err
	}
	built := decodeInputs(current.Summary[propertyInputs])
	found := &planned{reason: wholeReason(f, current, model, built, plan.GetFingerprint())}
	inputs := make([]*inputState, 0, len(model.Inputs))
	for _, input := range model.Inputs {
		in, err := l.inputState(ctx, p, f, input, built, found.reason != "")
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	touched, err := l.touched(ctx, model, inputs, currentFiles, found.reason)
	if err != nil {
		return nil, err
	}
	if len(touched) == 0 && found.reason == "" {
		found.reason = "nothing that it reads has changed"
		return found, nil
	}
	build, outside := pipeline.Within(model.Partition, touched, f.submitted.GetStartDate(), f.submitted.GetEndDate())
	if len(outside) > 0 {
		found.notices = append(found.notices, fmt.Sprintf("%s: %d stale partitions lie outside the interval and stay as they are (for example %q)",
			model.Table, len(outside), sortedKeys(outside)[:min(namesShown, len(outside))]))
	}
	if len(build) == 0 && len(touched) > 0 {
		found.reason = "what is stale lies outside the interval"
		return found, nil
	}
	if !dry && len(outside) == 0 {
		// Inputs advance only when every partition that changed up to them is built: an interval run swallows nothing.
		plan.BuiltInputs = map[string]int64{}
		for _, in := range inputs {
			plan.BuiltInputs[in.Table] = in.snapshot
		}
	} else {
		plan.BuiltInputs, plan.Fingerprint = built, current.Summary[propertyFingerprint]
	}
	for _, partition := range sortedKeys(build) {
		found.add(shownPartition(partition), build[partition])
	}
	l.planTransform(model, inputs, current, currentFiles, sortedKeys(build), plan)
	found.plan = plan
	return found, nil
}

// wholeReason says why the whole table is built; empty where only what changed is.
func wholeReason(f facts, current *lake.Table, model *pipeline.Model, built map[string]int64, fingerprint string) string {
	switch {
	case current.Summary[propertyFingerprint] == "":
		return "the table was never built as a whole"
	case f.submitted.GetFullRefresh():
		return "full refresh"
	case current.Summary[propertyFingerprint] != fingerprint:
		return "its SQL, its header, the time zone, a contract or the engine changed"
	}
	for _, input := range model.Inputs {
		if _, ok := built[input.Table]; !ok {
			return "it reads " + input.Table + " for the first time"
		}
	}
	return ""
}

func (l *planner) inputState(ctx context.Context, p *pipeline.Pipeline, f facts, input pipeline.Input, built map[string]int64, whole bool) (*inputState, error) {
	in := &inputState{Input: input, columns: p.Columns(input.Table), snapshot: f.snapshots[input.Table]}
	in.partition, _ = p.PartitionOf(input.Table)
	var err error
	if in.files, err = l.files(ctx, input.Table, in.snapshot); err != nil {
		return nil, err
	}
	if !whole && in.snapshot != built[input.Table] {
		if in.added, in.removed, err = l.Lake.Changes(ctx, input.Table, built[input.Table], in.snapshot); err != nil {
			return nil, fmt.Errorf("find what changed in %s since snapshot %d: %w", input.Table, built[input.Table], err)
		}
	}
	return in, nil
}

// touched are the partitions to build, each with the reason. whole, where not empty, is why all of them are.
func (l *planner) touched(ctx context.Context, model *pipeline.Model, inputs []*inputState, current []lake.File, whole string) (map[string]string, error) {
	touched := map[string]string{}
	if model.Partition.IsZero() {
		if whole != "" {
			touched[""] = whole
		}
		for _, in := range inputs {
			if in.changed() && in.Relation != pipeline.RelationLookup {
				touched[""] = changedReason(in)
				break
			}
		}
		return touched, nil
	}
	for _, in := range inputs {
		if whole == "" && in.changed() && in.Relation == pipeline.RelationAll {
			whole = changedReason(in)
		}
	}
	if whole != "" {
		for _, file := range current { // what is there now and may be empty then
			touched[file.Partition] = whole
		}
	}
	for _, in := range inputs {
		var parts map[string]string
		var err error
		switch {
		case in.Relation == pipeline.RelationSame && whole != "":
			parts, err = l.partitionsOf(ctx, model, in, in.files, []viewed{view(in.Table, in.columns, in.files)}, whole)
		case in.Relation == pipeline.RelationSame && in.changed():
			parts, err = l.touchedBySame(ctx, model, in)
		case in.Relation == pipeline.RelationAsOf && whole == "" && in.changed():
			parts, err = l.touchedByAsOf(ctx, model, in, current)
		}
		if err != nil {
			return nil, err
		}
		for partition, reason := range parts {
			if _, ok := touched[partition]; !ok {
				touched[partition] = reason
			}
		}
	}
	return touched, nil
}

func changedReason(in *inputState) string {
	return fmt.Sprintf("%s changed: %d files added, %d removed", in.Table, len(in.added), len(in.removed))
}

// planTransform splits the partitions into tasks and names the files that each needs.
func (l *planner) planTransform(model *pipeline.Model, inputs []*inputState, current *lake.Table, currentFiles []lake.File, partitions []string, plan *dispatchv1.StagePlan) {
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
			if in.Relation == pipeline.RelationSame && pipeline.Aligned(in.partition, model.Partition) {
				weights[pipeline.Coarsen(model.Partition.Transform, file.Partition)] += file.Rows
			}
		}
		plan.Inputs = append(plan.Inputs, pinned)
	}
	tasks := int(l.slots.Load())
	if model.Reach.Kind != pipeline.ReachAny {
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
		if in.Relation != pipeline.RelationSame || !pipeline.Aligned(in.partition, model.Partition) {
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

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}
