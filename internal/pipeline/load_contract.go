package pipeline

import (
	"strconv"
)

// bindContracts checks the expressions of contracts: each is one value over the columns that it says it uses.
func (l *loader) bindContracts() {
	ids := map[string]string{}
	for _, source := range l.pipeline.Sources {
		c := source.Contract
		if other, taken := ids[c.ID]; taken {
			l.faults.add(source.File, 0, 0, "has the id %s, as %s does: ids are unique", shorten(c.ID), other)
		}
		ids[c.ID] = source.File
		for i := range c.Columns {
			if column := &c.Columns[i]; column.MaxExpr != "" {
				l.bindMaximum(source, i, column)
				if l.err != nil {
					return
				}
			}
		}
	}
}

// maximumSQL is the statement by which an upper bound is checked: as the only value of a query over the source's table.
func maximumSQL(expression, table string) string {
	return "SELECT (\n" + expression + "\n) AS bound FROM " + table
}

func (l *loader) bindMaximum(source *Source, index int, column *ContractColumn) {
	line, col := 0, 0
	if doc := readYAML(source.File, l.pipeline.Files[source.File], &Faults{}); doc != nil {
		line, col = doc.at("schema", "0", "properties", strconv.Itoa(index), "customProperties")
	}
	fault := func(format string, args ...any) {
		l.faults.add(source.File, line, col, "column "+column.Name+": "+extMaximum+" "+format, args...)
	}
	table := source.Table()
	s := &statement{sqlFile: &sqlFile{file: source.File, sql: maximumSQL(column.MaxExpr, table)}}
	parsed, err := l.engine.Parse(l.ctx, s.sql)
	if err == nil && (len(parsed.Tables) != 1 || len(parsed.Params) > 0) {
		fault("must be one expression over columns, without a query and without parameters")
		return
	}
	if err == nil {
		columns := make([]Column, 0, len(column.Uses))
		for _, name := range column.Uses {
			columns = append(columns, Column{Name: name, Type: source.Contract.Column(name).StoredType()})
		}
		var bound []Column
		bound, err = l.engine.Describe(l.ctx, s.sql, map[string][]Column{table: columns}, nil)
		if err == nil && (len(bound) != 1 || !isNumeric(bound[0].Type)) {
			fault("must be one number")
			return
		}
	}
	if err != nil {
		if message, ok := sqlMessage(err); ok {
			fault("is no expression over %v: %s", column.Uses, message)
			return
		}
		l.err = err
	}
}

func isNumeric(kind string) bool {
	switch kind {
	case "TINYINT", "SMALLINT", TypeInteger, TypeBigint, "HUGEINT", TypeDouble, "FLOAT":
		return true
	}
	return decimalType.MatchString(kind)
}
