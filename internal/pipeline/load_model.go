package pipeline

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Keys of a model's header.
var modelKeys = []string{"description", "partition", "key", "reach", "input", "build", "tasks"}

// modelDraft is a model while it is read.
type modelDraft struct {
	*Model
	*statement
	partition, key, reach *headerLine
	// by says that the header names the columns of the reach.
	by     bool
	inputs map[string]*inputDraft
}

// inputDraft is what the header says of an input.
type inputDraft struct {
	line     *headerLine
	relation Relation
	column   string
}

func (l *loader) readModel(file string, content []byte) {
	layer, base, _ := strings.Cut(file, "/")
	table := layer + "." + strings.TrimSuffix(base, sqlSuffix)
	draft := &modelDraft{
		Model:  &Model{Table: table, File: file, Reach: Reach{Kind: ReachNone}, Build: BuildReplace},
		inputs: map[string]*inputDraft{},
	}
	// The table exists for others, whatever is wrong with it.
	l.drafts[table] = draft
	s := l.readSQL(file, content)
	if s == nil {
		draft.statement = &statement{sqlFile: &sqlFile{file: file}, parsed: &ParsedSQL{}}
		return
	}
	draft.statement = s
	draft.SQL = s.sql
	draft.HeaderLines = s.headerLines
	l.readModelHeader(draft)
}

func (l *loader) readModelHeader(draft *modelDraft) {
	reader := newHeaderReader(draft.statement.sqlFile, l.faults)
	draft.Description = reader.text("description")
	if draft.partition = reader.one("partition"); draft.partition != nil {
		draft.Partition = readPartition(reader, draft.partition)
	}
	if draft.key = reader.one("key"); draft.key != nil {
		draft.Key = reader.names(draft.key, draft.key.value)
	}
	if draft.reach = reader.one("reach"); draft.reach != nil {
		draft.Reach, draft.by = readReach(reader, draft.reach)
	}
	for _, line := range reader.each("input") {
		if input := readInput(reader, line); input != nil {
			draft.inputs[strings.ToLower(line.subject)] = input
		}
	}
	if build := reader.one("build"); build != nil {
		switch Build(strings.ToLower(build.value)) {
		case BuildReplace:
		case BuildAppend:
			draft.Build = BuildAppend
			if len(draft.Key) == 0 {
				reader.fault(build, "a table that only grows needs a key: it tells which rows are new")
			}
		default:
			reader.faultValue(build, "build is replace or append, not %s", shorten(build.value))
		}
	}
	if tasks := reader.one("tasks"); tasks != nil {
		draft.Tasks = workOverrides(reader, tasks)
	}
	reader.finish(modelKeys...)
}

var partitionShape = regexp.MustCompile(`^(?:(\w+)\s*\(\s*(\w+)\s*\)|(\w+))$`)

// readPartition reads `column`, `day(column)` or `month(column)`. A column alone is a day if it is a date; that is seen when
// the statement is bound.
func readPartition(reader *headerReader, line *headerLine) Partition {
	match := partitionShape.FindStringSubmatch(strings.ToLower(line.value))
	if match == nil {
		reader.faultValue(line, "partition is a column, or month(column), not %s", shorten(line.value))
		return Partition{}
	}
	switch match[1] {
	case "":
		return Partition{Transform: TransformIdentity, Column: match[3]}
	case "day":
		return Partition{Transform: TransformDay, Column: match[2]}
	case "month":
		return Partition{Transform: TransformMonth, Column: match[2]}
	default:
		reader.faultValue(line, "unknown partition %s(...): a table is partitioned by a column or by month(column)", match[1])
		return Partition{}
	}
}

var reachShape = regexp.MustCompile(`(?i)^(none|any|(\d+)\s+days?)(?:\s+by\s+(.+))?$`)

const maxReachDays = 3660

// readReach reads `none`, `any` or `N days`, with ` by column, column`.
func readReach(reader *headerReader, line *headerLine) (reach Reach, by bool) {
	reach = Reach{Kind: ReachNone}
	match := reachShape.FindStringSubmatch(line.value)
	if match == nil {
		reader.faultValue(line, "reach is none, any or a number of days (`3 days`), with ` by column, column` behind it where needed; not %s", shorten(line.value))
		return reach, false
	}
	switch word := strings.ToLower(match[1]); {
	case word == "none":
	case word == "any":
		reach.Kind = ReachAny
	default:
		days, err := strconv.Atoi(match[2])
		if err != nil || days < 1 || days > maxReachDays {
			reader.faultValue(line, "reach is between 1 and %d days; beyond that write any", maxReachDays)
			return reach, false
		}
		reach.Kind, reach.Days = ReachDays, days
	}
	if match[3] == "" {
		return reach, false
	}
	if reach.Kind == ReachNone {
		reader.faultValue(line, "reach none has no columns")
		return reach, false
	}
	reach.By = reader.names(line, match[3])
	return reach, true
}

var inputShape = regexp.MustCompile(`(?i)^(same|asof|all|lookup)(?:\s*\(\s*(\w+)\s*\))?$`)

// readInput reads `same`, `asof`, `all` or `lookup`, the first two with the input's column where needed.
func readInput(reader *headerReader, line *headerLine) *inputDraft {
	match := inputShape.FindStringSubmatch(line.value)
	if match == nil {
		reader.faultValue(line, "an input is same, asof, all or lookup (the first two with a column where needed: asof(snapshot_date)), not %s", shorten(line.value))
		return nil
	}
	input := &inputDraft{line: line, relation: Relation(strings.ToLower(match[1])), column: strings.ToLower(match[2])}
	if input.column != "" && input.relation != RelationSame && input.relation != RelationAsOf {
		reader.faultValue(line, "%s has no column", input.relation)
		return nil
	}
	return input
}

// bindModels orders the models, binds each to its inputs and checks its header against what it yields.
func (l *loader) bindModels() {
	reads := map[string][]string{}
	for table, draft := range l.drafts {
		l.checkTables(draft.statement, func(string) string { return "" })
		l.checkParams(draft.statement, func(string) bool { return false }, "a table has no parameters; only KPIs do")
		for input, header := range draft.inputs {
			if !slices.Contains(draft.tables, input) && draft.sound {
				l.faults.add(draft.file, header.line.line, header.line.keyColumn, "input %s: the SELECT does not read this table", input)
			}
		}
		reads[table] = draft.tables
	}
	order, circles := sortTopologically(reads)
	for _, circle := range circles {
		draft := l.drafts[circle[0]]
		for _, table := range circle {
			l.drafts[table].sound = false
		}
		line, column := 0, 0
		for _, ref := range draft.parsed.Tables {
			if ref.Table == circle[1] {
				line, column = draft.headerLines+ref.Line, ref.Column
				break
			}
		}
		l.faults.add(draft.file, line, column, "tables depend on each other: %s", strings.Join(circle, " -> "))
	}
	for _, table := range order {
		draft := l.drafts[table]
		columns := l.describe(draft.statement, nil)
		if l.err != nil {
			return
		}
		if columns == nil {
			continue
		}
		draft.Columns = columns
		// What reads a table that cannot be stored would only repeat the fault.
		if l.checkStorable(draft) {
			l.checkModel(draft)
			l.pipeline.Models = append(l.pipeline.Models, draft.Model)
		}
	}
}

// faulted says whether something is wrong with a model or with a table that it reads: what follows from that is no fault of its own.
func (l *loader) faulted(draft *modelDraft) bool {
	files := []string{draft.file}
	for _, table := range draft.tables {
		if source := l.pipeline.SourceOf(table); source != nil {
			files = append(files, source.File)
		} else if model := l.drafts[table]; model != nil {
			files = append(files, model.file)
		}
	}
	return slices.ContainsFunc(*l.faults, func(f Fault) bool { return slices.Contains(files, f.File) })
}

// checkStorable faults columns that a table cannot hold, by name or by type; it returns whether all is well.
func (l *loader) checkStorable(draft *modelDraft) bool {
	sound := l.checkOutput(draft.statement, draft.Columns)
	for _, column := range draft.Columns {
		if advice := storable(column.Type); advice != "" {
			l.faults.add(draft.file, draft.headerLines+1, 0, "column %s is %s, which a table cannot hold: %s", column.Name, column.Type, advice)
			sound = false
		}
	}
	return sound
}

// checkModel checks a header against the columns of the table and of its inputs.
func (l *loader) checkModel(draft *modelDraft) {
	if draft.partition != nil && draft.Partition.Column != "" {
		l.checkPartition(draft)
	}
	for _, name := range draft.Key {
		if !hasColumn(draft.Columns, name) {
			l.faults.add(draft.file, draft.key.line, draft.key.valueColumn, "key column %s is not in the output: it has %s", name, columnNames(draft.Columns))
		}
	}
	for _, table := range draft.tables {
		draft.Inputs = append(draft.Inputs, l.relate(draft, table))
	}
	if draft.Reach.Kind != ReachNone {
		l.checkReach(draft)
	}
	told := slices.ContainsFunc(draft.Inputs, func(in Input) bool { return in.Relation == RelationSame })
	if !draft.Partition.IsZero() && !told && !l.faulted(draft) {
		l.faults.add(draft.file, draft.partition.line, draft.partition.valueColumn,
			"no input tells which partitions %s has: name the column of one that holds them (-- input T: same(column)), or leave the partition out", draft.Table)
	}
}

func (l *loader) checkPartition(draft *modelDraft) {
	fault := func(format string, args ...any) {
		l.faults.add(draft.file, draft.partition.line, draft.partition.valueColumn, format, args...)
		draft.Partition = Partition{}
	}
	name := draft.Partition.Column
	kind := columnType(draft.Columns, name)
	switch {
	case kind == "":
		fault("partition column %s is not in the output: it has %s", name, columnNames(draft.Columns))
	case kind == TypeDate:
		if draft.Partition.Transform == TransformIdentity {
			draft.Partition.Transform = TransformDay
		}
	case draft.Partition.Transform != TransformIdentity:
		fault("partition column %s is %s: only a DATE has a %s", name, kind, draft.Partition.Transform)
	case kind != TypeVarchar && kind != TypeInteger && kind != TypeBigint:
		fault("partition column %s is %s: partition by a DATE, VARCHAR, INTEGER or BIGINT (cast it)", name, kind)
	}
}

// relate says how an input belongs to the model: as the header says, else by the dates of both.
func (l *loader) relate(draft *modelDraft, table string) Input {
	p := l.pipeline
	columns := p.Columns(table)
	own := p.DateColumn(table)
	header := draft.inputs[table]
	if header == nil {
		if draft.Partition.isDate() && own != "" {
			return Input{Table: table, Relation: RelationSame, Column: own}
		}
		return Input{Table: table, Relation: RelationAll}
	}
	input := Input{Table: table, Relation: header.relation, Column: header.column}
	if input.Relation != RelationSame && input.Relation != RelationAsOf {
		return input
	}
	fault := func(format string, args ...any) {
		l.faults.add(draft.file, header.line.line, header.line.valueColumn, format, args...)
	}
	if draft.Partition.IsZero() {
		if draft.partition == nil {
			fault("input %s: %s needs a partition, and %s has none; write all", table, input.Relation, draft.Table)
		}
		return input
	}
	if input.Column == "" {
		input.Column = own
		if partition, _ := p.PartitionOf(table); own == "" && partition == draft.Partition {
			input.Column = partition.Column
		}
	}
	wanted := columnType(draft.Columns, draft.Partition.Column)
	if input.Relation == RelationAsOf {
		wanted = TypeDate
	}
	switch kind := columnType(columns, input.Column); {
	case input.Column == "":
		fault("input %s: it has no date column of its own; name one: %s(column)", table, input.Relation)
	case kind == "":
		fault("input %s: %s column %s is not in it: it has %s", table, input.Relation, input.Column, columnNames(columns))
	case input.Relation == RelationAsOf && !draft.Partition.isDate():
		fault("input %s: asof needs a partition by date, and that of %s is none", table, draft.Table)
	case kind != wanted:
		fault("input %s: %s column %s is %s, not %s", table, input.Relation, input.Column, kind, wanted)
	}
	return input
}

// checkReach fills in the columns of the reach. They must be in every input of the same partition, since rows of one key are
// looked for there.
func (l *loader) checkReach(draft *modelDraft) {
	fault := func(format string, args ...any) {
		l.faults.add(draft.file, draft.reach.line, draft.reach.valueColumn, format, args...)
	}
	if draft.Partition.IsZero() {
		if draft.partition == nil {
			fault("reach says how far a change goes beyond its partition, and %s has none: leave it out", draft.Table)
		}
		return
	}
	if draft.Reach.Kind == ReachDays && !draft.Partition.isDate() {
		fault("reach in days needs a partition by date: write any")
		return
	}
	var same []Input
	for _, input := range draft.Inputs {
		if input.Relation == RelationSame {
			same = append(same, input)
		}
	}
	if len(same) == 0 {
		fault("reach goes along inputs of the same partition, and %s has none: leave it out", draft.Table)
		return
	}
	if !draft.by {
		draft.Reach.By = slices.Clone(draft.Key)
		for _, input := range same {
			columns := l.pipeline.Columns(input.Table)
			draft.Reach.By = slices.DeleteFunc(draft.Reach.By, func(name string) bool { return !hasColumn(columns, name) })
		}
		if len(draft.Reach.By) == 0 {
			fault("no column of the key is in %s: name the columns that tell which rows belong together (`reach: any by column`)", same[0].Table)
		}
		return
	}
	for _, input := range same {
		columns := l.pipeline.Columns(input.Table)
		for _, name := range draft.Reach.By {
			if !hasColumn(columns, name) {
				fault("reach column %s is not in the input %s: it has %s", name, input.Table, columnNames(columns))
			}
		}
	}
}
