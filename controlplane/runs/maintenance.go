package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// staleFiles plans the maintenance of a table: which files are rewritten, and whether there is something to expire or remove.
func (l *planner) staleFiles(ctx context.Context, p *pipeline.Pipeline, limits *pipeline.Maintenance, f facts, plan *dispatchv1.StagePlan) (*planned, error) {
	table, err := l.Lake.Table(ctx, f.table)
	if errors.Is(err, lake.ErrNotFound) {
		return &planned{reason: "it was never built"}, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := l.files(ctx, f.table, table.SnapshotID)
	if err != nil {
		return nil, err
	}
	expire, err := l.expirable(ctx, p, limits, f, table)
	if err != nil {
		return nil, err
	}
	orphans, err := l.Lake.Orphans(ctx, f.table, l.orphaned(ctx, limits))
	if err != nil {
		return nil, err
	}
	// Files of a former partition wait for the run that builds the table anew.
	files = slices.DeleteFunc(files, func(file lake.File) bool { return file.PartitionedBy != table.Partition })
	groups := compactions(files, limits.TargetFileSize)
	found := &planned{reason: "nothing to rewrite, to expire or to remove"}
	if len(groups)+len(expire)+len(orphans) == 0 {
		return found, nil
	}
	var todo []string
	for _, kind := range []struct {
		n    int
		what string
	}{{len(slices.Concat(groups...)), "small files to rewrite"}, {len(expire), "snapshots that nobody needs"}, {len(orphans), "files that nothing names"}} {
		if kind.n > 0 {
			todo = append(todo, fmt.Sprintf("%d %s", kind.n, kind.what))
		}
	}
	found.reason = strings.Join(todo, ", ")
	found.plan = plan
	plan.Kind = dispatchv1.StageKind_STAGE_KIND_MAINTENANCE
	pinned := &dispatchv1.PinnedTable{Table: table.Name, SnapshotId: table.SnapshotID}
	out := l.output(table, nil)
	pinned.Columns = out.GetColumns()
	for i, group := range groups {
		task := &dispatchv1.TaskPlan{TaskId: strconv.Itoa(i + 1), Kind: dispatchv1.TaskKind_TASK_KIND_COMPACT, Partitions: []string{group[0].Partition}}
		some := &dispatchv1.InputFiles{}
		var bytes int64
		for _, file := range group {
			some.Files = append(some.Files, int32(len(pinned.GetFiles())))
			pinned.Files = append(pinned.Files, &dispatchv1.PinnedFile{Path: file.Path, Partition: file.Partition, Rows: file.Rows, SizeBytes: file.Bytes})
			out.Replaced = append(out.Replaced, file.Path)
			bytes += file.Bytes
		}
		task.InputFiles = []*dispatchv1.InputFiles{some}
		plan.Tasks = append(plan.Tasks, task)
		found.add(shownPartition(group[0].Partition), why{words: fmt.Sprintf("%d files of %s are rewritten as one", len(group), humanize.IBytes(uint64(bytes)))})
	}
	if f.submitted.GetDryRun() {
		plan.Tasks = nil
	}
	plan.Inputs, plan.Outputs = []*dispatchv1.PinnedTable{pinned}, []*dispatchv1.OutputTable{out}
	return found, nil
}

// expirable are the snapshots of a table that nobody needs. Needed are, whatever the limits say, the current one and the one
// that maintenance was planned on (a run that starts at this moment may have pinned it), those that open runs have pinned, those
// that a published record which is kept names, those that a tag or a branch refers to, and those by which the models that read the table find out what changed.
func (l *planner) expirable(ctx context.Context, p *pipeline.Pipeline, limits *pipeline.Maintenance, f facts, table *lake.Table) ([]int64, error) {
	history, err := l.Lake.Snapshots(ctx, table.Name)
	if err != nil {
		return nil, err
	}
	needed := map[int64]bool{table.SnapshotID: true, f.snapshots[table.Name]: true}
	for _, id := range f.openPins[table.Name] {
		needed[id] = true
	}
	for _, s := range history {
		if s.Referenced {
			needed[s.ID] = true
		}
	}
	published, err := l.Bus.PublishedHistory(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what was published: %w", err)
	}
	for _, record := range published {
		needed[record.GetSnapshots()[table.Name]] = true
	}
	for _, model := range p.Models {
		input, reads := model.Input(table.Name)
		if !reads || input.Relation == pipeline.RelationLookup {
			continue
		}
		reader, err := l.Lake.Table(ctx, model.Table)
		if errors.Is(err, lake.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		built := []int64{decodeInputs(reader.Summary[propertyInputs])[table.Name]}
		for _, part := range decodeParts(reader.Summary[propertyParts]) {
			built = append(built, part.Inputs[table.Name])
		}
		for _, from := range built {
			for _, id := range lake.Needed(history, from, table.SnapshotID) {
				needed[id] = true
			}
		}
	}
	return expirable(history, needed, time.Now(), limits.KeepSnapshots, limits.KeepLast), nil
}

// orphaned says which of a table's files may be removed where no metadata names them. What it knows of runs it reads when it is
// first asked: see lake.RemoveOrphans.
func (l *planner) orphaned(ctx context.Context, limits *pipeline.Maintenance) func(lake.Stored) bool {
	now, ended := time.Now(), l.endedRuns(ctx)
	return func(f lake.Stored) bool { return mayRemove(f, ended, now, limits.KeepOrphans) }
}

// endedRuns says which runs are known to have ended; what is known is read when it is first asked, and kept.
func (l *planner) endedRuns(ctx context.Context) func(run string) bool {
	index := sync.OnceValue(func() *bus.RunIndex {
		index, err := l.Bus.RunIndex(ctx)
		if err != nil {
			l.Log.WarnContext(ctx, "it cannot be told which runs have ended; their files are kept", "error", err)
			return nil
		}
		return index
	})
	known := map[string]bool{}
	return func(run string) bool {
		is, ok := known[run]
		if !ok {
			is = l.ended(ctx, index(), run)
			known[run] = is
		}
		return is
	}
}

// ended says whether a run is known to have ended: by the index, by its log where the index was not brought up to date, or by
// ops.runs where the log was removed.
func (l *planner) ended(ctx context.Context, index *bus.RunIndex, run string) bool {
	if index == nil {
		return false
	}
	if index.HasEnded(run) {
		return true
	}
	terminal := false
	err := l.log.View(ctx, run, func(s *State) error { terminal = s.Terminal(); return nil })
	return err == nil && terminal
}

// sameRows holds what was staged against what is rewritten: a file for each group, with all its rows.
func sameRows(plan *dispatchv1.StagePlan, staged *dispatchv1.TaskOutput) error {
	var before, after int64
	for _, file := range plan.GetInputs()[0].GetFiles() {
		before += file.GetRows()
	}
	for _, file := range staged.GetFiles() {
		after += file.GetRows()
	}
	if before != after || len(staged.GetFiles()) != len(plan.GetTasks()) {
		return badData{fmt.Errorf("compaction of %s: %d rows would be rewritten as %d rows in %d files of %d: nothing is committed; this is a fault of the program, please report it",
			plan.GetStage(), before, after, len(staged.GetFiles()), len(plan.GetTasks()))}
	}
	return nil
}

// maintain commits the rewritten files of a table as a compaction, and then forgets the snapshots that nobody needs and removes
// the files that nothing names any more. It may be killed at any moment, and is then done again, by this or another coordinator.
// That it removes nothing which another coordinator commits meanwhile is argued at lake.RemoveOrphans; what that asks of us
// holds: a coordinator fences the tables of announced commits when it takes over, this step begins with a fence again, runs that
// write the same table wait for this one to end, and files of a run's folder are given up only when the run has ended.
func (l *leader) maintain(ctx context.Context, f facts, plan *dispatchv1.StagePlan, add []lake.Staged) ([]*dispatchv1.RunEvent, error) {
	if f.table == pipeline.RunsTable { // what is being added to it belongs to no run
		l.log.history.writing.Lock()
		defer l.log.history.writing.Unlock()
	}
	done := &dispatchv1.Maintained{}
	committed := &dispatchv1.StageCommitted{Stage: f.table, Maintenance: done}
	out := plan.GetOutputs()[0]
	if len(out.GetReplaced()) > 0 {
		id, err := l.commitTable(ctx, lake.Commit{
			Table: f.table, Remove: out.GetReplaced(), Add: add, Compaction: true, Base: out.GetBaseSnapshotId(), CheckBase: true, Epoch: l.epoch,
			Properties: map[string]string{propertyRun: f.runID, propertyStage: f.table}, Token: commitToken(f),
		})
		if err != nil {
			return nil, err
		}
		committed.Snapshots = map[string]int64{f.table: id}
		done.FilesCompacted, done.FilesWritten = int64(len(out.GetReplaced())), int64(len(add))
	}
	// The rows are safe. A disk that refuses to delete must not keep runs waiting: what is left is told, and tried the next time.
	for try := 1; ; try++ {
		err := l.tidy(ctx, f, committed)
		if err == nil {
			break
		}
		if errors.Is(err, lake.ErrFenced) || ctx.Err() != nil {
			return nil, err
		}
		if try == actionTries || !wait(ctx, backoff(try)) {
			committed.Notices = append(committed.Notices, fmt.Sprintf("%s: old snapshots and files are left; the next maintenance tries again: %s", f.table, sayable(err)))
			break
		}
	}
	return []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_StageCommitted{StageCommitted: committed}}}, nil
}

// tidy forgets the snapshots of a table that nobody needs, and removes the files that nothing names.
func (l *leader) tidy(ctx context.Context, f facts, committed *dispatchv1.StageCommitted) error {
	p, err := l.Pipelines.Get(ctx, f.submitted.GetPipelineDigest())
	if err != nil {
		return fmt.Errorf("load the pipeline of run %s: %w", f.runID, err)
	}
	limits := p.Flow(f.submitted.GetFlow()).Maintenance
	if err := l.Lake.Fence(ctx, f.table, l.epoch); err != nil {
		return err
	}
	table, err := l.Lake.Table(ctx, f.table)
	if err != nil {
		return err
	}
	ids, err := l.expirable(ctx, p, limits, f, table)
	if err != nil {
		return err
	}
	expired, err := l.Lake.Expire(ctx, f.table, ids, l.epoch)
	if err != nil {
		return err
	}
	done := committed.GetMaintenance()
	done.SnapshotsExpired += int64(expired)
	removed, err := l.Lake.RemoveOrphans(ctx, f.table, l.epoch, l.orphaned(ctx, limits))
	done.OrphansRemoved += int64(removed.Files)
	done.BytesRemoved += removed.Bytes
	if err == nil && removed.Failed > 0 {
		err = fmt.Errorf("%d files could not be removed: %w", removed.Failed, removed.Failure)
	}
	return err
}

// compactedPublished are the tables of a run of maintenance whose published snapshot has the same rows as a compaction that came
// after it, with that compaction. Where the table had moved on since it was published (a run failed after it had committed),
// maintenance publishes nothing: readers would see what no run published.
func (l *leader) compactedPublished(ctx context.Context, f facts, published map[string]int64) (map[string]int64, error) {
	moved := map[string]int64{}
	for _, table := range f.stages {
		id, before := f.snapshots[table], published[table]
		if id == 0 || before == 0 || id == before {
			continue
		}
		t, err := l.Lake.TableAt(ctx, table, id)
		if err != nil {
			return nil, fmt.Errorf("find out what snapshot %d of %s compacts: %w", id, table, err)
		}
		if slices.Contains(t.Compacts(), before) {
			moved[table] = id
		}
	}
	return moved, nil
}

// pins are the snapshots that open runs have pinned, by table.
func (l *leader) pins() map[string][]int64 {
	pins := map[string][]int64{}
	for _, r := range l.runs {
		for table, id := range r.state.Pinned {
			pins[table] = append(pins[table], id)
		}
		for _, st := range r.state.Stages {
			for table, id := range st.Snapshots {
				pins[table] = append(pins[table], id)
			}
		}
	}
	return pins
}

// planFolder is where the plans and lists of a stage lie: below the table's folder in the lake. Those of maintenance lie
// outside of it.
func planFolder(f facts, kind dispatchv1.StageKind, plan uint32) string {
	if kind == dispatchv1.StageKind_STAGE_KIND_MAINTENANCE {
		return fmt.Sprintf(lake.MaintenanceFolder+"/%s/%s/%d", f.runID, f.table, plan)
	}
	return fmt.Sprintf("%s/plans/%s/%d", strings.ReplaceAll(f.table, ".", "/"), f.runID, plan)
}
