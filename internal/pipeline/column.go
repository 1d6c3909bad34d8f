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

// Names of the tables that ingestion keeps beside bronze.
const (
	QuarantineTable = "ops.quarantine"
	IngestedTable   = "ops.ingested"
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

// OpsTable is a table that ingestion keeps beside bronze.
type OpsTable struct {
	// Name is layer.table.
	Name      string
	Columns   []Column
	Partition Partition
}

// OpsTables are the tables that ingestion keeps beside bronze: rows that broke a rule, and the fate of every file.
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
