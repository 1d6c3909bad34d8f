package worker

import (
	"context"
	"fmt"
	"path/filepath"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/worker/maintain"
	"github.com/shoplake/shoplake/worker/transform"
)

// compact rewrites some files of one partition as one.
func (j *job) compact(ctx context.Context) (*dispatchv1.TaskSucceeded, error) {
	if len(j.plan.GetInputs()) != 1 || len(j.task.GetPartitions()) != 1 {
		return nil, fmt.Errorf("the plan of %s has %d tables and %d partitions to compact in a task, not one of each", j.plan.GetStage(), len(j.plan.GetInputs()), len(j.task.GetPartitions()))
	}
	pinned := j.plan.GetInputs()[0]
	files, rows := transform.FilesOf(j.task, 0, pinned)
	path := filepath.Join(j.staging[pinned.GetTable()], j.id+"-compacted.parquet")
	err := maintain.Compact(ctx, maintain.Request{
		Table: pinned.GetTable(), Columns: transform.EngineColumns(pinned.GetColumns()), Files: files, Rows: rows, Path: path, Engine: j.engine(),
	})
	if err != nil {
		return nil, err
	}
	return j.stage(ctx, []written{{table: pinned.GetTable(), partition: j.task.GetPartitions()[0], path: path}}, &dispatchv1.TaskSucceeded{RowsIn: rows})
}
