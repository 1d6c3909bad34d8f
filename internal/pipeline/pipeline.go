// Package pipeline reads and checks a pipeline folder: contracts, models, checks and KPIs; their graph; and which
// partitions a change touches. It is pure: it knows no NATS, no Iceberg and no DuckDB (SQL is read through Engine).
package pipeline

// Pipeline is a checked folder.
type Pipeline struct {
	Name  string
	Title string
	// TimeZone is the IANA name of the zone of business days.
	TimeZone string
	// Currency is the shop's, an ISO 4217 code.
	Currency string
	// Digest is the SHA-256 in hex of all paths and contents.
	Digest string
	// Files are the contents by path below the folder, with slashes.
	Files   map[string][]byte
	Sources []*Source
	// Models are in topological order.
	Models []*Model
	KPIs   []*KPI
	Checks []*Check
	Flows  []*Flow
	// Tasks says how the tasks of all tables are done; Work has what a model says besides.
	Tasks Work
}

// Source is where raw data comes from. Its bronze table is bronze.<name>.
type Source struct {
	Name        string
	Title       string
	Description string
	// File is the contract's path in the folder.
	File     string
	Contract *Contract
}

// Table is the name of the source's bronze table.
func (s *Source) Table() string { return "bronze." + s.Name }

// Transform says how a partition follows from its column.
type Transform string

// Transforms.
const (
	// TransformDay is the day of a date, written 2026-01-15.
	TransformDay Transform = "day"
	// TransformMonth is the month of a date, written 2026-01.
	TransformMonth Transform = "month"
	// TransformIdentity is the value itself, as text.
	TransformIdentity Transform = "identity"
)

// Partition says how a table is partitioned; the zero value is one partition.
type Partition struct {
	Transform Transform
	Column    string
}

// IsZero says whether the table is one partition.
func (p Partition) IsZero() bool { return p.Transform == "" }

// ReachKind says where rows of the same key may stand in the input.
type ReachKind string

// Kinds of reach.
const (
	// ReachNone: in the same partition only.
	ReachNone ReachKind = "none"
	// ReachDays: at most some days away.
	ReachDays ReachKind = "days"
	// ReachAny: in any partition.
	ReachAny ReachKind = "any"
)

// Reach says how far a change reaches.
type Reach struct {
	Kind ReachKind
	// Days is set for ReachDays.
	Days int
	// By are the columns of the input that tell which rows belong together; those of the key that the input has, where the
	// header names none.
	By []string
}

// Relation says which partitions of a model a change of an input touches.
type Relation string

// Relations.
const (
	// RelationSame: those of the same day or month.
	RelationSame Relation = "same"
	// RelationAsOf: those of the day and every later one until the next day that the input has.
	RelationAsOf Relation = "asof"
	// RelationAll: all.
	RelationAll Relation = "all"
	// RelationLookup: none; the model reads what is there when it is built.
	RelationLookup Relation = "lookup"
)

// Input is a table that a model reads.
type Input struct {
	// Table is layer.table.
	Table    string
	Relation Relation
	// Column is the input's date column for RelationSame and RelationAsOf, empty for the others.
	Column string
}

// Build says what happens to rows that were built before.
type Build string

// Ways to build.
const (
	// BuildReplace: partitions are replaced whole.
	BuildReplace Build = "replace"
	// BuildAppend: rows of new keys are added.
	BuildAppend Build = "append"
)

// Model is the SQL file that makes a silver or gold table.
type Model struct {
	// Table is layer.table.
	Table       string
	Description string
	// SQL is the statement without the header.
	SQL string
	// File is the path in the folder; the statement begins after its first HeaderLines lines.
	File        string
	HeaderLines int
	Partition   Partition
	Key         []string
	Reach       Reach
	// Inputs are the tables that the statement reads, each once, sorted by name.
	Inputs  []Input
	Build   Build
	Columns []Column
	// Tasks are what the header says of the model's tasks, by key of Work; see Pipeline.Work.
	Tasks map[string]string
}

// Input returns the input of that table, false where the model does not read it.
func (m *Model) Input(table string) (Input, bool) {
	for _, input := range m.Inputs {
		if input.Table == table {
			return input, true
		}
	}
	return Input{}, false
}

// ParamType is the type of a KPI's parameter.
type ParamType string

// Types of parameters.
const (
	ParamInteger ParamType = "integer"
	ParamDecimal ParamType = "decimal"
	ParamString  ParamType = "string"
	ParamDate    ParamType = "date"
	ParamBoolean ParamType = "boolean"
)

// DuckDB is the type in DuckDB's spelling.
func (t ParamType) DuckDB() string {
	switch t {
	case ParamInteger:
		return TypeBigint
	case ParamDecimal:
		return "DECIMAL(38,6)"
	case ParamDate:
		return TypeDate
	case ParamBoolean:
		return TypeBoolean
	default:
		return TypeVarchar
	}
}

// Names of the parameters that every KPI may use: first business day, and the day after the last; DATE, null is unbounded.
const (
	ParamFrom = "from"
	ParamTo   = "to"
)

// Param is a declared parameter of a KPI.
type Param struct {
	Name string
	Type ParamType
	// Default is the value where none is given, as text; nil is null.
	Default *string
}

// KPIColumn is a column of a KPI.
type KPIColumn struct {
	Column
	// Unit is what the header says of it, for example currency, percent or days; empty where it says nothing.
	Unit string
}

// KPI is a parameterised query.
type KPI struct {
	// Name is the file's name without .sql.
	Name        string
	Title       string
	Description string
	// SQL is the statement without the header; it may use $from, $to and the declared parameters.
	SQL         string
	File        string
	HeaderLines int
	// Chart is one of card, line, bar, table, heatmap and funnel.
	Chart   string
	Params  []Param
	Columns []KPIColumn
	// Tables are those that the statement reads, sorted.
	Tables []string
}

// Severity says what a failed check does.
type Severity string

// Severities.
const (
	// SeverityError stops the stage and what depends on it.
	SeverityError Severity = "error"
	// SeverityWarn raises an alert.
	SeverityWarn Severity = "warn"
)

// Check is a query of offending rows: it fails if there is any.
type Check struct {
	// Name is the file's name without .sql.
	Name        string
	Description string
	// Table is the one that is checked.
	Table    string
	Severity Severity
	// SQL is the statement without the header.
	SQL         string
	File        string
	HeaderLines int
	// Tables are those that the statement reads, sorted.
	Tables []string
}

// Flow is a named selection of tables.
type Flow struct {
	Name        string
	Title       string
	Description string
	// Select are globs of table names; what they depend on is part of the flow. Empty for a flow of maintenance.
	Select []string
	// Schedule says at which times it runs; nil where at none.
	Schedule *Schedule
	// Late says which file a scheduled run waits for; nil where for none.
	Late *Late
	// OnFiles says that it runs when new files of FileSources have landed and rested.
	OnFiles     bool
	FileSources []string
	// After are flows: when a run of one has succeeded, this one runs.
	After []string
	// Notify are the channels, by the operator's names, that hear of failures; all that are configured where empty.
	Notify []string
	// Maintenance is set where the flow builds nothing and maintains tables instead.
	Maintenance *Maintenance
}
