package pipeline

import (
	"fmt"
	"path"
	"time"
)

// Contract says what the rows of a source look like. It is read from an Open Data Contract Standard 3.1 document.
type Contract struct {
	ID      string
	Version string
	// Hash is the SHA-256 in hex of what the contract means for reading and checking; comments and titles do not count.
	Hash   string
	Format Format
	// Glob selects files by name (path.Match against the last part of the path); empty selects all.
	Glob    string
	Columns []ContractColumn
	// BusinessDay is nil where the contract names none.
	BusinessDay *BusinessDay
	// Key are the columns of the primary key, in order.
	Key []string
	SLA []SLA
}

// Column returns a column by name, nil where there is none.
func (c *Contract) Column(name string) *ContractColumn {
	for i := range c.Columns {
		if c.Columns[i].Name == name {
			return &c.Columns[i]
		}
	}
	return nil
}

// Selects says whether a file belongs to the source, by its path below the landing folder.
func (c *Contract) Selects(file string) bool {
	if c.Glob == "" {
		return true
	}
	matched, err := path.Match(c.Glob, path.Base(file))
	return err == nil && matched
}

// FormatKind is a file format.
type FormatKind string

// File formats. JSON lines and a JSON array are both FormatNDJSON.
const (
	FormatCSV     FormatKind = "csv"
	FormatNDJSON  FormatKind = "ndjson"
	FormatXLSX    FormatKind = "xlsx"
	FormatParquet FormatKind = "parquet"
)

// Encoding is how the text of a CSV file is encoded.
type Encoding string

// Encodings. UTF-8 with or without byte order mark is the default.
const (
	EncodingUTF8        Encoding = "utf-8"
	EncodingLatin1      Encoding = "iso-8859-1"
	EncodingWindows1252 Encoding = "windows-1252"
	// These are UTF-8, but for cells that are not: those are read by the other one.
	EncodingUTF8OrLatin1      Encoding = "utf-8,iso-8859-1"
	EncodingUTF8OrWindows1252 Encoding = "utf-8,windows-1252"
)

// Format says how to read the files of a source.
type Format struct {
	// Kind is the first of Kinds.
	Kind FormatKind
	// Kinds are the formats that files may have; a file's name ending tells which it is, where there are several.
	Kinds []FormatKind
	// Delimiter and Quote are those of CSV; a comma and a double quote by default.
	Delimiter, Quote rune
	Encoding         Encoding
	// Sheet is the name of the workbook's sheet; empty is the first.
	Sheet string
	// SkipRows are the lines (CSV) or rows (workbook) above the header that are passed over, blank ones included.
	SkipRows int
}

// Accepts says whether files of this kind are the source's.
func (f Format) Accepts(kind FormatKind) bool {
	for _, k := range f.Kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// ColumnType is what a cell is read as.
type ColumnType string

// Column types.
const (
	ColumnString  ColumnType = "string"
	ColumnInteger ColumnType = "integer"
	// ColumnDecimal has Precision and Scale.
	ColumnDecimal ColumnType = "decimal"
	ColumnDouble  ColumnType = "double"
	ColumnBoolean ColumnType = "boolean"
	ColumnDate    ColumnType = "date"
	// ColumnInstant is a moment written with its zone, or as epoch.
	ColumnInstant ColumnType = "instant"
	// ColumnLocalTime is a moment written in the pipeline's time zone; it is stored as the moment.
	ColumnLocalTime ColumnType = "local_time"
	// ColumnObject is a JSON object, kept as JSON text.
	ColumnObject ColumnType = "object"
)

// ContractColumn is a column of a source: how its cells are read and what they must keep to.
type ContractColumn struct {
	// Name is lower case; header names match after trimming and case folding.
	Name        string
	Description string
	// Aliases are other header names for it (renamed, misspelt), case-folded.
	Aliases []string
	Type    ColumnType
	// Precision and Scale are those of a decimal: digits in all, and after the point.
	Precision, Scale int

	// Required: null breaks `required`.
	Required bool
	// RequiredWhen, where set: null breaks `required` in rows where another column has one of some values.
	RequiredWhen *RequiredWhen
	// Enum are the allowed values, lower case; cells are compared and stored in lower case. Breaks `enum`.
	Enum []string
	// Pattern is a regular expression (RE2) that a value must contain a match of; anchors are the contract's. Breaks `pattern`.
	Pattern string
	// Min and Max are inclusive bounds as text: a plain decimal for numbers, YYYY-MM-DD for dates. Break `range`.
	Min, Max *string
	// MinExclusive and MaxExclusive make the bound itself break `range`.
	MinExclusive, MaxExclusive bool
	// MaxExpr is an SQL expression over the columns Uses: an inclusive upper bound that breaks `range`. It is checked only
	// where all of Uses are valid.
	MaxExpr string
	Uses    []string
	// NotAfter names a column of the same type: an inclusive upper bound that breaks `range`, checked only where that
	// column is valid and not null.
	NotAfter string
	// NotAfterIngestion, where set: a moment later than the time of ingestion plus this breaks `future`.
	NotAfterIngestion *time.Duration

	// DefaultValue is taken where the cell is null, as text that the column's type reads.
	DefaultValue *string
	// DefaultColumn names the column whose cell is taken where this one is null; what that column has by default is not.
	DefaultColumn string
	// UpperCase stores the value in upper case; where UpperCaseWhen is set, only a value that it matches (RE2). It is no rule.
	UpperCase     bool
	UpperCaseWhen string
	// ThousandsSeparator may stand between well-formed groups of three digits; empty: none is allowed.
	ThousandsSeparator string
	// DecimalSeparator is a point by default.
	DecimalSeparator string
	// CurrencySymbols of which one may stand at the start or end of a decimal.
	CurrencySymbols []string
	// DateFormats are the ways that the date of a date or local time may be written; never empty for these types.
	DateFormats []DateFormat
	// PII says that the column holds personal data.
	PII bool
}

// StoredType is the type of the column in bronze, in DuckDB's spelling.
func (c *ContractColumn) StoredType() string {
	switch c.Type {
	case ColumnInteger:
		return TypeBigint
	case ColumnDecimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", c.Precision, c.Scale)
	case ColumnDouble:
		return TypeDouble
	case ColumnBoolean:
		return TypeBoolean
	case ColumnDate:
		return TypeDate
	case ColumnInstant, ColumnLocalTime:
		return TypeTimestampTZ
	default:
		return TypeVarchar
	}
}

// Checks that a cell may break; a rule is named check:column.
const (
	CheckRequired = "required"
	CheckType     = "type"
	CheckEnum     = "enum"
	CheckPattern  = "pattern"
	CheckRange    = "range"
	CheckFuture   = "future"
)

// Rules are the names of the rules that a cell of the column may break, in the order in which they are checked.
func (c *ContractColumn) Rules() []string {
	var rules []string
	add := func(check string) { rules = append(rules, check+":"+c.Name) }
	if c.Required || c.RequiredWhen != nil {
		add(CheckRequired)
	}
	add(CheckType)
	if len(c.Enum) > 0 {
		add(CheckEnum)
	}
	if c.Pattern != "" {
		add(CheckPattern)
	}
	if c.Min != nil || c.Max != nil || c.MaxExpr != "" || c.NotAfter != "" {
		add(CheckRange)
	}
	if c.NotAfterIngestion != nil {
		add(CheckFuture)
	}
	return rules
}

// RequiredWhen is the condition of a conditional requirement. It is checked only where Column is valid.
type RequiredWhen struct {
	Column string
	// In are values as they are stored (an enumeration's are lower case).
	In []string
}

// DateOrder is the order of year, month and day.
type DateOrder string

// Orders of a date's parts.
const (
	OrderYMD DateOrder = "YMD"
	OrderDMY DateOrder = "DMY"
	OrderMDY DateOrder = "MDY"
)

// DateFormat is one way to write a date. A local time has, after it, optionally T or a space, HH:MM[:SS[.f]] and a zone.
type DateFormat struct {
	// Text is the format as the contract has it, for example DD.MM.YYYY or M/D/YYYY.
	Text  string
	Order DateOrder
	// Separator stands between the parts: "-", "/", "." or empty.
	Separator string
	// Loose (written M and D): month, day and hour may have one digit.
	Loose bool
	// ShortYear (written YY): the year has two digits; 69 to 99 are of the 20th century, as in POSIX.
	ShortYear bool
}

// BusinessDay is the column of the business day, by which bronze rows are told apart.
type BusinessDay struct {
	// Column is the date column.
	Column string
	// Of is the instant or local time whose date in the pipeline's time zone it is; empty where Column is a column of the
	// contract itself.
	Of string
}

// SLA is one promise of the contract's slaProperties.
type SLA struct {
	Property string
	Value    string
	Unit     string
	Element  string
}
