package runs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// reasonsRead bounds the snapshots of an input whose reasons are read: they are words for a person.
const reasonsRead = 50

// preview is what a stage of a dry run would make of its table.
type preview struct {
	// added are the staged files of a source that was read, replaced the files that would go.
	added    []lake.File
	replaced map[string]bool
	// reasons name what would be built, and why. more is what else would change, which only the run itself can tell.
	reasons []*dispatchv1.PlannedPartition
	more    string
}

// previewed is a stage of a dry run that is closed: where its preview lies, or the preview itself.
type previewed struct {
	planned    *dispatchv1.StagePlanned
	stagedPath string
	stagedSHA  string
	seen       *preview
}

func previewedStages(s *State) map[string]previewed {
	stages := map[string]previewed{}
	for _, st := range s.Stages {
		if st.State == shoplakev1.StageState_STAGE_STATE_PREVIEWED {
			stages[st.Table] = previewed{planned: st.Planned, stagedPath: st.StagedPath, stagedSHA: st.StagedSHA256}
		}
	}
	return stages
}

// preview closes a stage of a dry run. A source's files were read; of a model it is known what would be built, which is all.
func (l *leader) preview(ctx context.Context, f facts) ([]*dispatchv1.RunEvent, error) {
	event := &dispatchv1.StagePreviewed{Stage: f.table}
	if len(f.results) > 0 {
		staged, err := l.listStaged(ctx, f)
		if err != nil {
			return nil, err
		}
		event.StagedPath, event.StagedSha256 = staged.path, staged.sha256
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StagePreviewed{StagePreviewed: event}}}, nil
}

// sweep removes what a dry run staged. What cannot be removed, and what an attempt writes that nobody waits for any more, is
// named by no commit: orphans, which maintenance removes.
func (l *leader) sweep(ctx context.Context, f facts) {
	tables := slices.Clone(f.stages)
	for _, t := range pipeline.OpsTables() {
		tables = append(tables, t.Name)
	}
	for _, table := range tables {
		if err := l.Lake.RemoveStaging(table, f.runID); err != nil {
			l.Log.WarnContext(ctx, "files that a dry run staged could not be removed; they are orphans", "run", f.runID, "table", table, "error", err)
		}
	}
}

// underWay are the runs that have begun and may write.
func (l *leader) underWay() []string {
	var ids []string
	for id, r := range l.runs {
		if !r.state.Dry() && r.state.Phase != shoplakev1.RunState_RUN_STATE_QUEUED && !r.state.Terminal() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// previewOf reads what an earlier stage of the dry run would make of its table; nil where it stays as it is.
func (l *planner) previewOf(ctx context.Context, f facts, table string) (*preview, error) {
	p, ok := f.previewed[table]
	if !ok || p.seen != nil {
		return p.seen, nil
	}
	var reasons dispatchv1.StageReasons
	if err := l.readObject(ctx, p.planned.GetReasonsPath(), p.planned.GetReasonsSha256(), &reasons); err != nil {
		return nil, fmt.Errorf("read what would be built of %s: %w", table, err)
	}
	v := &preview{reasons: reasons.GetPlanned(), more: reasons.GetMore(), replaced: map[string]bool{}}
	if p.stagedPath == "" {
		return v, nil
	}
	var plan dispatchv1.StagePlan
	if err := l.readObject(ctx, p.planned.GetPlanPath(), p.planned.GetPlanSha256(), &plan); err != nil {
		return nil, fmt.Errorf("read the plan of %s: %w", table, err)
	}
	for _, out := range plan.GetOutputs() {
		if out.GetTable() == table {
			for _, path := range out.GetReplaced() {
				v.replaced[path] = true
			}
		}
	}
	var staged dispatchv1.TaskOutput
	if err := l.readObject(ctx, p.stagedPath, p.stagedSHA, &staged); err != nil {
		return nil, fmt.Errorf("read the list of staged files of %s: %w", table, err)
	}
	for _, file := range staged.GetFiles() {
		if file.GetTable() == table {
			v.added = append(v.added, lake.File{Path: file.GetPath(), Partition: file.GetPartition(), Rows: file.GetRows(), Bytes: file.GetSizeBytes()})
		}
	}
	return v, nil
}

// foresee puts an input into the state that it will be in. The files of a source are known, since it was read; of a model it is
// known which partitions will be others, not what they will hold.
func (in *inputState) foresee(v *preview, whole bool) {
	in.learn(v.reasons)
	in.more = v.more
	gone := func(file lake.File) bool { return v.replaced[file.Path] }
	if !in.bronze() {
		in.rebuilt = map[string]bool{}
		for _, p := range v.reasons {
			in.rebuilt[keptPartition(p.GetPartition())] = true
		}
		by := lakePartition(in.partition)
		gone = func(file lake.File) bool {
			return in.rebuilt[file.Partition] || len(in.rebuilt) > 0 && file.PartitionedBy != by
		}
	}
	if !whole {
		// As lake.Changes tells it: what was added since the table was built, and goes, is neither added nor removed.
		added, goes := map[string]bool{}, map[string]bool{}
		for _, file := range in.added {
			added[file.Path] = true
		}
		for _, file := range in.files {
			if goes[file.Path] = gone(file); goes[file.Path] && !added[file.Path] {
				in.removed = append(in.removed, file)
			}
		}
		in.added = append(slices.DeleteFunc(slices.Clone(in.added), func(file lake.File) bool { return goes[file.Path] }), v.added...)
	}
	in.files = append(slices.DeleteFunc(slices.Clone(in.files), gone), v.added...)
}

// learn notes why partitions of the input were built, besides what is known already.
func (in *inputState) learn(planned []*dispatchv1.PlannedPartition) {
	for _, p := range planned {
		known, ok := in.reasons[p.GetPartition()]
		if !ok {
			in.reasons[p.GetPartition()] = p
			continue
		}
		both := causesOf(known).and(causesOf(p))
		in.reasons[p.GetPartition()] = &dispatchv1.PlannedPartition{Partition: p.GetPartition(), Reason: p.GetReason(), Causes: both.named, CausesTotal: both.total}
	}
}

// learnSince reads why the partitions of an input were built from one snapshot to another. These are words for a person: where
// they are gone or cannot be read, the plan goes on without them.
func (l *planner) learnSince(ctx context.Context, in *inputState, from, to int64) error {
	snapshots, err := l.Lake.Snapshots(ctx, in.Table)
	if err != nil && !errors.Is(err, lake.ErrNotFound) {
		return err
	}
	byID := map[int64]lake.Snapshot{}
	for _, s := range snapshots {
		byID[s.ID] = s
	}
	var paths []string
	for id := to; id != 0 && id != from && len(paths) < reasonsRead; id = byID[id].ParentID {
		s := byID[id]
		// A compaction built nothing: it only repeats what the snapshot before it said.
		if path := s.Summary[propertyReasons]; path != "" && len(s.Compacts()) == 0 {
			paths = append(paths, path)
		}
	}
	for _, path := range slices.Backward(paths) { // of a file that was read twice the latest reason stands
		var reasons dispatchv1.StageReasons
		data, err := l.Lake.ReadObject(ctx, path)
		if err == nil {
			err = proto.Unmarshal(data, &reasons)
		}
		if err != nil {
			l.Log.WarnContext(ctx, "it cannot be told why partitions were built", "table", in.Table, "path", path, "error", err)
			continue
		}
		in.learn(reasons.GetPlanned())
	}
	return nil
}

// keptPartition is the partition that shownPartition shows.
func keptPartition(shown string) string {
	if shown == wholeTable {
		return ""
	}
	return shown
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
