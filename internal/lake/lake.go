// Package lake keeps Iceberg tables: the catalog, reads pinned to a snapshot, files that are staged, and the commit that
// makes them part of a table. It is the only importer of iceberg-go, and knows no run and no task.
package lake

import (
	"time"
)

// Column is a column of a table.
type Column struct {
	// ID is Iceberg's field id; 0 where the table does not exist yet.
	ID int
	// Name is lower case.
	Name string
	// Type is in DuckDB's spelling: VARCHAR, BIGINT, INTEGER, DOUBLE, BOOLEAN, DATE, TIMESTAMP, TIMESTAMP WITH TIME ZONE,
	// DECIMAL(p,s), BLOB, VARCHAR[].
	Type string
	// Required says that no value is null.
	Required bool
}

// Transform says how a partition follows from its column.
type Transform string

const (
	// Identity is the column's value itself (a day for a DATE, text otherwise).
	Identity Transform = "identity"
	// Month is the month of a date, written 2026-01.
	Month Transform = "month"
)

// Partition says how a table is partitioned; the zero value is no partitioning.
type Partition struct {
	Transform Transform
	Column    string
}

// Schema is what a table looks like.
type Schema struct {
	Columns   []Column
	Partition Partition
}

// Table is a table at one snapshot.
type Table struct {
	// Name is layer.table.
	Name string
	Schema
	// Location is the folder (or URI) of the table's files.
	Location string
	// SnapshotID is 0 where the table is empty and has never been committed to.
	SnapshotID int64
	// Summary is what the snapshot says of itself, our own properties among it.
	Summary map[string]string
	// Time is when the snapshot was committed.
	Time time.Time
}

// File is a data file of a table.
type File struct {
	Path string
	// Partition as text: 2026-01, 2026-01-15, orders; empty for a table of one partition.
	Partition string
	// PartitionedBy is what Partition is a value of: how the table was partitioned when the file was written.
	PartitionedBy Partition
	Rows          int64
	Bytes         int64
}

// Staged is a data file that no commit names yet.
type Staged struct {
	File
	// Entry is the Iceberg data-file entry (partition, counts, bounds), opaque to others.
	Entry []byte
}

// Commit replaces some files of a table by others, in one snapshot.
type Commit struct {
	Table string
	// Remove are files that must be in the table now; if one is not, the commit fails with ErrMoved.
	Remove []string
	Add    []Staged
	// Properties go into the snapshot's summary.
	Properties map[string]string
	// Base is the snapshot that the change was computed on. Where CheckBase is set and the table's snapshot is another,
	// the commit fails with ErrMoved.
	Base      int64
	CheckBase bool
	// Epoch is written into the table; a commit of a lower epoch than the table has seen fails with ErrFenced.
	Epoch uint64
	// Token names this commit: where an ancestor of the current snapshot has it already, nothing is done and that snapshot's id is returned.
	Token string
	// Compaction says that the files added hold the rows of those removed, all of them and no others: the commit is no change
	// (see Changes). It inherits what the snapshot before said of itself, where Properties does not say otherwise.
	Compaction bool
}

// Snapshot is one entry of a table's history.
type Snapshot struct {
	ID        int64
	ParentID  int64
	Time      time.Time
	Operation string
	Summary   map[string]string
	// Referenced says that a tag or a branch of somebody's needs it.
	Referenced bool
}
