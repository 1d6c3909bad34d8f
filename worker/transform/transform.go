// Package transform computes partitions of one model from tables pinned to snapshots, one Parquet file a partition, and
// runs the checks of a table. It reads what a plan names and writes below a staging folder; it commits nothing.
package transform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// ErrStrays means that a model moves rows to other partitions than those of its input.
var ErrStrays = errors.New("partition the model by the column that its input is read by, name that column in the header (-- input T: same(column)), or say how far rows move (-- reach: ...)")

var tracer = otel.Tracer("github.com/shoplake/shoplake/worker/transform")

// Request is one task of a model's plan.
type Request struct {
	Pipeline *pipeline.Pipeline
	Plan     *dispatchv1.StagePlan
	Task     *dispatchv1.TaskPlan
	// Staging is the folder that files are written to; Attempt makes their names unique.
	Staging, Attempt string
	Engine           engine.Options
}

// File is a Parquet file that was written.
type File struct {
	Table, Partition, Path string
	Rows                   int64
}

// Result is what a task wrote.
type Result struct {
	Files           []File
	RowsIn, RowsOut int64
}

// scratch is the schema of what a task needs beside the pipeline's tables; no statement of a pipeline can name it.
const scratch = "task"

// Run computes the task's partitions.
func Run(ctx context.Context, r Request) (*Result, error) {
	model := r.Pipeline.Model(r.Plan.GetStage())
	if model == nil {
		return nil, fmt.Errorf("the pipeline %s has no model %s: it was made for another pipeline", r.Pipeline.Digest, r.Plan.GetStage())
	}
	session, err := engine.Open(ctx, r.Engine)
	if err != nil {
		return nil, fmt.Errorf("open the engine: %w", err)
	}
	defer session.Close()
	result := &Result{}
	rows, err := openInputs(ctx, session, model, r)
	if err != nil {
		return nil, err
	}
	result.RowsIn = rows
	ctx, span := tracer.Start(ctx, "compute "+model.Table, trace.WithAttributes(attribute.StringSlice("shoplake.partitions", r.Task.GetPartitions())))
	defer span.End()
	out := r.Plan.GetOutputs()[0]
	if model.Partition.IsZero() {
		path := filepath.Join(r.Staging, r.Attempt+"-all.parquet")
		rows, err := session.Export(ctx, model.SQL, path, EngineColumns(out.GetColumns()))
		if err != nil {
			return nil, fmt.Errorf("compute %s: %w", model.Table, err)
		}
		if rows > 0 {
			result.add(File{Table: model.Table, Path: path, Rows: rows})
		}
		return result, nil
	}
	return result, exportPartitions(ctx, session, model, r, EngineColumns(out.GetColumns()), result)
}

func (r *Result) add(f File) {
	r.Files = append(r.Files, f)
	r.RowsOut += f.Rows
}

// exportPartitions writes the task's partitions of the model, in one pass of its SQL.
func exportPartitions(ctx context.Context, session *engine.Session, model *pipeline.Model, r Request, columns []engine.Column, result *Result) (err error) {
	query, wanted := engine.Subquery(model.SQL), r.Task.GetPartitions()
	if model.Reach.Kind != pipeline.ReachNone {
		// Rows of other partitions are those that other tasks build. A model without reach must yield none, see below.
		query += " WHERE " + pipeline.WithinSQL(model.Partition.Transform, model.Partition.Column, wanted)
	}
	folder := filepath.Join(r.Staging, r.Attempt)
	parts, err := session.ExportParts(ctx, "SELECT * FROM "+query, partSQL(model.Partition, wanted), folder, columns)
	if err != nil {
		return fmt.Errorf("compute %s: %w", model.Table, err)
	}
	defer func() {
		if e := os.RemoveAll(folder); e != nil && err == nil {
			err = fmt.Errorf("remove the folder that partitions were written to: %w", e)
		}
	}()
	var strays int64
	for i, part := range parts {
		partition := partOf(model.Partition, wanted, part)
		if !slices.Contains(wanted, partition) {
			strays += part.Rows
			continue
		}
		path := filepath.Join(r.Staging, fmt.Sprintf("%s-%04d-%s.parquet", r.Attempt, i+1, fileName(partition)))
		if err := os.Rename(part.Path, path); err != nil {
			return fmt.Errorf("name the file of %s: %w", describe(model.Table, partition), err)
		}
		result.add(File{Table: model.Table, Partition: partition, Path: path, Rows: part.Rows})
	}
	if strays > 0 {
		return fmt.Errorf("%s: %d rows have a %s outside the partitions that their input rows were read from: %w", model.Table, strays, model.Partition.Column, ErrStrays)
	}
	return nil
}

// partSQL is the expression that a model's rows are split by: the first day of the partition, or, where partitions are no
// dates, the place in the list of those wanted, since a partition may be any text.
func partSQL(p pipeline.Partition, wanted []string) string {
	switch p.Transform {
	case pipeline.TransformDay:
		return fmt.Sprintf("%q", p.Column)
	case pipeline.TransformMonth:
		return fmt.Sprintf("CAST(date_trunc('month', %q) AS DATE)", p.Column)
	}
	return fmt.Sprintf("list_position([%s], %s)", quoteAll(wanted), pipeline.PartitionSQL(p.Transform, p.Column))
}

// partOf is the partition that partSQL gave; empty for one that isn't wanted.
func partOf(p pipeline.Partition, wanted []string, part engine.Part) string {
	switch {
	case p.Transform == pipeline.TransformIdentity:
		if i, err := strconv.Atoi(part.Value); err == nil && i >= 1 && i <= len(wanted) {
			return wanted[i-1]
		}
		return ""
	case part.Null:
		return pipeline.NullPartition
	}
	return pipeline.Coarsen(p.Transform, part.Value)
}

// FilesOf are the paths that a task reads of an input, and their rows.
func FilesOf(task *dispatchv1.TaskPlan, input int, pinned *dispatchv1.PinnedTable) ([]string, int64) {
	var paths []string
	var rows int64
	add := func(f *dispatchv1.PinnedFile) {
		paths = append(paths, f.GetPath())
		rows += f.GetRows()
	}
	for _, some := range task.GetInputFiles() {
		if int(some.GetInput()) == input {
			for _, i := range some.GetFiles() {
				add(pinned.GetFiles()[i])
			}
			return paths, rows
		}
	}
	for _, f := range pinned.GetFiles() {
		add(f)
	}
	return paths, rows
}

// openInputs gives the session the inputs as the model may see them: whole, or the rows that its partitions need.
func openInputs(ctx context.Context, session *engine.Session, model *pipeline.Model, r Request) (rows int64, err error) {
	var reached []reachedInput
	for i, pinned := range r.Plan.GetInputs() {
		files, n := FilesOf(r.Task, i, pinned)
		rows += n
		input, _ := model.Input(pinned.GetTable())
		columns, within := EngineColumns(pinned.GetColumns()), ""
		if input.Relation == pipeline.RelationSame && !model.Partition.IsZero() {
			within = withinReach(model, input, r.Task.GetPartitions())
		}
		if within != "" && model.Reach.Kind == pipeline.ReachAny {
			reached = append(reached, reachedInput{table: pinned.GetTable(), within: within, all: fmt.Sprintf("%s.input_%d", scratch, i), keys: fmt.Sprintf("%s.keys_%d", scratch, i)})
			err = session.Table(ctx, reached[len(reached)-1].all, columns, files, "")
		} else {
			err = session.Table(ctx, pinned.GetTable(), columns, files, within)
		}
		if err != nil {
			return 0, fmt.Errorf("open %s for %s: %w", pinned.GetTable(), model.Table, err)
		}
	}
	if err := openReached(ctx, session, model.Reach.By, reached); err != nil {
		return 0, fmt.Errorf("find the keys that %s reaches: %w", model.Table, err)
	}
	return rows, nil
}

// withinReach is the condition that a row of an input lies in the partitions or within so many days of them.
func withinReach(model *pipeline.Model, input pipeline.Input, partitions []string) string {
	within := pipeline.WithinSQL(model.Partition.Transform, input.Column, partitions)
	if model.Reach.Kind == pipeline.ReachDays {
		if dated := slices.DeleteFunc(slices.Clone(partitions), func(p string) bool { return p == pipeline.NullPartition }); len(dated) > 0 {
			first, last := pipeline.Days(model.Partition.Transform, slices.Min(dated), slices.Max(dated))
			within += fmt.Sprintf(" OR %q BETWEEN DATE %s - %d AND DATE %s + %d", input.Column, literal(first), model.Reach.Days, literal(last), model.Reach.Days)
		}
	}
	return within
}

// reachedInput is an input of a model whose keys may stand in any partition.
type reachedInput struct {
	// table is what the model calls it, all has all its rows, keys is where keys are put.
	table, all, keys string
	// within is the condition that a row lies in the task's partitions.
	within string
}

// openReached gives of each input the rows whose key occurs in the partitions, in whichever input, wherever they stand: the
// rows of the partitions, and those of others that share a key with them. These are few, and found by their keys alone.
func openReached(ctx context.Context, session *engine.Session, by []string, inputs []reachedInput) error {
	names, on := make([]string, 0, len(by)), make([]string, 0, len(by))
	for _, column := range by {
		names = append(names, fmt.Sprintf("%q", column))
		on = append(on, fmt.Sprintf("i.%q IS NOT DISTINCT FROM k.%q", column, column))
	}
	columns, match := strings.Join(names, ", "), strings.Join(on, " AND ")
	wanted := make([]string, 0, len(inputs))
	for _, in := range inputs {
		wanted = append(wanted, fmt.Sprintf("SELECT %s FROM %s WHERE %s", columns, in.all, in.within))
	}
	for _, in := range inputs {
		outside := "(" + in.within + ") IS NOT TRUE"
		inside := fmt.Sprintf("SELECT * FROM %s WHERE %s", in.all, in.within)
		n, err := count(ctx, session, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s WHERE %s LIMIT 1)", in.all, outside))
		if err != nil {
			return err
		}
		if n == 0 {
			if err := session.Define(ctx, in.table, inside); err != nil {
				return err
			}
			continue
		}
		err = session.Materialize(ctx, in.keys, fmt.Sprintf("SELECT DISTINCT %[1]s FROM (SELECT %[1]s FROM %[2]s WHERE %[3]s) AS i SEMI JOIN (%[4]s) AS k ON %[5]s",
			columns, in.all, outside, strings.Join(wanted, " UNION ALL "), match))
		if err != nil {
			return err
		}
		err = session.Define(ctx, in.table, fmt.Sprintf("%s UNION ALL SELECT i.* FROM (SELECT * FROM %s WHERE %s) AS i SEMI JOIN %s AS k ON %s", inside, in.all, outside, in.keys, match))
		if err != nil {
			return err
		}
	}
	return nil
}

func count(ctx context.Context, session *engine.Session, sql string) (int64, error) {
	rows, err := session.Query(ctx, sql, nil)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var n int64
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return 0, err
		}
		n, _ = values[0].(int64)
	}
	return n, rows.Err()
}

// EngineColumns are the columns of a plan as the engine takes them.
func EngineColumns(columns []*dispatchv1.TableColumn) []engine.Column {
	list := make([]engine.Column, 0, len(columns))
	for _, c := range columns {
		column := engine.Column{ID: int(c.GetFieldId()), Name: c.GetName(), Type: c.GetType(), Required: c.GetRequired()}
		if strings.HasSuffix(column.Type, "[]") {
			column.ElementID = lake.Column{ID: column.ID}.ElementID()
		}
		list = append(list, column)
	}
	return list
}

// literal is a text as an SQL literal.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func quoteAll(values []string) string {
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		quoted = append(quoted, literal(v))
	}
	return strings.Join(quoted, ", ")
}

func describe(table, partition string) string { return table + " partition " + partition }

// fileName is a partition as part of a file's name, for people: what is no letter, digit or dash becomes an underscore.
func fileName(partition string) string {
	partition = partition[:min(len(partition), 64)]
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, partition)
}
