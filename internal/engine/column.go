package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Column is a column of a table or of a result.
type Column struct {
	// Name is lower case in tables; in results it is as the query has it.
	Name string
	// Type is in DuckDB's spelling: VARCHAR, BIGINT, INTEGER, DOUBLE, BOOLEAN, DATE, TIMESTAMP, TIMESTAMP WITH TIME ZONE,
	// DECIMAL(p,s), BLOB, or a list of one of them, such as VARCHAR[].
	Type string
	// Scale is the number of fraction digits of a DECIMAL, 0 for others.
	Scale int
	// ID is Iceberg's field id, written into files by Export; 0 writes none.
	ID int
	// ElementID is the field id of a list's elements; 0 writes none.
	ElementID int
	// Required makes Export fail on a null.
	Required bool
}

var decimalType = regexp.MustCompile(`^DECIMAL\((\d+), ?(\d+)\)$`)

// canonical gives the spelling of Column.Type for a type of DuckDB. It widens types that tables do not have (TINYINT to
// INTEGER, HUGEINT to DECIMAL(38,0)), and is false for a type that has no counterpart, such as a STRUCT.
func canonical(native string) (string, bool) {
	if element, ok := strings.CutSuffix(native, "[]"); ok {
		name, ok := canonical(element)
		return name + "[]", ok
	}
	switch native {
	case "VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "BLOB":
		return native, true
	case "TINYINT", "SMALLINT", "UTINYINT", "USMALLINT":
		return "INTEGER", true
	case "UINTEGER":
		return "BIGINT", true
	case "UBIGINT":
		return "DECIMAL(20,0)", true
	case "HUGEINT", "UHUGEINT":
		return "DECIMAL(38,0)", true
	case "FLOAT":
		return "DOUBLE", true
	case "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return "TIMESTAMP", true
	case "TIMESTAMPTZ":
		return "TIMESTAMP WITH TIME ZONE", true
	case "JSON", "UUID", "ENUM":
		return "VARCHAR", true
	}
	if parts := decimalType.FindStringSubmatch(native); parts != nil {
		return "DECIMAL(" + parts[1] + "," + parts[2] + ")", true
	}
	if strings.HasPrefix(native, "ENUM(") {
		return "VARCHAR", true
	}
	return native, false
}

// checkType refuses what is not a type of tables, so that a type's text can stand in SQL as it is.
func checkType(c Column) error {
	if name, ok := canonical(c.Type); !ok || name != strings.ReplaceAll(c.Type, ", ", ",") {
		return fmt.Errorf("column %s: %q is not a type of tables: use VARCHAR, BIGINT, INTEGER, DOUBLE, BOOLEAN, DATE, TIMESTAMP, "+
			"TIMESTAMP WITH TIME ZONE, DECIMAL(p,s), BLOB, or a list of one of them", c.Name, c.Type)
	}
	return nil
}

// scaleOf is the number of fraction digits of a DECIMAL type, 0 for others.
func scaleOf(typeName string) int {
	if parts := decimalType.FindStringSubmatch(typeName); parts != nil {
		scale, _ := strconv.Atoi(parts[2]) // digits, by the expression
		return scale
	}
	return 0
}
