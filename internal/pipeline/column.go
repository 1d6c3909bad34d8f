package pipeline

import (
	"regexp"
)

// Column is a column of a table.
type Column struct {
	// Name is lower case.
	Name string
	// Type is in DuckDB's spelling, for example DECIMAL(18,4) or TIMESTAMP WITH TIME ZONE.
	Type string
	// Required says that no value is null.
	Required bool
}

// Types that the tables of a pipeline may have, in DuckDB's spelling; DECIMAL(p,s) besides.
const (
	TypeVarchar     = "VARCHAR"
	TypeBigint      = "BIGINT"
	TypeInteger     = "INTEGER"
	TypeDouble      = "DOUBLE"
	TypeBoolean     = "BOOLEAN"
	TypeDate        = "DATE"
	TypeTimestamp   = "TIMESTAMP"
	TypeTimestampTZ = "TIMESTAMP WITH TIME ZONE"
	TypeBlob        = "BLOB"
	TypeVarcharList = "VARCHAR[]"
)

// Names of the columns that every bronze table has beside those of its contract.
const (
	SourceFileColumn      = "_source_file"
	RowNumberColumn       = "_row_number"
	IngestedAtColumn      = "_ingested_at"
	RunIDColumn           = "_run_id"
	ContractVersionColumn = "_contract_version"
	ExtraColumn           = "_extra"
)

// Names of the tables of ops: ingestion keeps the first two beside bronze, the control plane the last.
const (
	QuarantineTable = "ops.quarantine"
	IngestedTable   = "ops.ingested"
	RunsTable       = "ops.runs"
)

// States of a file in ops.ingested.
const (
	StateIngested   = "ingested"
	StateUnreadable = "unreadable"
)

// BronzeColumns are the columns of a contract's bronze table: those of the contract, the business day, and where each row
// comes from.
func BronzeColumns(c *Contract) []Column {
	columns := make([]Column, 0, len(c.Columns)+7)
	for i := range c.Columns {
		column := &c.Columns[i]
		columns = append(columns, Column{Name: column.Name, Type: column.StoredType(), Required: column.Required})
	}
	if day := c.BusinessDay; day != nil && day.Of != "" {
		required := false
		if of := c.Column(day.Of); of != nil {
			required = of.Required
		}
		columns = append(columns, Column{Name: day.Column, Type: TypeDate, Required: required})
	}
	return append(columns,
		Column{Name: SourceFileColumn, Type: TypeVarchar, Required: true},
		Column{Name: RowNumberColumn, Type: TypeBigint, Required: true},
		Column{Name: IngestedAtColumn, Type: TypeTimestampTZ, Required: true},
		Column{Name: RunIDColumn, Type: TypeVarchar, Required: true},
		Column{Name: ContractVersionColumn, Type: TypeVarchar, Required: true},
		Column{Name: ExtraColumn, Type: TypeVarchar},
	)
}

// OpsTable is a table that the program keeps of its own accord.
type OpsTable struct {
	// Name is layer.table.
	Name      string
	Columns   []Column
	Partition Partition
	// Live says that no run writes it: readers see it as it is, and not as it was when something was published.
	Live bool
}

// OpsTables are the tables that the program keeps of its own accord: those that ingestion keeps beside bronze (rows that broke
// a rule, and the fate of every file), and the history of runs.
func OpsTables() []OpsTable {
	bySource := Partition{Transform: TransformIdentity, Column: "source"}
	return []OpsTable{
		{
			Name: QuarantineTable,
			Columns: []Column{
				// 32 hex digits: of source, file, content and row number, so that reading a file twice gives the same id.
				{Name: "quarantine_id", Type: TypeVarchar, Required: true},
				{Name: "source", Type: TypeVarchar, Required: true},
				{Name: "source_file", Type: TypeVarchar, Required: true},
				{Name: "row_number", Type: TypeBigint, Required: true},
				{Name: "raw", Type: TypeBlob},
				{Name: "raw_size", Type: TypeBigint, Required: true},
				{Name: "rules", Type: TypeVarcharList, Required: true},
				{Name: "ingested_at", Type: TypeTimestampTZ, Required: true},
				{Name: "run_id", Type: TypeVarchar, Required: true},
				{Name: "contract_version", Type: TypeVarchar, Required: true},
				{Name: "extra", Type: TypeVarchar},
			},
			Partition: bySource,
		},
		{
			Name: IngestedTable,
			Columns: []Column{
				{Name: "source", Type: TypeVarchar, Required: true},
				{Name: "path", Type: TypeVarchar, Required: true},
				{Name: "sha256", Type: TypeVarchar, Required: true},
				{Name: "size_bytes", Type: TypeBigint, Required: true},
				{Name: "modified_at", Type: TypeTimestampTZ, Required: true},
				{Name: "contract_version", Type: TypeVarchar, Required: true},
				{Name: "contract_hash", Type: TypeVarchar, Required: true},
				{Name: "state", Type: TypeVarchar, Required: true},
				{Name: "error", Type: TypeVarchar},
				{Name: "rows_read", Type: TypeBigint, Required: true},
				{Name: "rows_bronze", Type: TypeBigint, Required: true},
				{Name: "rows_quarantined", Type: TypeBigint, Required: true},
				{Name: "ingested_at", Type: TypeTimestampTZ, Required: true},
				{Name: "run_id", Type: TypeVarchar, Required: true},
				// The pipeline's when the file was read: with another one its local times are other moments.
				{Name: "time_zone", Type: TypeVarchar},
			},
			Partition: bySource,
		},
		{
			Name: RunsTable,
			Columns: []Column{
				// A ULID: runs sort by it as they were created.
				{Name: "run_id", Type: TypeVarchar, Required: true},
				// The day, in UTC, that the id tells.
				{Name: "created_on", Type: TypeDate, Required: true},
				{Name: "flow", Type: TypeVarchar, Required: true},
				{Name: "trigger", Type: TypeVarchar, Required: true},
				{Name: "state", Type: TypeVarchar, Required: true},
				{Name: "dry_run", Type: TypeBoolean, Required: true},
				{Name: "full_refresh", Type: TypeBoolean, Required: true},
				{Name: "start_date", Type: TypeDate},
				{Name: "end_date", Type: TypeDate},
				{Name: "pipeline", Type: TypeVarchar, Required: true},
				{Name: "created_at", Type: TypeTimestampTZ, Required: true},
				{Name: "started_at", Type: TypeTimestampTZ},
				{Name: "ended_at", Type: TypeTimestampTZ, Required: true},
				{Name: "published_version", Type: TypeBigint},
				{Name: "stages", Type: TypeBigint, Required: true},
				{Name: "tasks", Type: TypeBigint, Required: true},
				{Name: "rows_read", Type: TypeBigint, Required: true},
				{Name: "rows_bronze", Type: TypeBigint, Required: true},
				{Name: "rows_quarantined", Type: TypeBigint, Required: true},
				{Name: "error_class", Type: TypeVarchar},
				{Name: "error_stage", Type: TypeVarchar},
				{Name: "error_message", Type: TypeVarchar},
				{Name: "trace_id", Type: TypeVarchar, Required: true},
				// How often it was resumed after it had failed or was cancelled; the row tells the last end.
				{Name: "resumed", Type: TypeBigint, Required: true},
				// The run's last checkpoint: stages, tasks and attempts as the API shows them.
				{Name: "details", Type: TypeBlob, Required: true},
			},
			Partition: Partition{Transform: TransformMonth, Column: "created_on"},
			Live:      true,
		},
	}
}

var decimalType = regexp.MustCompile(`^DECIMAL\((\d+),\s*(\d+)\)$`)

// storable says what to do about a column whose type a table cannot hold; empty where it can.
func storable(kind string) string {
	switch kind {
	case TypeVarchar, TypeBigint, TypeInteger, TypeDouble, TypeBoolean, TypeDate, TypeTimestamp, TypeTimestampTZ, TypeBlob, TypeVarcharList:
		return ""
	case "HUGEINT", "UHUGEINT", "UBIGINT":
		return "cast it to BIGINT or to DECIMAL(38,0)"
	case "TINYINT", "SMALLINT", "UTINYINT", "USMALLINT":
		return "cast it to INTEGER"
	case "UINTEGER":
		return "cast it to BIGINT"
	case "FLOAT":
		return "cast it to DOUBLE"
	case `"NULL"`, "NULL":
		return "every value is NULL; cast it to the type that is meant"
	case "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return "cast it to TIMESTAMP"
	case "TIME", "TIME WITH TIME ZONE", "INTERVAL", "UUID", "JSON":
		return "cast it to VARCHAR"
	}
	if decimalType.MatchString(kind) {
		return ""
	}
	return "cast it to VARCHAR, BIGINT, INTEGER, DOUBLE, BOOLEAN, DATE, TIMESTAMP, TIMESTAMP WITH TIME ZONE, BLOB, VARCHAR[] or a DECIMAL"
}
