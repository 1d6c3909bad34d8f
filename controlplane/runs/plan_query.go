package runs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// query runs one query of planning over files of the lake. tables are given to it as views.
func (l *planner) query(ctx context.Context, tables []viewed, sql string, params map[string]any, row func(values []any) error) error {
	session, err := engine.Open(ctx, l.Engine)
	if err != nil {
		return fmt.Errorf("open the engine: %w", err)
	}
	defer session.Close()
	for _, t := range tables {
		if err := session.Table(ctx, t.name, t.columns, t.files, t.where); err != nil {
			return fmt.Errorf("open the files of %s: %w", t.name, err)
		}
	}
	rows, err := session.Query(ctx, sql, params)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// viewed are files that a query reads under a name.
type viewed struct {
	name    string
	columns []engine.Column
	files   []string
	// where is a condition over the columns; empty for all rows.
	where string
}

// changedRows shows the rows of the files that were added and removed under a name. Of bronze, rows that were only carried
// from a replaced file into its successor did not change, and are left out.
func changedRows(name string, in *inputState) []viewed {
	changed := view(name, in.columns, in.added, in.removed)
	if !strings.HasPrefix(in.Table, "bronze.") || len(in.added) == 0 || len(in.removed) == 0 {
		return []viewed{changed}
	}
	const version = `{'file': _source_file, 'run': _run_id}`
	changed.where = version + ` NOT IN (SELECT ` + version + ` FROM planning.added INTERSECT SELECT ` + version + ` FROM planning.removed)`
	return []viewed{view("planning.added", in.columns, in.added), view("planning.removed", in.columns, in.removed), changed}
}

func view(name string, columns []pipeline.Column, files ...[]lake.File) viewed {
	v := viewed{name: name}
	for _, c := range columns {
		v.columns = append(v.columns, engine.Column{Name: c.Name, Type: c.Type})
	}
	for _, list := range files {
		for _, file := range list {
			v.files = append(v.files, file.Path)
		}
	}
	return v
}

func columnsOf(t *lake.Table) []pipeline.Column {
	var columns []pipeline.Column
	for _, c := range t.Columns {
		columns = append(columns, pipeline.Column{Name: c.Name, Type: c.Type})
	}
	return columns
}

// ingestedFiles are the latest versions of a source's files, by path.
func (l *planner) ingestedFiles(ctx context.Context, table *lake.Table, source string) (map[string]ingested, error) {
	files, err := l.files(ctx, table.Name, table.SnapshotID)
	if err != nil {
		return nil, err
	}
	var own []lake.File
	for _, file := range files {
		if file.Partition == source {
			own = append(own, file)
		}
	}
	known := map[string]ingested{}
	if len(own) == 0 {
		return known, nil
	}
	err = l.query(ctx, []viewed{view(table.Name, columnsOf(table), own)},
		`SELECT path, arg_max(sha256, ingested_at), arg_max(size_bytes, ingested_at), arg_max(modified_at, ingested_at) FROM ops.ingested GROUP BY path`, nil,
		func(v []any) error {
			file := ingested{}
			path, ok := v[0].(string)
			if ok {
				file.sha256, ok = v[1].(string)
			}
			if ok {
				file.bytes, ok = v[2].(int64)
			}
			if ok {
				file.modified, ok = v[3].(time.Time)
			}
			if !ok {
				return fmt.Errorf("ops.ingested holds a row that can't be read: %v", v)
			}
			known[path] = file
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read which files of %s were ingested: %w", source, err)
	}
	return known, nil
}

// filesHolding are the data files of a table with rows of the named source files.
func (l *planner) filesHolding(ctx context.Context, table *lake.Table, column, partition string, names []string) ([]lake.File, error) {
	files, err := l.files(ctx, table.Name, table.SnapshotID)
	if err != nil {
		return nil, err
	}
	var candidates []lake.File
	for _, file := range files {
		if partition == "" || file.Partition == partition {
			candidates = append(candidates, file)
		}
	}
	var holding []lake.File
	for _, file := range candidates {
		err := l.query(ctx, []viewed{view(table.Name, columnsOf(table), []lake.File{file})},
			fmt.Sprintf(`SELECT 1 FROM %s WHERE %s IN (SELECT unnest($names)) LIMIT 1`, table.Name, column),
			map[string]any{"names": names},
			func([]any) error { holding = append(holding, file); return nil })
		if err != nil {
			return nil, fmt.Errorf("find the data files of %s that hold rows of changed files: %w", table.Name, err)
		}
	}
	return holding, nil
}

// partitionsOf are the model's partitions that files of an input belong to. The files' own partitions tell it where they
// are as fine as the model's; else the rows are read.
func (l *planner) partitionsOf(ctx context.Context, model *pipeline.Model, in *inputState, files []lake.File, rows []viewed, reason string) (map[string]string, error) {
	parts := map[string]string{}
	if pipeline.Aligned(in.partition, model.Partition) && in.partition.Column == in.Column {
		for _, file := range files {
			parts[pipeline.Coarsen(model.Partition.Transform, file.Partition)] = reason
		}
		return parts, nil
	}
	if len(files) == 0 {
		return parts, nil
	}
	because := `''`
	if strings.HasPrefix(in.Table, "bronze.") {
		because = `min(_source_file) || CASE WHEN count(DISTINCT _source_file) > 1 THEN ' and ' || (count(DISTINCT _source_file) - 1) || ' more' ELSE '' END`
	}
	err := l.query(ctx, rows,
		fmt.Sprintf(`SELECT %s AS part, %s FROM %s GROUP BY part`, pipeline.PartitionSQL(model.Partition.Transform, in.Column), because, in.Table), nil,
		func(v []any) error {
			part, _ := v[0].(string)
			parts[part] = reason
			if file, _ := v[1].(string); file != "" {
				parts[part] += ": " + file
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("find the partitions that %s touches: %w", in.Table, err)
	}
	return parts, nil
}

// touchedBySame are the partitions of an input's changed rows and, within the model's reach, those that hold the same keys.
func (l *planner) touchedBySame(ctx context.Context, model *pipeline.Model, in *inputState) (map[string]string, error) {
	changed := append(in.added[:len(in.added):len(in.added)], in.removed...)
	parts, err := l.partitionsOf(ctx, model, in, changed, changedRows(in.Table, in), in.Table+" changed")
	if err != nil || model.Reach.Kind == pipeline.ReachNone {
		return parts, err
	}
	reached := in.Table + " changed within reach"
	if model.Reach.Kind == pipeline.ReachDays {
		var days []string
		err := l.query(ctx, changedRows(in.Table, in),
			fmt.Sprintf(`SELECT DISTINCT CAST(%q AS VARCHAR) FROM %s WHERE %q IS NOT NULL`, in.Column, in.Table, in.Column), nil,
			func(v []any) error { day, _ := v[0].(string); days = append(days, day); return nil })
		if err != nil {
			return nil, fmt.Errorf("find the days that changed in %s: %w", in.Table, err)
		}
		for _, part := range pipeline.ReachedByDays(model.Partition.Transform, days, model.Reach.Days) {
			if _, ok := parts[part]; !ok {
				parts[part] = reached
			}
		}
		return parts, nil
	}
	keys := make([]string, 0, len(model.Reach.By))
	for _, k := range model.Reach.By {
		keys = append(keys, fmt.Sprintf("%q", k))
	}
	before := view("planning.before", in.columns, in.files, in.removed)
	err = l.query(ctx, append(changedRows("planning.changed", in), before),
		fmt.Sprintf(`SELECT DISTINCT %s AS part FROM planning.before SEMI JOIN planning.changed USING (%s)`,
			pipeline.PartitionSQL(model.Partition.Transform, in.Column), strings.Join(keys, ", ")), nil,
		func(v []any) error {
			if part, ok := v[0].(string); ok && parts[part] == "" {
				parts[part] = reached + " (by " + strings.Join(model.Reach.By, ", ") + ")"
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("find the partitions that hold the keys that changed in %s: %w", in.Table, err)
	}
	return parts, nil
}

// touchedByAsOf are the partitions of the days from the first changed day of the input on.
func (l *planner) touchedByAsOf(ctx context.Context, model *pipeline.Model, in *inputState, current []lake.File) (map[string]string, error) {
	var changed []string
	err := l.query(ctx, []viewed{view(in.Table, in.columns, in.added, in.removed)},
		fmt.Sprintf(`SELECT CAST(min(%q) AS VARCHAR) AS day FROM %s HAVING day IS NOT NULL`, in.Column, in.Table), nil,
		func(v []any) error { day, _ := v[0].(string); changed = append(changed, day); return nil })
	if err != nil {
		return nil, fmt.Errorf("find the first day that changed in %s: %w", in.Table, err)
	}
	partitions := make([]string, 0, len(current))
	for _, file := range current {
		partitions = append(partitions, file.Partition)
	}
	parts := map[string]string{}
	for _, part := range pipeline.TouchedAsOf(model.Partition.Transform, changed, partitions) {
		parts[part] = fmt.Sprintf("%s changed from %s on", in.Table, changed[0])
	}
	return parts, nil
}
