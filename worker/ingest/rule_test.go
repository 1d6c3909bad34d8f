package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoplake/shoplake/internal/pipeline"
)

func integer(name string) pipeline.ContractColumn {
	return pipeline.ContractColumn{Name: name, Type: pipeline.ColumnInteger}
}

// testRules checks rows of a contract; want are each row's rules.
func testRules(t *testing.T, c *pipeline.Contract, rows [][]string, want []string) {
	t.Helper()
	for i, row := range checkCells(t, c, "UTC", rows) {
		if got := strings.Join(row.rules, " "); got != want[i] {
			t.Errorf("%q broke %q, want %q", rows[i], got, want[i])
		}
	}
}

// TestBoundsBetweenColumns checks a bound only where what it is made of is
// valid, whatever the order of the columns.
func TestBoundsBetweenColumns(t *testing.T) {
	t.Parallel()
	zero := "0"
	low, middle, high := integer("low"), integer("middle"), integer("high")
	low.MaxExpr, low.Uses = "middle + 1", []string{"middle"}
	middle.NotAfter, middle.Min = "high", &zero
	high.Required = true
	c := &pipeline.Contract{ID: "test", Columns: []pipeline.ContractColumn{low, middle, high}}
	testRules(t, c, [][]string{
		{"1", "2", "3"}, {"3", "2", "3"}, {"4", "2", "3"}, {"9", "4", "3"}, {"9", "-1", "3"}, {"9", "x", "3"}, {"9", "2", null}, {"9", null, "3"}, {null, "2", "3"}, {"x", "9", "x"},
		{"1", "9223372036854775807", "9223372036854775807"},
	}, []string{
		"", "", "range:low", "range:middle", "range:middle", "type:middle", "range:low required:high", "", "", "type:low type:high",
		"", // middle + 1 does not fit: no bound
	})
}

func TestRequiredWhen(t *testing.T) {
	t.Parallel()
	c := &pipeline.Contract{ID: "test", Columns: []pipeline.ContractColumn{
		{Name: "value", Type: pipeline.ColumnDecimal, Precision: 9, Scale: 2, RequiredWhen: &pipeline.RequiredWhen{Column: "kind", In: []string{"a", "it's"}}},
		{Name: "kind", Type: pipeline.ColumnString, Enum: []string{"a", "it's", "c"}},
		{Name: "when_two", Type: pipeline.ColumnString, RequiredWhen: &pipeline.RequiredWhen{Column: "value", In: []string{"2", "3.50"}}},
	}}
	testRules(t, c, [][]string{
		{null, "A", null}, {null, "it's", null}, {null, "c", null}, {null, "d", null}, {null, null, null}, {"1", "a", null}, {"2.0", "c", null}, {"3.5", "c", null}, {"3.5", "c", "x"}, {"x", "a", null},
	}, []string{
		"required:value", "required:value", "", "enum:kind", "", "", "required:when_two", "required:when_two", "", "type:value",
	})
}

// TestOneRuleACell keeps to the order of the checks.
func TestOneRuleACell(t *testing.T) {
	t.Parallel()
	day, least, most := time.Duration(0), "2026-01-01", "2026-12-31"
	code := pipeline.ContractColumn{Name: "code", Type: pipeline.ColumnString, Enum: []string{"aa", "b"}, Pattern: "^..$"}
	at := pipeline.ContractColumn{Name: "at", Type: pipeline.ColumnInstant, Min: &least, Max: &most, NotAfterIngestion: &day}
	number := integer("number")
	number.Pattern = "^1"
	on := pipeline.ContractColumn{Name: "on_day", Type: pipeline.ColumnDate, DateFormats: fourFormats, NotAfterIngestion: &day}
	testRules(t, &pipeline.Contract{ID: "test", Columns: []pipeline.ContractColumn{code, at, number, on}}, [][]string{
		{"AA", "2026-01-01T00:00:00Z", "12", "2026-03-01"}, {"B", "2025-12-31T23:59:59Z", "21", "2026-03-02"}, {"ccc", "2027-01-01T00:00:00Z", null, null}, {null, "2026-12-31T23:59:59.999999Z", "1", null}, {"aa", "2026-03-01T12:00:00.000001Z", "1", null},
	}, []string{
		"", "pattern:code range:at pattern:number future:on_day", "enum:code range:at", "future:at", "future:at",
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	zero, default7 := "0", "7"
	a, b, c := integer("a"), integer("b"), integer("c")
	a.DefaultColumn, b.DefaultColumn = "b", "c"
	c.DefaultValue, c.Min = &default7, &zero
	d := pipeline.ContractColumn{Name: "d", Type: pipeline.ColumnString, Required: true, DefaultColumn: "a"}
	contract := &pipeline.Contract{ID: "test", Columns: []pipeline.ContractColumn{a, b, c, d}}
	for i, row := range checkCells(t, contract, "UTC", [][]string{{"1", "2", "3", "x"}, {null, "2", "3", null}, {"-", "", "3"}, {}, {null, "x", "3"}, {null, null, "-1"}}) {
		got := row.values["a"] + row.values["b"] + row.values["c"] + row.values["d"] + fmt.Sprint(row.rules)
		want := []string{"123x[]", "2232[]", "3333[]", "7777[]", "3" + null + "33[type:b]", "-1-1-1-1[range:c]"}[i]
		if got != want {
			t.Errorf("row %d is %q, want %q", i, got, want)
		}
	}
}

// TestWideContract has more columns than an expression of the engine may be deep
// with a chain of them.
func TestWideContract(t *testing.T) {
	t.Parallel()
	c := &pipeline.Contract{ID: "wide"}
	var cells, want []string
	for i := range 250 {
		column := pipeline.ContractColumn{Name: fmt.Sprintf("column_%d", i), Type: []pipeline.ColumnType{pipeline.ColumnString, pipeline.ColumnInteger, pipeline.ColumnDecimal, pipeline.ColumnInstant}[i%4], Precision: 18, Scale: 4, Required: i%10 == 0}
		c.Columns = append(c.Columns, column)
		cells = append(cells, "1")
		if i%50 == 0 {
			cells[i] = ""
			want = append(want, "required:"+column.Name)
		}
	}
	if row := checkCells(t, c, "UTC", [][]string{cells})[0]; !slices.Equal(row.rules, want) {
		t.Errorf("the row broke %v", row.rules)
	}
}

func TestRefusedContracts(t *testing.T) {
	t.Parallel()
	a, b := integer("a"), integer("b")
	a.NotAfter, b.NotAfter = "b", "a"
	bound, day := "1); DROP", time.Hour
	wrong := integer("w")
	wrong.Min = &bound
	for name, columns := range map[string][]pipeline.ContractColumn{
		"no columns":            nil,
		"in a circle":           {a, b},
		"does not have":         {a},
		"no plain decimal":      {wrong},
		"cannot contain":        {integer("x#y")},
		"unknown type":          {{Name: "x", Type: "blob"}},
		"no date format":        {{Name: "x", Type: pipeline.ColumnDate}},
		"precision":             {{Name: "x", Type: pipeline.ColumnDecimal, Precision: 39}},
		"no moment":             {{Name: "x", Type: pipeline.ColumnString, NotAfterIngestion: &day}},
		"has no order":          {{Name: "x", Type: pipeline.ColumnString, Min: &bound}},
		"is no date":            {{Name: "x", Type: pipeline.ColumnDate, Min: &bound, DateFormats: fourFormats}},
		"one or two digits":     {{Name: "x", Type: pipeline.ColumnDate, DateFormats: []pipeline.DateFormat{{Text: "MD", Order: pipeline.OrderYMD, Loose: true}}}},
		"unknown order \"YDM\"": {{Name: "x", Type: pipeline.ColumnDate, DateFormats: []pipeline.DateFormat{{Order: "YDM", Separator: "/"}}}},
	} {
		_, err := compile(&pipeline.Contract{ID: "test", Columns: columns}, "UTC", noon)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	sql := Explain(shipped(t).Source("orders").Contract)
	for _, part := range []string{"read_parquet(['records.parquet'])", `AS "order_id#fault"`, "'range:discount'", "quantity * unit_price"} {
		if !strings.Contains(sql, part) {
			t.Errorf("%s is not in the statement:\n%s", part, sql)
		}
	}
	if sql := Explain(&pipeline.Contract{ID: "none"}); !strings.HasPrefix(sql, "-- ") {
		t.Errorf("a contract without columns is explained as %s", sql)
	}
}
