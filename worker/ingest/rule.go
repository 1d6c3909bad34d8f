package ingest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// Codes of the checks that a cell may break, of which the statement keeps one a
// cell: numbers are cheaper to carry than names.
var checkCodes = []struct {
	code  int
	check string
}{
	{faultRequired, pipeline.CheckRequired},
	{faultType, pipeline.CheckType},
	{faultEnum, pipeline.CheckEnum},
	{faultPattern, pipeline.CheckPattern},
	{faultRange, pipeline.CheckRange},
	{faultFuture, pipeline.CheckFuture},
}

const (
	faultNone = iota
	faultRequired
	faultType
	faultEnum
	faultPattern
	faultRange
	faultFuture
)

// code writes the code of a check.
func code(fault int) string { return fmt.Sprintf("%d::UTINYINT", fault) }

// checkLevels sorts the columns by what their checks need to know of other
// columns: those of level 0 need nothing, those of level n only columns of
// lower levels.
func checkLevels(c *pipeline.Contract) ([][]*pipeline.ContractColumn, error) {
	level := map[string]int{}
	var visit func(column *pipeline.ContractColumn, path []string) (int, error)
	visit = func(column *pipeline.ContractColumn, path []string) (int, error) {
		if known, ok := level[column.Name]; ok {
			return known, nil
		}
		if slices.Contains(path, column.Name) {
			return 0, fmt.Errorf("checks of columns need each other in a circle: %s", strings.Join(append(path, column.Name), " -> "))
		}
		n := 0
		for _, name := range needs(column) {
			other := c.Column(name)
			if other == nil {
				return 0, fmt.Errorf("column %s: its check names column %s, which the contract does not have", column.Name, name)
			}
			below, err := visit(other, append(path, column.Name))
			if err != nil {
				return 0, err
			}
			n = max(n, below+1)
		}
		level[column.Name] = n
		return n, nil
	}
	var levels [][]*pipeline.ContractColumn
	for i := range c.Columns {
		column := &c.Columns[i]
		n, err := visit(column, nil)
		if err != nil {
			return nil, err
		}
		for len(levels) <= n {
			levels = append(levels, nil)
		}
		levels[n] = append(levels[n], column)
	}
	return levels, nil
}

// needs are the other columns that must be valid for a column's checks.
func needs(c *pipeline.ContractColumn) []string {
	var names []string
	if c.RequiredWhen != nil {
		names = append(names, c.RequiredWhen.Column)
	}
	if c.MaxExpr != "" {
		names = append(names, c.Uses...)
	}
	if c.NotAfter != "" {
		names = append(names, c.NotAfter)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == c.Name })
}

// addFaults adds the layers that find what each cell broke, and what each row
// broke.
func (s *statement) addFaults(levels [][]*pipeline.ContractColumn, ingestTime time.Time) error {
	for n, columns := range levels {
		l := layer{name: fmt.Sprintf("%s_%d", layerFault, n)}
		for _, column := range columns {
			expr, err := s.fault(column, ingestTime)
			if err != nil {
				return fmt.Errorf("compile contract %s: column %s: %w", s.contract.ID, column.Name, err)
			}
			l.add(hidden(column, "fault"), expr)
		}
		s.layers = append(s.layers, l)
	}
	faults := make([]string, len(s.contract.Columns))
	names := make([]string, len(s.contract.Columns))
	for i := range s.contract.Columns {
		column := &s.contract.Columns[i]
		faults[i] = quote(hidden(column, "fault"))
		var cases []string
		for _, c := range checkCodes {
			cases = append(cases, fmt.Sprintf("WHEN %d THEN %s", c.code, literal(c.check+":"+column.Name)))
		}
		names[i] = fmt.Sprintf("CASE %s %s END", faults[i], strings.Join(cases, " "))
	}
	var ruled layer
	ruled.name = layerRules
	ruled.add(columnRules, fmt.Sprintf(`CASE
      WHEN "#reader_rule" IS NOT NULL THEN ["#reader_rule"]
      WHEN (%s) > 0 THEN list_filter([
        %s], lambda rule: rule IS NOT NULL) END`,
		anyOf(faults), strings.Join(names, ",\n        ")))
	s.layers = append(s.layers, ruled)
	return nil
}

// fault is the code of the check that a cell broke, the first of its column's
// in their order.
func (s *statement) fault(c *pipeline.ContractColumn, ingestTime time.Time) (string, error) {
	value := quote(c.Name)
	var cases []string
	when := func(condition string, fault int) {
		cases = append(cases, fmt.Sprintf("WHEN %s THEN %s", condition, code(fault)))
	}
	null := fmt.Sprintf("WHEN %s THEN %s", unread(c, value), code(faultType))
	none := code(faultNone)
	if c.Required {
		none = code(faultRequired)
	} else if on := c.RequiredWhen; on != nil && len(on.In) > 0 {
		other := s.contract.Column(on.Column)
		values := make([]string, len(on.In))
		for i, v := range on.In {
			values[i] = fmt.Sprintf("CAST(%s AS %s)", literal(v), other.StoredType())
		}
		null += fmt.Sprintf(" WHEN %s = 0 AND list_contains([%s], %s) THEN %s",
			quote(hidden(other, "fault")), strings.Join(values, ", "), quote(other.Name), code(faultRequired))
	}
	cases = append(cases, fmt.Sprintf("WHEN %s IS NULL THEN CASE %s ELSE %s END", value, null, none))
	asText := value
	if c.StoredType() != pipeline.TypeVarchar {
		asText = fmt.Sprintf("CAST(%s AS VARCHAR)", value)
	}
	if len(c.Enum) > 0 {
		when(fmt.Sprintf("NOT list_contains(%s, %s)", list(c.Enum), asText), faultEnum)
	}
	if c.Pattern != "" {
		when(fmt.Sprintf("NOT regexp_matches(%s, %s)", asText, literal(c.Pattern)), faultPattern)
	}
	if err := s.rangeChecks(c, when); err != nil {
		return "", err
	}
	if after := c.NotAfterIngestion; after != nil {
		limit := ingestTime.Add(*after)
		switch c.Type {
		case pipeline.ColumnInstant, pipeline.ColumnLocalTime:
			when(fmt.Sprintf("%s > %s", value, timestamp(limit)), faultFuture)
		case pipeline.ColumnDate:
			when(fmt.Sprintf("%s > %s", value, businessDay(timestamp(limit), s.zone)), faultFuture)
		default:
			return "", fmt.Errorf("a %s is no moment that could lie in the future", c.Type)
		}
	}
	return fmt.Sprintf("CASE\n      %s\n      ELSE %s END", strings.Join(cases, "\n      "), code(faultNone)), nil
}

// rangeChecks adds the bounds of a column: its own, and those that other
// columns give, where these are valid.
func (s *statement) rangeChecks(c *pipeline.ContractColumn, when func(string, int)) error {
	value := quote(c.Name)
	for _, bound := range []struct {
		text      *string
		exclusive bool
		op        string
	}{{c.Min, c.MinExclusive, "<"}, {c.Max, c.MaxExclusive, ">"}} {
		if bound.text == nil {
			continue
		}
		limit, compared, err := s.bound(c, *bound.text)
		if err != nil {
			return err
		}
		op := bound.op
		if bound.exclusive {
			op += "="
		}
		when(fmt.Sprintf("%s %s %s", compared, op, limit), faultRange)
	}
	if c.MaxExpr != "" {
		// An expression that overflows gives no bound.
		when(fmt.Sprintf("%s%s > TRY(%s)", s.valid(c, c.Uses), value, c.MaxExpr), faultRange)
	}
	if c.NotAfter != "" {
		when(fmt.Sprintf("%s%s > %s", s.valid(c, []string{c.NotAfter}), value, quote(c.NotAfter)), faultRange)
	}
	return nil
}

// valid is a condition, ending in AND, that other columns broke no rule.
func (s *statement) valid(c *pipeline.ContractColumn, names []string) string {
	var b strings.Builder
	for _, name := range names {
		if name != c.Name {
			fmt.Fprintf(&b, "%s = 0 AND ", quote(name+"#fault"))
		}
	}
	return b.String()
}

var (
	plainDecimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)
	plainDate    = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

// bound is a constant bound as SQL, and what is compared to it.
func (s *statement) bound(c *pipeline.ContractColumn, text string) (limit, compared string, err error) {
	value := quote(c.Name)
	switch c.Type {
	case pipeline.ColumnInteger, pipeline.ColumnDecimal, pipeline.ColumnDouble:
		if !plainDecimal.MatchString(text) {
			return "", "", fmt.Errorf("bound %q is no plain decimal number", text)
		}
		return text, value, nil
	case pipeline.ColumnDate, pipeline.ColumnInstant, pipeline.ColumnLocalTime:
		if !plainDate.MatchString(text) {
			return "", "", fmt.Errorf("bound %q is no date of the form YYYY-MM-DD", text)
		}
		if c.Type != pipeline.ColumnDate {
			value = businessDay(value, s.zone)
		}
		return "DATE " + literal(text), value, nil
	default:
		return "", "", fmt.Errorf("a %s has no order to be bounded in", c.Type)
	}
}

// timestamp is a moment as SQL, cut to microseconds.
func timestamp(t time.Time) string {
	return fmt.Sprintf("make_timestamptz(%d)", t.UnixMicro())
}

// anyOf joins expressions by |, in a tree: a chain of many columns is too deep
// for the engine's parser.
func anyOf(exprs []string) string {
	if len(exprs) == 1 {
		return exprs[0]
	}
	if len(exprs) <= 8 {
		return strings.Join(exprs, " | ")
	}
	half := len(exprs) / 2
	return "(" + anyOf(exprs[:half]) + ") | (" + anyOf(exprs[half:]) + ")"
}
