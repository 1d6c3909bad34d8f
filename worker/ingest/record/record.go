// Package record turns one landing file of any format (CSV, NDJSON or JSON,
// XLSX, Parquet; plain, gzip or zstd) into records of text cells, in bounded
// memory, and writes them to scratch Parquet files. It knows no contract rule:
// what a cell must be is decided over the scratch files, in SQL.
package record

import (
	"errors"
	"time"
)

// Formats of a Layout.
const (
	CSV     = "csv"
	NDJSON  = "ndjson" // one object a line; a .json file may also hold one array
	XLSX    = "xlsx"
	Parquet = "parquet"
)

// What the scratch column reader_rule may hold. A row that has one has no cells.
const (
	RuleColumnCount = "column_count"    // a CSV record with too few or too many cells
	RuleMalformed   = "malformed"       // broken quoting, not one strict JSON object, or longer than MaxRecordBytes
	RuleEncoding    = "encoding"        // a CSV record with bytes that the encoding does not have
	RuleUnreadable  = "unreadable_file" // the one row that stands for a file that could not be read whole
)

// Prefixes of a cell that isn't plain text. A cell of plain text that itself
// begins with U+0001 to U+0006 gets PrefixText in front. White space around
// text is not trimmed here, nor is text normalised.
const (
	PrefixComposite  = "\x01" // JSON text of a list or an object
	PrefixError      = "\x02" // error cell of a workbook, followed by its code (#N/A)
	PrefixNumber     = "\x03" // number cell of a workbook: shortest decimal text, no exponent; as a date a serial of the 1900 system
	PrefixText       = "\x04" // text that begins with one of these prefixes
	PrefixDate       = "\x05" // date cell of a workbook: YYYY-MM-DD, or YYYY-MM-DDTHH:MM:SS[.fff] where it has a time
	PrefixNumber1904 = "\x06" // as PrefixNumber, of a workbook whose serials count from 1904: as a date add 1462 to get the 1900 system
)

// Limits that no file passes.
const (
	MaxRecordBytes  = 16 << 20  // a longer record is malformed
	MaxRawBytes     = 1 << 20   // raw is cut here; raw_size is the whole
	MaxColumns      = 10_000    // a file with more is unreadable
	MaxJSONDepth    = 1_000     // a record nested deeper is malformed
	MaxSharedText   = 128 << 20 // text of a workbook's shared strings; with more it is unreadable
	MaxSheetBytes   = 4 << 30   // a workbook's part, unpacked; with more it is unreadable
	MaxSheetRatio   = 250       // unpacked to packed size of a workbook's part above 64 MiB; beyond it is taken for a zip bomb
	MaxUnpackRatio  = 1_100     // the same for gzip and zstd above 1 GiB; deflate cannot reach it
	MaxParquetBytes = 512 << 20 // memory for reading a Parquet file: one batch with its pages and dictionaries
)

// Column is a column that the caller wants.
type Column struct {
	Name    string
	Aliases []string // other names that a file may have for it
}

// Layout says how the files of a source are written and what is wanted of them.
// Names match after trimming, NFC and case folding.
type Layout struct {
	Format    string // CSV, NDJSON, XLSX or Parquet
	Columns   []Column
	Delimiter byte   // CSV: 0 is a comma
	Quote     byte   // CSV: 0 is a double quote
	Encoding  string // CSV: an IANA name; "" is UTF-8
	Sheet     string // XLSX: the sheet's name; "" is the first
	SkipRows  int    // lines (CSV) or sheet rows (XLSX) above the header
}

// FileInfo is what was found out about a file.
type FileInfo struct {
	SHA256       string // of the bytes as they lie, compressed or not; lower-case hex
	Size         int64  // bytes as they lie
	ModTime      time.Time
	Rows         int64    // rows now in the scratch files for it, each with its own row number from 1
	ExtraColumns []string // names that no column has, as first written, sorted; at most MaxColumns
	// Unreadable says why nothing of the file could be taken. Rows is then 1: a row of
	// RuleUnreadable with row number 0, the file's first MaxRawBytes as raw, and its size
	// as raw size. No other row of it is in the scratch files.
	Unreadable error
}

// ErrChanged is returned by Read for a file that was written to meanwhile.
var ErrChanged = errors.New("file changed while it was read")
