package pipeline

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Keys of the headers of KPIs and checks.
var (
	kpiKeys   = []string{"title", "description", "chart", "param", "unit"}
	checkKeys = []string{"table", "severity", "description"}
)

// charts are the ways to draw a KPI.
var charts = []string{"card", "line", "bar", "table", "heatmap", "funnel"}

// kpiDraft is a KPI while it is read.
type kpiDraft struct {
	*KPI
	*statement
	units map[string]*headerLine
}

func (l *loader) readKPI(file, name string, content []byte) {
	s := l.readSQL(file, content)
	if s == nil {
		return
	}
	draft := &kpiDraft{
		KPI:       &KPI{Name: name, File: file, SQL: s.sql, HeaderLines: s.headerLines, Tables: s.tables, Chart: "table"},
		statement: s,
		units:     map[string]*headerLine{},
	}
	reader := newHeaderReader(s.sqlFile, l.faults)
	if draft.Title = reader.text("title"); draft.Title == "" {
		draft.Title = name
	}
	draft.Description = reader.text("description")
	if line := reader.one("chart"); line != nil {
		draft.Chart = strings.ToLower(line.value)
		if !slices.Contains(charts, draft.Chart) {
			reader.faultValue(line, "unknown chart %s: known are %s", shorten(line.value), strings.Join(charts, ", "))
		}
	}
	for _, line := range reader.each("param") {
		if param := l.readParam(reader, s, line); param != nil {
			draft.Params = append(draft.Params, *param)
		}
	}
	for _, line := range reader.each("unit") {
		draft.units[strings.ToLower(line.subject)] = line
	}
	reader.finish(kpiKeys...)
	l.kpis = append(l.kpis, draft)
}

var paramShape = regexp.MustCompile(`^(\w+)\s*(?:=\s*(.*))?$`)

// readParam reads `-- param name: type = default`.
func (l *loader) readParam(reader *headerReader, s *statement, line *headerLine) *Param {
	name := strings.ToLower(line.subject)
	switch {
	case !namePattern.MatchString(name):
		reader.fault(line, "%s is no name of a parameter: use %s", shorten(line.subject), nameRule)
		return nil
	case name == ParamFrom || name == ParamTo:
		reader.fault(line, "every KPI has the parameter $%s: do not declare it", name)
		return nil
	}
	match := paramShape.FindStringSubmatch(line.value)
	if match == nil {
		reader.faultValue(line, "write `-- param %s: type = default`", name)
		return nil
	}
	param := &Param{Name: name, Type: ParamType(strings.ToLower(match[1]))}
	switch param.Type {
	case ParamInteger, ParamDecimal, ParamString, ParamDate, ParamBoolean:
	default:
		reader.faultValue(line, "unknown type %s of a parameter: known are integer, decimal, string, date and boolean", shorten(match[1]))
		return nil
	}
	if strings.Contains(line.value, "=") {
		value := strings.TrimSpace(match[2])
		param.Default = &value
		if err := param.Check(value); err != "" {
			reader.faultValue(line, "the default of %s %s", name, err)
		}
	}
	if s.sound && !slices.ContainsFunc(s.parsed.Params, func(used string) bool { return strings.EqualFold(used, name) }) {
		reader.fault(line, "parameter %s is not used: the SELECT has no $%s", name, name)
	}
	return param
}

var paramDecimal = regexp.MustCompile(`^-?[0-9]{1,32}(\.[0-9]{1,6})?$`)

// Check says what is wrong with a value for the parameter; empty where nothing is.
func (p *Param) Check(value string) string {
	switch p.Type {
	case ParamInteger:
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return shorten(value) + " is no integer of 64 bits"
		}
	case ParamDecimal:
		if !paramDecimal.MatchString(value) {
			return shorten(value) + " is no decimal number with at most 6 digits after the point"
		}
	case ParamDate:
		if _, err := time.Parse(time.DateOnly, value); err != nil {
			return shorten(value) + " is no date: write YYYY-MM-DD"
		}
	case ParamBoolean:
		if value != "true" && value != "false" {
			return shorten(value) + " is neither true nor false"
		}
	}
	return ""
}

func (l *loader) bindKPIs() {
	for _, draft := range l.kpis {
		l.checkTables(draft.statement, func(table string) string {
			if layer, _, _ := strings.Cut(table, "."); layer != "gold" && l.exists(table) {
				return "a KPI reads gold tables, not " + table
			}
			return ""
		})
		params := map[string]string{ParamFrom: TypeDate, ParamTo: TypeDate}
		for _, param := range draft.Params {
			params[param.Name] = param.Type.DuckDB()
		}
		l.checkParams(draft.statement, func(name string) bool { return params[strings.ToLower(name)] != "" },
			"a KPI has $from, $to and those that its header declares (`-- param name: type = default`)")
		columns := l.describe(draft.statement, params)
		if l.err != nil {
			return
		}
		if columns == nil {
			continue
		}
		l.checkOutput(draft.statement, columns)
		for name, line := range draft.units {
			if !hasColumn(columns, name) {
				l.faults.add(draft.file, line.line, line.keyColumn, "unit: column %s is not in the output: it has %s", name, columnNames(columns))
			}
		}
		for _, column := range columns {
			unit := ""
			if line := draft.units[column.Name]; line != nil {
				unit = line.value
			}
			draft.KPI.Columns = append(draft.KPI.Columns, KPIColumn{Column: column, Unit: unit})
		}
		l.pipeline.KPIs = append(l.pipeline.KPIs, draft.KPI)
	}
}

// checkDraft is a check while it is read.
type checkDraft struct {
	*Check
	*statement
	table *headerLine
}

func (l *loader) readCheck(file, name string, content []byte) {
	s := l.readSQL(file, content)
	if s == nil {
		return
	}
	draft := &checkDraft{
		Check:     &Check{Name: name, File: file, SQL: s.sql, HeaderLines: s.headerLines, Tables: s.tables, Severity: SeverityError},
		statement: s,
	}
	reader := newHeaderReader(s.sqlFile, l.faults)
	draft.Description = reader.text("description")
	if draft.table = reader.one("table"); draft.table != nil {
		draft.Table = strings.ToLower(draft.table.value)
	} else {
		l.faults.add(file, 1, 1, "does not say which table it checks: write `-- table: layer.table`")
	}
	if line := reader.one("severity"); line != nil {
		draft.Severity = Severity(strings.ToLower(line.value))
		if draft.Severity != SeverityError && draft.Severity != SeverityWarn {
			reader.faultValue(line, "severity is error or warn, not %s", shorten(line.value))
		}
	}
	reader.finish(checkKeys...)
	l.checks = append(l.checks, draft)
}

func (l *loader) bindChecks() {
	for _, draft := range l.checks {
		known := draft.table != nil && l.exists(draft.Table)
		if draft.table != nil && !known {
			l.faults.add(draft.file, draft.table.line, draft.table.valueColumn, "unknown table %s", shorten(draft.Table))
		}
		// A check runs when its table is built: what comes later does not exist yet.
		upstream := l.upstream(draft.Table)
		l.checkTables(draft.statement, func(table string) string {
			if known && l.exists(table) && table != draft.Table && !upstream[table] {
				return "the check of " + draft.Table + " may not read " + table + ", on which " + draft.Table + " does not depend"
			}
			return ""
		})
		l.checkParams(draft.statement, func(string) bool { return false }, "a check has no parameters")
		if known && draft.sound && !slices.Contains(draft.tables, draft.Table) {
			l.faults.add(draft.file, draft.table.line, draft.table.valueColumn, "the SELECT does not read %s", draft.Table)
		}
		columns := l.describe(draft.statement, nil)
		if l.err != nil {
			return
		}
		if columns != nil {
			l.pipeline.Checks = append(l.pipeline.Checks, draft.Check)
		}
	}
}

// upstream are the tables that a table depends on, faults or not.
func (l *loader) upstream(table string) map[string]bool {
	found := map[string]bool{}
	var visit func(table string)
	visit = func(table string) {
		draft := l.drafts[table]
		if draft == nil {
			return
		}
		for _, input := range draft.tables {
			if !found[input] {
				found[input] = true
				visit(input)
			}
		}
	}
	visit(table)
	return found
}
