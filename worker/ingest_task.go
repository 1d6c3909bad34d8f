package worker

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/worker/ingest"
	"github.com/shoplake/shoplake/worker/transform"
)

// source is the source that the plan reads.
func (j *job) source() (*pipeline.Source, error) {
	name := strings.TrimPrefix(j.plan.GetStage(), "bronze.")
	if source := j.pipeline.Source(name); source != nil {
		return source, nil
	}
	return nil, fmt.Errorf("the pipeline %s has no source %s: the plan was made for another pipeline", j.pipeline.Digest, name)
}

// target is an output of the plan as ingestion takes it.
func (j *job) target(table string) ingest.Target {
	t := ingest.Target{Table: table, Staging: j.staging[table]}
	for _, out := range j.plan.GetOutputs() {
		if out.GetTable() == table {
			t.Columns = transform.EngineColumns(out.GetColumns())
		}
	}
	return t
}

// ingest reads landing files into bronze and quarantine.
func (j *job) ingest(ctx context.Context) (*dispatchv1.TaskSucceeded, error) {
	source, err := j.source()
	if err != nil {
		return nil, err
	}
	result, err := ingest.Run(ctx, ingest.Request{
		Source: source, TimeZone: j.pipeline.TimeZone, Landing: filepath.Join(j.w.Landing, source.Name), Files: j.task.GetLandingFiles(),
		RunID: j.plan.GetRunId(), IngestTime: j.plan.GetIngestTime().AsTime(), AttemptID: j.id,
		Bronze: j.target(j.plan.GetStage()), Quarantine: j.target(pipeline.QuarantineTable), Ingested: j.target(pipeline.IngestedTable),
		Engine: j.engine(), ScratchDir: j.scratch,
	})
	if err != nil {
		return nil, err
	}
	return j.stage(ctx, j.ingested(source, result.Files), &dispatchv1.TaskSucceeded{RowsIn: result.RowsRead, Notices: notices(source.Name, result.Landing)})
}

// notices says which files could not be read, and which columns the contract does not know.
func notices(source string, files []ingest.FileResult) []string {
	var list []string
	var unreadable int
	unknown := map[string]string{} // a column and the first file that has it
	for _, f := range files {
		if f.Unreadable != nil {
			if unreadable++; unreadable <= unreadableShown {
				list = append(list, fmt.Sprintf("%s: %s could not be read: %v", source, f.Path, f.Unreadable))
			}
		}
		for _, column := range f.ExtraColumns {
			if _, ok := unknown[column]; !ok {
				unknown[column] = f.Path
			}
		}
	}
	if unreadable > unreadableShown {
		list = append(list, fmt.Sprintf("%s: %d more files could not be read: see `shoplake files list %s`", source, unreadable-unreadableShown, source))
	}
	for _, column := range slices.Sorted(maps.Keys(unknown))[:min(len(unknown), unknownShown)] {
		list = append(list, fmt.Sprintf("%s: the contract does not know the column %q (%s): its cells are kept in _extra", source, column, unknown[column]))
	}
	return list
}

const (
	// unreadableShown and unknownShown bound the notices of one task.
	unreadableShown = 3
	unknownShown    = 10
)

// carry copies the rows that stay of bronze and quarantine files that are replaced.
func (j *job) carry(ctx context.Context) (*dispatchv1.TaskSucceeded, error) {
	source, err := j.source()
	if err != nil {
		return nil, err
	}
	var files []written
	succeeded := &dispatchv1.TaskSucceeded{}
	for _, input := range j.plan.GetInputs() {
		to := j.target(input.GetTable())
		to.Columns = transform.EngineColumns(input.GetColumns())
		request := ingest.CarryRequest{To: to, Dropped: j.task.GetDroppedSourceFiles(), AttemptID: j.id, Engine: j.engine(), ScratchDir: j.scratch}
		for _, f := range input.GetFiles() {
			request.Files = append(request.Files, f.GetPath())
		}
		result, err := ingest.Carry(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, f := range j.ingested(source, result.Files) {
			f.columns = input.GetColumns()
			files = append(files, f)
		}
		succeeded.RowsIn += result.RowsOut // rows that leave are not read: the files that they come from are
	}
	return j.stage(ctx, files, succeeded)
}

func (j *job) ingested(source *pipeline.Source, outputs []ingest.Output) []written {
	files := make([]written, 0, len(outputs))
	for _, f := range outputs {
		partition := ""
		if f.Table != j.plan.GetStage() {
			partition = source.Name // the tables beside bronze are partitioned by source
		}
		files = append(files, written{table: f.Table, partition: partition, path: f.Path})
	}
	return files
}
