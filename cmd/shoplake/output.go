package main

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/text/currency"

	"github.com/shoplake/shoplake/client"
)

// format is -o.
type format struct{ choiceFlag }

func (f *format) flags(cmd *cobra.Command) {
	f.choiceFlag = choiceFlag{value: "table", choices: []string{"table", "json", "csv"}}
	cmd.Flags().VarP(&f.choiceFlag, "output", "o", "how to print: for people, as one JSON array of objects, or as CSV")
}

// grid is what commands print: rows under columns. A cell is nil, a string, int64, float64, bool, client.Decimal, client.Date,
// time.Time, time.Duration, []byte, json.RawMessage, []string or a *grid of its own (JSON only).
type grid struct {
	columns []column
	rows    [][]any
}

type column struct {
	name string
	// unit is "currency", an ISO 4217 code or "bytes" where a table for people shows the value otherwise than it is.
	unit string
	// only names the formats that have the column; empty is all.
	only string
	// sparse columns are left out of a table for people that has nothing in them.
	sparse bool
	// wide columns are not cut in a table for people, but go on in the next line; of once columns it shows a text only where it differs from the one above.
	wide, once bool
}

// title is a column's name for people: values are shown with their unit there.
func (c column) title() string {
	if title, ok := titles[c.name]; ok {
		return title
	}
	return c.name
}

var titles = map[string]string{
	"queued_seconds": "queued", "running_seconds": "running", "duration_seconds": "took", "rows_quarantined": "quarantined",
	"bytes_out": "size", "size_bytes": "size", "memory_limit_bytes": "memory",
}

func columns(names ...string) []column {
	out := make([]column, len(names))
	for i, n := range names {
		name, unit, _ := strings.Cut(n, ":")
		out[i] = column{name: name, unit: unit}
	}
	return out
}

func (g *grid) add(cells ...any) { g.rows = append(g.rows, cells) }

// gridOf takes over an answer's rows.
func gridOf(rows *client.Rows) (*grid, error) {
	g := &grid{}
	for _, c := range rows.Columns() {
		g.columns = append(g.columns, column{name: c.GetName(), unit: c.GetUnit()})
	}
	for i := range rows.Len() {
		values, err := rows.Values(i)
		if err != nil {
			return nil, err
		}
		g.rows = append(g.rows, values)
	}
	return g, nil
}

// print writes the grid in the chosen format.
func (f *format) print(w io.Writer, g *grid) error {
	switch f.value {
	case "json":
		var b bytes.Buffer
		if err := writeJSON(&b, g, ""); err != nil {
			return err
		}
		b.WriteByte('\n')
		_, err := w.Write(b.Bytes())
		return err
	case "csv":
		return writeCSV(w, g)
	default:
		return writeTable(w, g)
	}
}

// writeJSON writes one array of objects, their keys in the order of the columns.
func writeJSON(b *bytes.Buffer, g *grid, indent string) error {
	if len(g.rows) == 0 {
		b.WriteString("[]")
		return nil
	}
	b.WriteByte('[')
	for i, row := range g.rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + indent + "  {")
		first := true
		for j, c := range g.columns {
			if c.only != "" && !strings.Contains(c.only, "json") {
				continue
			}
			if !first {
				b.WriteString(", ")
			}
			first = false
			key, err := jsonText(c.name)
			if err != nil {
				return err
			}
			b.Write(key)
			b.WriteString(": ")
			if nested, ok := row[j].(*grid); ok {
				if err := writeJSON(b, nested, indent+"  "); err != nil {
					return err
				}
				continue
			}
			cell, err := jsonCell(row[j])
			if err != nil {
				return fmt.Errorf("print column %s: %w", c.name, err)
			}
			b.Write(cell)
		}
		b.WriteByte('}')
	}
	b.WriteString("\n" + indent + "]")
	return nil
}

// writeJSONLine writes the grid's only row as one object in one line.
func writeJSONLine(w io.Writer, g *grid) error {
	var b, line bytes.Buffer
	if err := writeJSON(&b, g, ""); err != nil {
		return err
	}
	if err := json.Compact(&line, b.Bytes()); err != nil {
		return fmt.Errorf("print a line of JSON: %w", err)
	}
	_, err := w.Write(append(bytes.TrimSuffix(bytes.TrimPrefix(line.Bytes(), []byte("[")), []byte("]")), '\n'))
	return err
}

func jsonCell(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return []byte("null"), nil
	case string:
		return jsonText(v)
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case client.Decimal:
		return []byte(v.String()), nil
	case float64:
		// JSON has no number for these.
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return []byte("null"), nil
		}
		return json.Marshal(v)
	case json.RawMessage:
		return v, nil
	case []string:
		if v == nil {
			v = []string{}
		}
		return jsonText(v)
	case time.Duration:
		return strconv.AppendFloat(nil, v.Seconds(), 'f', 3, 64), nil
	case bool, client.Date, time.Time, []byte:
		return jsonText(v)
	default:
		return nil, fmt.Errorf("a %T has no JSON form", v)
	}
}

// jsonText marshals without escaping < and >, which are common in texts and harmless in a terminal.
func jsonText(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func writeCSV(w io.Writer, g *grid) error {
	out := csv.NewWriter(w)
	var cells []string
	for _, c := range g.columns {
		if c.only == "" || strings.Contains(c.only, "csv") {
			cells = append(cells, c.name)
		}
	}
	if err := out.Write(cells); err != nil {
		return err
	}
	for _, row := range g.rows {
		cells = cells[:0]
		for j, c := range g.columns {
			if c.only == "" || strings.Contains(c.only, "csv") {
				cells = append(cells, plainCell(row[j]))
			}
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// plainCell is a cell as exact text; a null is empty.
func plainCell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case time.Duration:
		return strconv.FormatFloat(v.Seconds(), 'f', 3, 64)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case json.RawMessage:
		return string(v)
	case []string:
		return strings.Join(v, ";")
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// widestCell bounds a cell of a table for people; JSON and CSV have the whole.
const widestCell = 72

// widestText is where texts of wide columns go on in the next line.
const widestText = 96

func writeTable(w io.Writer, g *grid) error {
	if len(g.rows) == 0 {
		_, err := fmt.Fprintln(w, "(no rows)")
		return err
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Options.SeparateColumns = false
	t.Style().Options.DrawBorder = false
	var (
		header  table.Row
		shown   []int
		configs []table.ColumnConfig
		money   = -1
	)
	for j, c := range g.columns {
		if c.name == "currency" {
			money = j
		}
		if (c.only != "" && !strings.Contains(c.only, "table")) || (c.sparse && g.empty(j)) {
			continue
		}
		shown = append(shown, j)
		header = append(header, c.title())
		cfg := table.ColumnConfig{Number: len(shown)}
		if g.numeric(j) {
			cfg.Align, cfg.AlignHeader = text.AlignRight, text.AlignRight
		}
		if c.wide {
			cfg.WidthMax, cfg.WidthMaxEnforcer = widestText, text.WrapSoft
		}
		configs = append(configs, cfg)
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for i, row := range g.rows {
		var cells table.Row
		for _, j := range shown {
			unit := g.columns[j].unit
			if unit == "currency" && money >= 0 {
				unit, _ = row[money].(string)
			}
			switch whole, isText := row[j].(string); {
			case g.columns[j].once && i > 0 && row[j] == g.rows[i-1][j]:
				cells = append(cells, "")
			case g.columns[j].wide && isText:
				cells = append(cells, oneLine(whole))
			default:
				cells = append(cells, shownCell(row[j], unit))
			}
		}
		t.AppendRow(cells)
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

// empty tells whether a column holds nulls and zeros only.
func (g *grid) empty(j int) bool {
	for _, row := range g.rows {
		if row[j] != nil && row[j] != int64(0) {
			return false
		}
	}
	return true
}

// numeric tells whether a column's values are numbers, which stand to the right.
func (g *grid) numeric(j int) bool {
	for _, row := range g.rows {
		switch row[j].(type) {
		case nil:
		case int64, float64, client.Decimal, time.Duration:
			return true
		default:
			return false
		}
	}
	return false
}

// shownCell is a cell for people: money in its currency's minor unit, times to the second, one line, not too wide.
func shownCell(v any, unit string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case client.Decimal:
		if u, err := currency.ParseISO(unit); err == nil {
			places, _ := currency.Standard.Rounding(u)
			return v.Round(int32(places)).String()
		}
		return v.String()
	case int64:
		if unit == "bytes" {
			return size(v)
		}
		return strconv.FormatInt(v, 10)
	case time.Time:
		return v.Local().Format(time.DateTime)
	case time.Duration:
		return duration(v)
	case []string:
		return cut(strings.Join(v, ", "))
	case []byte:
		return cut(strconv.QuoteToGraphic(string(v)))
	default:
		return cut(plainCell(v))
	}
}

// oneLine is a text without control characters, which would move the terminal's cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

func cut(s string) string {
	s = oneLine(s)
	if text.StringWidthWithoutEscSequences(s) <= widestCell {
		return s
	}
	return text.Trim(s, widestCell-1) + "…"
}

// duration is a time that people can compare: 0.4s, 12.3s, 4m10s.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	default:
		return d.Round(time.Second).String()
	}
}

// rawJSON marks bytes as JSON text.
func rawJSON(b []byte) json.RawMessage { return b }
