package ingest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/worker/ingest/record"
)

// Columns of a statement's result that stand beside those of the contract. A
// contract cannot have columns of such names.
const (
	columnFile    = "#file"     // INTEGER: position of the landing file in the request
	columnRow     = "#row"      // BIGINT
	columnRules   = "#rules"    // VARCHAR[]: what a bad row broke, in the order of the columns; null for a good row
	columnRaw     = "#raw"      // BLOB, null for a good row
	columnRawSize = "#raw_size" // BIGINT
	columnExtra   = "#extra"    // VARCHAR: JSON object of the cells of unknown columns, or null
)

// statement is a contract made into SQL: what stands between FROM scratch
// files and the checked rows.
type statement struct {
	contract *pipeline.Contract
	zone     string
	// layers are made from one another: each adds columns to the one before.
	layers []layer
}

// layer is one step of the statement, in which every column may take one.
type layer struct {
	name    string
	columns []derived
}

// derived is a column that a layer adds.
type derived struct {
	name string
	expr string
}

// Names of the layers in their order; those of quick and slow reading, and of
// faults, are numbered.
const (
	layerQuick     = "quick"
	layerOdd       = "odd"
	layerText      = "text"
	layerSlow      = "slow"
	layerValue     = "value"
	layerCompleted = "completed"
	layerFault     = "fault"
	layerRules     = "ruled"
)

// compile makes the statement of a contract for rows that are ingested at the
// given moment into a pipeline of the given time zone (IANA). The contract is
// one that pipeline.Load has passed; what it refuses is refused here too, where
// the statement would otherwise mean something else.
func compile(c *pipeline.Contract, zone string, ingestTime time.Time) (*statement, error) {
	if len(c.Columns) == 0 {
		return nil, fmt.Errorf("compile contract %s: it has no columns", c.ID)
	}
	s := &statement{contract: c, zone: zone}
	levels, err := checkLevels(c)
	if err != nil {
		return nil, fmt.Errorf("compile contract %s: %w", c.ID, err)
	}
	columns := make([]reading, len(c.Columns))
	for i := range c.Columns {
		column := &c.Columns[i]
		if strings.ContainsAny(column.Name, "#@") {
			return nil, fmt.Errorf("compile contract %s: column %q: a name cannot contain # or @", c.ID, column.Name)
		}
		columns[i], err = readColumn(c, column, zone)
		if err != nil {
			return nil, fmt.Errorf("compile contract %s: column %s: %w", c.ID, column.Name, err)
		}
	}
	s.addSteps(layerQuick, columns, func(r reading) []derived { return r.quick })
	odd, text := layer{name: layerOdd}, layer{name: layerText}
	for i := range c.Columns {
		column := &c.Columns[i]
		quick := ""
		if steps := columns[i].quick; len(steps) > 0 {
			quick = quote(steps[len(steps)-1].name)
		}
		cell := quote(hidden(column, "cell"))
		odd.add(hidden(column, "odd"), oddCell(cell, quick))
		if column.Type != pipeline.ColumnString {
			text.add(hidden(column, "text"), columnText(column, cell, quote(hidden(column, "odd"))))
		}
	}
	s.layers = append(s.layers, odd)
	if len(text.columns) > 0 {
		s.layers = append(s.layers, text)
	}
	s.addSteps(layerSlow, columns, func(r reading) []derived { return r.slow })
	value, completed := layer{name: layerValue}, layer{name: layerCompleted}
	for i := range c.Columns {
		column := &c.Columns[i]
		name := column.Name
		if column.DefaultColumn != "" {
			name = hidden(column, "own")
			completed.add(column.Name, completedValue(c, column))
		}
		value.add(name, columns[i].value)
	}
	s.layers = append(s.layers, value)
	if len(completed.columns) > 0 {
		s.layers = append(s.layers, completed)
	}
	return s, s.addFaults(levels, ingestTime)
}

func (l *layer) add(name, expr string) { l.columns = append(l.columns, derived{name, expr}) }

// addSteps adds numbered layers of which each column takes one, as long as it
// has steps.
func (s *statement) addSteps(name string, columns []reading, of func(reading) []derived) {
	for k := 0; ; k++ {
		step := layer{name: fmt.Sprintf("%s_%d", name, k+1)}
		for _, r := range columns {
			if steps := of(r); k < len(steps) {
				step.columns = append(step.columns, steps[k])
			}
		}
		if len(step.columns) == 0 {
			return
		}
		s.layers = append(s.layers, step)
	}
}

// reading is how a column's cells become values.
type reading struct {
	// quick are steps that build on one another from the cell as it is; the last is the value where the cell is written in
	// the most usual way, and null where it is not. None where the type has no such way.
	quick []derived
	// slow are steps that build on one another from the cell's text.
	slow []derived
	// value is null where the cell cannot be read.
	value string
}

// readColumn writes the reading of a column by its type.
func readColumn(contract *pipeline.Contract, c *pipeline.ContractColumn, zone string) (reading, error) {
	text := quote(hidden(c, "text"))
	switch c.Type {
	case pipeline.ColumnString:
		return readString(c), nil
	case pipeline.ColumnInteger:
		return readInteger(c, text), nil
	case pipeline.ColumnDecimal:
		if c.Precision < 1 || c.Precision > 38 || c.Scale < 0 || c.Scale > c.Precision {
			return reading{}, fmt.Errorf("decimal(%d,%d): the precision is 1 to 38 and not below the scale", c.Precision, c.Scale)
		}
		return readDecimal(c, text), nil
	case pipeline.ColumnDouble:
		return readDouble(c, text), nil
	case pipeline.ColumnBoolean:
		return readBoolean(text), nil
	case pipeline.ColumnDate:
		return readDate(c, text)
	case pipeline.ColumnInstant:
		return readInstant(c, text), nil
	case pipeline.ColumnLocalTime:
		return readLocalTime(c, text, zone)
	case pipeline.ColumnObject:
		return readObject(text, !onlyJSON(contract.Format)), nil
	default:
		return reading{}, fmt.Errorf("unknown type %q", c.Type)
	}
}

// completedValue takes another column's value where the cell is null. A column
// that is taken may itself be completed from a third.
func completedValue(c *pipeline.Contract, column *pipeline.ContractColumn) string {
	stored := column.StoredType()
	values := []string{quote(hidden(column, "own"))}
	seen := []string{column.Name}
	for next := c.Column(column.DefaultColumn); next != nil && !slices.Contains(seen, next.Name); next = c.Column(next.DefaultColumn) {
		seen = append(seen, next.Name)
		name := next.Name
		if next.DefaultColumn != "" {
			name = hidden(next, "own")
		}
		value := quote(name)
		if next.StoredType() != stored {
			value = fmt.Sprintf("TRY_CAST(%s AS %s)", value, stored)
		}
		values = append(values, value)
	}
	return fmt.Sprintf("CASE WHEN %s THEN NULL ELSE coalesce(%s) END", unread(column, values[0]), strings.Join(values, ", "))
}

// unread is a condition that a cell holds something that is no value.
func unread(c *pipeline.ContractColumn, value string) string {
	if c.Type == pipeline.ColumnString {
		return neverText(quote(hidden(c, "odd")))
	}
	return fmt.Sprintf("%s IS NULL AND %s IS NOT NULL", value, quote(hidden(c, "text")))
}

// over writes the statement over a table, or table function, of scratch
// columns. Each row of it is one row of the result.
func (s *statement) over(scratch string) string {
	var b strings.Builder
	b.WriteString("WITH scratch AS NOT MATERIALIZED (\n  SELECT")
	meta := []struct{ from, to string }{
		{record.ColumnFileIndex, columnFile}, {record.ColumnRowNumber, columnRow}, {record.ColumnReaderRule, "#reader_rule"},
		{record.ColumnRaw, columnRaw}, {record.ColumnRawSize, columnRawSize}, {record.ColumnExtra, columnExtra},
	}
	for i, m := range meta {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %s AS %s", m.from, quote(m.to))
	}
	for i := range s.contract.Columns {
		fmt.Fprintf(&b, ",\n    %s AS %s", record.CellColumn(i), quote(s.contract.Columns[i].Name+"#cell"))
	}
	fmt.Fprintf(&b, "\n  FROM %s\n)", scratch)
	from := "scratch"
	dead := s.dead()
	for i, l := range s.layers {
		fmt.Fprintf(&b, ",\n%s AS NOT MATERIALIZED (\n  SELECT *", l.name)
		if len(dead[i]) > 0 {
			fmt.Fprintf(&b, " EXCLUDE (%s)", strings.Join(dead[i], ", "))
		}
		for _, d := range l.columns {
			fmt.Fprintf(&b, ",\n    %s AS %s", d.expr, quote(d.name))
		}
		fmt.Fprintf(&b, "\n  FROM %s\n)", from)
		from = l.name
	}
	fmt.Fprintf(&b, "\nSELECT %s, %s, %s,\n  CASE WHEN %s IS NOT NULL THEN %s END AS %s, %s, %s",
		quote(columnFile), quote(columnRow), quote(columnRules), quote(columnRules), quote(columnRaw), quote(columnRaw),
		quote(columnRawSize), quote(columnExtra))
	for i := range s.contract.Columns {
		fmt.Fprintf(&b, ",\n  %s", quote(s.contract.Columns[i].Name))
	}
	if day := s.contract.BusinessDay; day != nil && day.Of != "" {
		fmt.Fprintf(&b, ",\n  %s AS %s", businessDay(quote(day.Of), s.zone), quote(day.Column))
	}
	fmt.Fprintf(&b, "\nFROM %s\n", from)
	return b.String()
}

// dead lists, for each layer, the hidden columns that it is the last to use.
// The engine would leave them out of its plan by itself, but binding them takes
// a time that grows with the square of their number.
func (s *statement) dead() [][]string {
	last := map[string]int{}
	dead := make([][]string, len(s.layers))
	for i := len(s.layers) - 1; i >= 0; i-- {
		for _, d := range s.layers[i].columns {
			for _, name := range hiddenName.FindAllString(d.expr, -1) {
				if _, used := last[name]; !used {
					last[name] = i
					dead[i] = append(dead[i], name)
				}
			}
		}
	}
	return dead
}

// hiddenName finds the intermediate columns of an expression, quoted.
var hiddenName = regexp.MustCompile(`"[a-z0-9_]+#[a-z_]+"`)

// Explain is the statement by which rows of a contract are checked, as SQL for
// people: of a pipeline in UTC, over one scratch file, ingested at the start of
// 2026. It tells in place of the statement why a contract cannot be compiled.
func Explain(c *pipeline.Contract) string {
	s, err := compile(c, "UTC", time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return "-- " + err.Error() + "\n"
	}
	return s.over(scratchRows([]string{"records.parquet"}))
}

// paths writes paths as a list in SQL, so that the engine takes no character of
// them for a pattern.
func paths(files ...string) string {
	escaped := make([]string, len(files))
	for i, file := range files {
		escaped[i] = strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(file)
	}
	return list(escaped)
}

// hidden names an intermediate column.
func hidden(c *pipeline.ContractColumn, what string) string { return c.Name + "#" + what }

// quote writes a name as SQL.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal writes text as SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// list writes texts as a list in SQL.
func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = literal(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
