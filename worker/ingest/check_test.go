package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// noon is when the tests' rows are ingested.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// null is a cell that is absent, or a value that is null.
const null = "\x00null"

// checked is a row that the statement gave: values as text, and the rules that
// it broke.
type checked struct {
	values map[string]string
	rules  []string
}

// checkCells runs the statement of a contract over rows of cells, given in the
// order of its columns; those that are missing are null.
func checkCells(t *testing.T, c *pipeline.Contract, zone string, rows [][]string) []checked {
	t.Helper()
	return checkIn(t, openSession(t), c, zone, rows)
}

// checkIn is checkCells in a session that may be used again.
func checkIn(t *testing.T, session *engine.Session, c *pipeline.Contract, zone string, rows [][]string) []checked {
	t.Helper()
	s, err := compile(c, zone, noon)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	list := make([]string, len(rows))
	for i, row := range rows {
		cells := fmt.Sprintf("0, %d, 'raw %d'::BLOB, 5, NULL::VARCHAR, NULL::VARCHAR", i, i)
		for k := range c.Columns {
			cell := "NULL::VARCHAR"
			if k < len(row) && row[k] != null {
				cell = sqlText(row[k])
			}
			cells += ", " + cell
		}
		list[i] = "(" + cells + ")"
	}
	names := "file_index, row_number, raw, raw_size, reader_rule, extra"
	for k := range c.Columns {
		names += fmt.Sprintf(", c%d", k)
	}
	if err := session.Materialize(ctx, "test.cells", "SELECT * FROM (VALUES\n"+strings.Join(list, ",\n")+") AS cells("+names+")"); err != nil {
		t.Fatal(err)
	}
	if err := session.Materialize(ctx, "test.checked", s.over("test.cells")); err != nil {
		t.Fatal(err)
	}
	found, err := session.Query(ctx, `SELECT * EXCLUDE ("#file", "#raw", "#raw_size", "#extra") FROM test.checked ORDER BY "#row"`, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var result []checked
	for found.Next() {
		values, err := found.Values()
		if err != nil {
			t.Fatal(err)
		}
		row := checked{values: map[string]string{}}
		for i, column := range found.Columns() {
			switch {
			case column.Name == columnRules:
				if values[i] != nil {
					for _, rule := range values[i].([]any) {
						row.rules = append(row.rules, rule.(string))
					}
				}
			case values[i] == nil:
				row.values[column.Name] = null
			case column.Type == pipeline.TypeDate:
				row.values[column.Name] = values[i].(time.Time).Format(time.DateOnly)
			case column.Type == pipeline.TypeTimestampTZ:
				row.values[column.Name] = values[i].(time.Time).UTC().Format("2006-01-02T15:04:05.999999Z")
			default:
				row.values[column.Name] = fmt.Sprint(values[i])
			}
		}
		result = append(result, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	if len(result) != len(rows) {
		t.Fatalf("%d rows became %d", len(rows), len(result))
	}
	return result
}

func openSession(t *testing.T) *engine.Session {
	t.Helper()
	session, err := engine.Open(t.Context(), engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

// sqlText writes text of any characters as SQL.
func sqlText(text string) string {
	var b strings.Builder
	b.WriteString("'")
	for _, r := range text {
		switch {
		case r == '\'':
			b.WriteString("''")
		case r < ' ':
			fmt.Fprintf(&b, "' || chr(%d) || '", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteString("'")
	return "(" + b.String() + ")"
}

// valueCase is a cell and what it is read as: a value as text, null, or !rule.
type valueCase struct{ cell, want string }

// testValues checks cells of one column, each in a row of its own.
func testValues(t *testing.T, column pipeline.ContractColumn, zone string, cases []valueCase) {
	t.Helper()
	for _, fault := range misread(t, openSession(t), column, zone, cases) {
		t.Error(fault)
	}
}

// misread says which cells of a column are read otherwise than wanted.
func misread(t *testing.T, session *engine.Session, column pipeline.ContractColumn, zone string, cases []valueCase) []string {
	t.Helper()
	column.Name = "v"
	rows := make([][]string, len(cases))
	for i, c := range cases {
		rows[i] = []string{c.cell}
	}
	contract := &pipeline.Contract{ID: "test", Version: "1", Columns: []pipeline.ContractColumn{column}}
	var faults []string
	for i, row := range checkIn(t, session, contract, zone, rows) {
		got := row.values["v"]
		if len(row.rules) > 0 {
			got = "!" + strings.Join(row.rules, ",")
		}
		want := cases[i].want
		if len(want) > 1 && strings.HasPrefix(want, "!") && !strings.Contains(want, ":") {
			want += ":v"
		}
		if got != want {
			faults = append(faults, fmt.Sprintf("%q is %q, want %q", cases[i].cell, got, want))
		}
	}
	return faults
}

// fourFormats are the date formats of the shipped contracts' local times.
var fourFormats = []pipeline.DateFormat{
	{Text: "YYYY-MM-DD", Order: pipeline.OrderYMD, Separator: "-"},
	{Text: "YYYY/MM/DD", Order: pipeline.OrderYMD, Separator: "/"},
	{Text: "DD.MM.YYYY", Order: pipeline.OrderDMY, Separator: "."},
	{Text: "DD/MM/YYYY", Order: pipeline.OrderDMY, Separator: "/"},
}

// money is the type of the shipped contracts' amounts.
var money = pipeline.ContractColumn{
	Type: pipeline.ColumnDecimal, Precision: 18, Scale: 4, ThousandsSeparator: ",", CurrencySymbols: []string{"$", "€", "£", "¥"},
}

// nfc normalises as the statement should.
func nfc(text string) string { return norm.NFC.String(text) }
