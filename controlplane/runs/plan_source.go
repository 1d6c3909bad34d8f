package runs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

const (
	// ingestTaskBytes is how much one task reads where there is much to read, before decompression.
	ingestTaskBytes = 256 << 20
	// ingestTaskFloor keeps tasks from being too small to be worth a file.
	ingestTaskFloor = 8 << 20
	// namesShown is how many file names a notice lists.
	namesShown = 5
)

// ingested is what ops.ingested knows of a file: its latest version.
type ingested struct {
	sha256   string
	bytes    int64
	modified time.Time
	// at is when it was ingested.
	at time.Time
	// contract is the hash of the contract that it was read by, zone the pipeline's time zone then; empty where not known.
	contract, zone string
}

// staleSource plans the reading of a source's files: those that are new, and those whose content changed.
func (l *planner) staleSource(ctx context.Context, p *pipeline.Pipeline, source *pipeline.Source, f facts, plan *dispatchv1.StagePlan) (*planned, error) {
	contract := source.Contract
	bronze, err := l.table(ctx, f, f.table, pipeline.BronzeColumns(contract), pipeline.Partition{})
	if err != nil {
		return nil, err
	}
	ops := map[string]*lake.Table{}
	for _, t := range pipeline.OpsTables() {
		if t.Live {
			continue
		}
		if ops[t.Name], err = l.table(ctx, f, t.Name, t.Columns, t.Partition); err != nil {
			return nil, err
		}
	}
	root, err := openLanding(l.Landing, source.Name, f.submitted.GetDryRun())
	if err != nil {
		return nil, err
	}
	if root == nil {
		return &planned{reason: "its landing folder does not exist"}, nil
	}
	defer root.Close()
	landing, err := listLanding(root, contract, time.Now(), l.Settle)
	if err == nil && len(landing.unsettled) > 0 && wait(ctx, l.Settle) {
		// Somebody dropped files and started a run at once: those that are complete have rested by now.
		before, now := landing, time.Now()
		if landing, err = listLanding(root, contract, now, l.Settle); err == nil {
			landing.rested(before, now)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list the landing folder of %s: %w", source.Name, err)
	}
	known, err := l.ingestedFiles(ctx, ops[pipeline.IngestedTable], source.Name)
	if err != nil {
		return nil, err
	}
	// The latest version of a file is that of the latest time: clocks that go back, or differ, must not make an older one of it.
	for _, file := range known {
		if next := file.at.Add(time.Microsecond); plan.GetIngestTime().AsTime().Before(next) {
			plan.IngestTime = timestamppb.New(next)
		}
	}
	found := &planned{}
	whole := ""
	if f.submitted.GetFullRefresh() && len(known) > 0 {
		whole = "full refresh"
	}
	var read []landed
	changed, fresh := []string{}, []string{}
	for _, file := range landing.files {
		old, ok := known[file.path]
		delete(known, file.path)
		switch {
		case !ok:
			found.add(file.path, why{words: "new file"})
			fresh = append(fresh, file.path)
		case whole != "":
			found.add(file.path, why{words: whole})
			changed = append(changed, file.path)
		case old.contract != contract.Hash:
			found.add(file.path, why{words: "the contract changed"})
			changed = append(changed, file.path)
		case old.zone != p.TimeZone:
			found.add(file.path, why{words: "the time zone changed"})
			changed = append(changed, file.path)
		case old.bytes == file.bytes && old.modified.Equal(file.modified):
			continue
		default:
			sum, err := hashOf(ctx, root, file.path)
			if err != nil {
				return nil, err
			}
			if sum == old.sha256 {
				continue
			}
			found.add(file.path, why{words: "its content changed"})
			changed = append(changed, file.path)
		}
		read = append(read, file)
	}
	for _, file := range landing.unsettled {
		delete(known, file.path) // it is there, whatever it will hold
	}
	found.note(source.Name, landing.unsettledPaths(), "still being written: they are read by a later run")
	found.note(source.Name, landing.unnamed, "not read: their names are not UTF-8, rename them")
	gone := make([]string, 0, len(known))
	for path := range known {
		gone = append(gone, path)
	}
	slices.Sort(gone)
	found.note(source.Name, gone, "gone from landing: their rows are kept")
	if len(read) == 0 {
		found.reason = fmt.Sprintf("no new or changed files among %d", len(landing.files))
		return found, nil
	}
	found.reason = whole
	half, err := l.halfIngested(ctx, ops[pipeline.QuarantineTable], source.Name, fresh)
	if err != nil {
		return nil, err
	}
	changed = append(changed, half...)
	if err := l.planIngest(ctx, source, bronze, ops, read, changed, plan); err != nil {
		return nil, err
	}
	found.plan = plan
	return found, nil
}

// openLanding opens the landing folder of a source, which is made where it is missing (not in a dry run: then it is nil).
func openLanding(landing, source string, dry bool) (*os.Root, error) {
	folder := filepath.Join(landing, source)
	if !dry {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("make the landing folder of %s: %w", source, err)
		}
	}
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the landing folder of %s: %w", source, err)
	}
	return root, nil
}

func (found *planned) add(partition string, reason why) {
	found.partitions = append(found.partitions, &dispatchv1.PlannedPartition{
		Partition: partition, Reason: reason.words, Causes: reason.causes.named, CausesTotal: reason.causes.total})
}

func (found *planned) note(source string, names []string, what string) {
	if len(names) == 0 {
		return
	}
	shown := names[:min(namesShown, len(names))]
	found.notices = append(found.notices, fmt.Sprintf("%s: %d files are %s (for example %q)", source, len(names), what, shown))
}

// planIngest splits the files into tasks, and says which data files are replaced: those that hold rows of files that
// changed. What else these hold is carried over.
func (l *planner) planIngest(ctx context.Context, source *pipeline.Source, bronze *lake.Table, ops map[string]*lake.Table, read []landed, changed []string, plan *dispatchv1.StagePlan) error {
	plan.Kind = dispatchv1.StageKind_STAGE_KIND_INGEST
	carry := &dispatchv1.TaskPlan{TaskId: carryTask, Kind: dispatchv1.TaskKind_TASK_KIND_CARRY, DroppedSourceFiles: changed}
	replaced := map[string][]string{}
	if len(changed) > 0 {
		for _, t := range []struct {
			table  *lake.Table
			column string
			filter string
		}{{bronze, pipeline.SourceFileColumn, ""}, {ops[pipeline.QuarantineTable], "source_file", source.Name}} {
			holding, err := l.filesHolding(ctx, t.table, t.column, t.filter, changed)
			if err != nil {
				return err
			}
			pinned := &dispatchv1.PinnedTable{Table: t.table.Name, SnapshotId: t.table.SnapshotID}
			// Rows that stay keep the columns too that the contract has given up.
			columns := t.table.Columns
			if whole, err := l.Lake.Table(ctx, t.table.Name); err == nil {
				columns = whole.Columns
			} else if !errors.Is(err, lake.ErrNotFound) {
				return err
			}
			for _, c := range columns {
				pinned.Columns = append(pinned.Columns, &dispatchv1.TableColumn{FieldId: int32(c.ID), Name: c.Name, Type: c.Type, Required: c.Required})
			}
			for _, file := range holding {
				replaced[t.table.Name] = append(replaced[t.table.Name], file.Path)
				pinned.Files = append(pinned.Files, &dispatchv1.PinnedFile{Path: file.Path, Partition: file.Partition, Rows: file.Rows, SizeBytes: file.Bytes})
			}
			plan.Inputs = append(plan.Inputs, pinned)
		}
	}
	// Quarantine is committed before bronze: whoever sees the good rows of a file can always find its bad ones. A file counts
	// as ingested when both are there.
	plan.Outputs = []*dispatchv1.OutputTable{
		l.output(ops[pipeline.QuarantineTable], replaced[pipeline.QuarantineTable]),
		l.output(bronze, replaced[bronze.Name]),
		l.output(ops[pipeline.IngestedTable], nil),
	}
	var total int64
	for _, file := range read {
		total += file.bytes
	}
	limit := min(max(total/int64(2*l.tasksAtOnce(plan)), ingestTaskFloor), ingestTaskBytes)
	var task *dispatchv1.TaskPlan
	var bytes int64
	for _, file := range read {
		if task == nil || bytes > 0 && bytes+file.bytes > limit {
			task = &dispatchv1.TaskPlan{TaskId: strconv.Itoa(len(plan.Tasks) + 1), Kind: dispatchv1.TaskKind_TASK_KIND_INGEST}
			plan.Tasks, bytes = append(plan.Tasks, task), 0
		}
		bytes += file.bytes
		task.LandingFiles = append(task.LandingFiles, &dispatchv1.LandingFile{Path: file.path, SizeBytes: file.bytes, ModifyTime: timestamppb.New(file.modified)})
	}
	if len(replaced) > 0 {
		plan.Tasks = append(plan.Tasks, carry)
	}
	return nil
}
