package runs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// query runs one query of planning over files of the lake. tables are given to it as views.
func (l *planner) query(ctx context.Context, tables []viewed, sql string, params map[string]any, row func(values []any) error) error {
	return queryFiles(ctx, l.Engine, tables, sql, params, row)
}

// queryFiles runs one query over files of the lake in a session of its own.
func queryFiles(ctx context.Context, options engine.Options, tables []viewed, sql string, params map[string]any, row func(values []any) error) error {
	session, err := engine.Open(ctx, options)
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
// from a replaced file into its successor did not change, and are left out: those of which as many were added as removed. That
// some were is not enough: a file that was added may have been compacted with others, and the compacted file been replaced, so
// that its rows are among those removed, and twice among those added.
func changedRows(name string, in *inputState) []viewed {
	changed := view(name, in.columns, in.added, in.removed)
	if !strings.HasPrefix(in.Table, "bronze.") || len(in.added) == 0 || len(in.removed) == 0 {
		return []viewed{changed}
	}
	const (
		version = `{'file': _source_file, 'run': _run_id}`
		counted = `SELECT ` + version + ` AS version, count(*) AS rows FROM `
	)
	changed.where = version + ` NOT IN (SELECT version FROM (` + counted + `planning.added GROUP BY ALL INTERSECT ` + counted + `planning.removed GROUP BY ALL))`
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
		`SELECT path, sha256, size_bytes, modified_at, contract_hash, time_zone, ingested_at FROM ops.ingested
		QUALIFY row_number() OVER (PARTITION BY path ORDER BY ingested_at DESC, run_id DESC) = 1`, nil,
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
			if ok {
				file.at, ok = v[6].(time.Time)
			}
			file.contract, _ = v[4].(string)
			file.zone, _ = v[5].(string)
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

// halfIngested are those of a source's new files that have rows in quarantine: that was committed, and then bronze was found
// moved by another program.
func (l *planner) halfIngested(ctx context.Context, quarantine *lake.Table, source string, fresh []string) ([]string, error) {
	files, err := l.files(ctx, quarantine.Name, quarantine.SnapshotID)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(file lake.File) bool { return file.Partition != source })
	if len(files) == 0 || len(fresh) == 0 {
		return nil, nil
	}
	var half []string
	err = l.query(ctx, []viewed{view(quarantine.Name, columnsOf(quarantine), files)},
		`SELECT DISTINCT source_file FROM ops.quarantine WHERE source_file IN (SELECT unnest($names)) ORDER BY ALL`,
		map[string]any{"names": fresh},
		func(v []any) error { name, _ := v[0].(string); half = append(half, name); return nil })
	if err != nil {
		return nil, fmt.Errorf("find the new files of %s that have rows in quarantine: %w", source, err)
	}
	return half, nil
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

// aligned says whether the partitions of the input tell those of the model.
func (in *inputState) aligned(model *pipeline.Model) bool {
	return pipeline.Aligned(in.partition, model.Partition) && in.partition.Column == in.Column && !in.repartitioned
}

// otherwise says whether some of the files are partitioned otherwise than by a partition: theirs tell nothing of it.
func otherwise(by lake.Partition, lists ...[]lake.File) bool {
	return slices.ContainsFunc(lists, func(files []lake.File) bool {
		return slices.ContainsFunc(files, func(file lake.File) bool { return file.PartitionedBy != by })
	})
}

// origin is the SQL expression of what in the input causes name: of bronze the landing file, of another table the partition.
func (in *inputState) origin() string {
	switch {
	case in.bronze():
		return pipeline.SourceFileColumn
	case in.partition.IsZero():
		return `''`
	}
	return pipeline.PartitionSQL(in.partition.Transform, in.partition.Column)
}

// causesBy asks for the values of an expression over rows of an input, each with the causes of these rows.
func (l *planner) causesBy(ctx context.Context, in *inputState, rows []viewed, value, origin, from string) (map[string]causes, error) {
	found := map[string]causes{}
	err := l.query(ctx, rows, fmt.Sprintf(`
		SELECT value, origin, origins FROM (
			SELECT value, origin, count(*) OVER (PARTITION BY value) AS origins, row_number() OVER (PARTITION BY value ORDER BY origin) AS place
			FROM (SELECT DISTINCT %s AS value, %s AS origin FROM %s))
		WHERE place <= %d ORDER BY value, origin`, value, origin, from, causesNamed), nil,
		func(v []any) error {
			value, _ := v[0].(string)
			origin, _ := v[1].(string)
			c := found[value].and(in.causesIn(origin))
			if n, _ := v[2].(int64); in.bronze() {
				c.total = max(c.total, n)
			}
			found[value] = c
			return nil
		})
	return found, err
}

// partitionsHeld are the model's partitions of all rows of an input, each for the same reason. The files' own partitions tell it
// where they are as fine as the model's; else the rows are read. unknown says, in a dry run, what it can't tell.
func (l *planner) partitionsHeld(ctx context.Context, model *pipeline.Model, in *inputState, reason why) (parts map[string]why, unknown string, err error) {
	parts = map[string]why{}
	if in.aligned(model) {
		for _, file := range in.files {
			parts[pipeline.Coarsen(model.Partition.Transform, file.Partition)] = reason
		}
		for partition := range in.rebuilt {
			parts[pipeline.Coarsen(model.Partition.Transform, partition)] = reason
		}
		return parts, in.more, nil
	}
	if len(in.files) > 0 {
		err = l.query(ctx, []viewed{view(in.Table, in.columns, in.files)},
			fmt.Sprintf(`SELECT DISTINCT %s AS part FROM %s`, pipeline.PartitionSQL(model.Partition.Transform, in.Column), in.Table), nil,
			func(v []any) error { part, _ := v[0].(string); parts[part] = reason; return nil })
		if err != nil {
			return nil, "", fmt.Errorf("find the partitions that %s holds: %w", in.Table, err)
		}
	}
	return parts, in.unforeseen(), nil
}

// unforeseen says what a dry run can't tell of the rows that the input would get: which partitions of a model that is
// partitioned otherwise they fall into.
func (in *inputState) unforeseen() string {
	if in.more == "" && len(in.rebuilt) > 0 {
		return "the partitions that the new rows of " + in.Table + " fall into"
	}
	return in.more
}

// partitionsTouched are the model's partitions of the rows of an input that changed.
func (l *planner) partitionsTouched(ctx context.Context, model *pipeline.Model, in *inputState) (map[string]causes, error) {
	if in.aligned(model) {
		parts := map[string]causes{}
		for _, partition := range in.changedPartitions() {
			part := pipeline.Coarsen(model.Partition.Transform, partition)
			parts[part] = parts[part].and(in.causesIn(partition))
		}
		return parts, nil
	}
	if len(in.added)+len(in.removed) == 0 {
		return map[string]causes{}, nil
	}
	parts, err := l.causesBy(ctx, in, changedRows(in.Table, in), pipeline.PartitionSQL(model.Partition.Transform, in.Column), in.origin(), in.Table)
	if err != nil {
		return nil, fmt.Errorf("find the partitions that %s touches: %w", in.Table, err)
	}
	return parts, nil
}

// touchedBySame are the partitions of an input's changed rows and, within the model's reach, those that hold the same keys.
func (l *planner) touchedBySame(ctx context.Context, model *pipeline.Model, in *inputState, inputs []*inputState) (parts map[string]why, unknown string, err error) {
	touched, err := l.partitionsTouched(ctx, model, in)
	if err != nil {
		return nil, "", err
	}
	parts = map[string]why{}
	for part, c := range touched {
		parts[part] = in.whyChanged(c, "")
	}
	if unknown = in.more; !in.aligned(model) {
		unknown = in.unforeseen()
	}
	var reached map[string]causes
	how := ""
	switch model.Reach.Kind {
	case pipeline.ReachDays:
		how = fmt.Sprintf(" within %d days", model.Reach.Days)
		reached, err = l.reachedByDays(ctx, model, in)
	case pipeline.ReachAny:
		by := strings.Join(model.Reach.By, ", ")
		how = fmt.Sprintf(" in keys that stand here too (%s)", by)
		if len(in.rebuilt) > 0 && in.more == "" {
			unknown = strings.TrimPrefix(fmt.Sprintf("%s; other partitions that hold the same keys (%s) as the new rows of %s", unknown, by, in.Table), "; ")
		}
		reached, err = l.reachedByKeys(ctx, model, in, inputs)
	}
	if err != nil {
		return nil, "", err
	}
	for part, c := range reached {
		if _, ok := parts[part]; !ok {
			parts[part] = in.whyChanged(c, how)
		}
	}
	return parts, unknown, nil
}

// reachedByDays are the partitions that lie within the model's reach of the days that changed. Of partitions that a dry run would
// build every day may change.
func (l *planner) reachedByDays(ctx context.Context, model *pipeline.Model, in *inputState) (map[string]causes, error) {
	days := map[string]causes{}
	if len(in.added)+len(in.removed) > 0 {
		var err error
		if days, err = l.causesBy(ctx, in, changedRows(in.Table, in), pipeline.PartitionSQL(pipeline.TransformDay, in.Column), in.origin(), in.Table); err != nil {
			return nil, fmt.Errorf("find the days that changed in %s: %w", in.Table, err)
		}
	}
	if in.aligned(model) {
		for partition := range in.rebuilt {
			for _, day := range pipeline.DaysOf(in.partition.Transform, partition) {
				days[day] = days[day].and(in.causesIn(partition))
			}
		}
	}
	parts := map[string]causes{}
	for day, c := range days {
		for _, part := range pipeline.ReachedByDays(model.Partition.Transform, []string{day}, model.Reach.Days) {
			parts[part] = parts[part].and(c)
		}
	}
	return parts, nil
}

// reachedByKeys are the partitions in which keys of an input's changed rows stand now or stood before, in whichever input: what
// belongs to one key is looked at together. Rows without a key belong together too.
func (l *planner) reachedByKeys(ctx context.Context, model *pipeline.Model, in *inputState, inputs []*inputState) (map[string]causes, error) {
	if len(in.added)+len(in.removed) == 0 {
		return nil, nil
	}
	keys, on := make([]string, 0, len(model.Reach.By)), make([]string, 0, len(model.Reach.By))
	for i, k := range model.Reach.By {
		keys = append(keys, fmt.Sprintf("%q AS _key_%d", k, i))
		on = append(on, fmt.Sprintf("holds.%q IS NOT DISTINCT FROM keys._key_%d", k, i))
	}
	reached := map[string]causes{}
	for _, other := range inputs {
		if other.Relation != pipeline.RelationSame || len(other.files)+len(other.removed) == 0 {
			continue
		}
		parts, err := l.causesBy(ctx, in, append(changedRows("planning.changed", in), view("planning.before", other.columns, other.files, other.removed)),
			pipeline.PartitionSQL(model.Partition.Transform, other.Column), "_origin",
			fmt.Sprintf(`planning.before AS holds JOIN (SELECT %s, min(%s) AS _origin FROM planning.changed GROUP BY ALL) AS keys ON %s`, strings.Join(keys, ", "), in.origin(), strings.Join(on, " AND ")))
		if err != nil {
			return nil, fmt.Errorf("find the partitions of %s that hold the keys that changed in %s: %w", other.Table, in.Table, err)
		}
		for part, c := range parts {
			reached[part] = reached[part].and(c)
		}
	}
	return reached, nil
}

// byDate says whether the input is partitioned by the date that the model reads it by.
func (in *inputState) byDate() bool {
	return in.partition.Column == in.Column && (in.partition.Transform == pipeline.TransformDay || in.partition.Transform == pipeline.TransformMonth)
}

// touchedByAsOf are the partitions of the days from the first changed day of the input on: those that the table holds, and
// those that it may hold now, by the inputs that tell its partitions.
func (l *planner) touchedByAsOf(ctx context.Context, model *pipeline.Model, in *inputState, inputs []*inputState, current []lake.File) (parts map[string]why, unknown string, err error) {
	var changed []string
	first := causes{}
	if len(in.added)+len(in.removed) > 0 {
		err := l.query(ctx, changedRows(in.Table, in),
			fmt.Sprintf(`SELECT CAST(%q AS VARCHAR) AS day, %s AS origin FROM %s WHERE %q IS NOT NULL ORDER BY %q, origin LIMIT 1`, in.Column, in.origin(), in.Table, in.Column, in.Column), nil,
			func(v []any) error {
				day, _ := v[0].(string)
				origin, _ := v[1].(string)
				changed, first = []string{day}, in.causesIn(origin)
				return nil
			})
		if err != nil {
			return nil, "", fmt.Errorf("find the first day that changed in %s: %w", in.Table, err)
		}
	}
	how := ""
	for _, partition := range sortedKeys(in.rebuilt) {
		day, _ := pipeline.Days(in.partition.Transform, partition, partition)
		switch {
		case !in.byDate():
			// The new rows may be of any day: every partition may be touched.
			changed, first, how = []string{""}, in.whyAtAll().causes, ", from a day on that only the run can tell"
		case day != "" && (len(changed) == 0 || day < changed[0]):
			changed, first = []string{day}, in.causesIn(partition)
		}
	}
	if len(changed) == 0 {
		return nil, in.more, nil
	}
	partitions := make([]string, 0, len(current))
	for _, file := range current {
		partitions = append(partitions, file.Partition)
	}
	for _, other := range inputs {
		if other.Relation != pipeline.RelationSame {
			continue
		}
		held, _, err := l.partitionsHeld(ctx, model, other, why{})
		if err != nil {
			return nil, "", err
		}
		partitions = append(partitions, sortedKeys(held)...)
	}
	if how == "" && len(changed) > 0 {
		from := changed[0]
		if in.byDate() {
			from = pipeline.Coarsen(in.partition.Transform, from)
		}
		how = fmt.Sprintf(" from %s on", from)
	}
	parts = map[string]why{}
	for _, part := range pipeline.TouchedAsOf(model.Partition.Transform, changed, partitions) {
		parts[part] = in.whyChanged(first, how)
	}
	return parts, in.more, nil
}
