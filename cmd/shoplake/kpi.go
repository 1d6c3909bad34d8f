package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"
	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newKPI() *cobra.Command {
	var (
		conn   connection
		out    format
		days   span
		params map[string]string
		asOf   string
		plot   bool
	)
	cmd := &cobra.Command{
		Use:   "kpi NAME",
		Short: "Ask a KPI, or list them",
		Long: `Ask a KPI of the active pipeline, from what is published. "shoplake kpi list" tells which there are and their parameters.

Tables for people show money in its currency's minor unit; JSON and CSV have every digit.`,
		Example: `  shoplake kpi list
  shoplake kpi total_revenue --from 2026-01-01 --to 2026-02-01
  shoplake kpi top_products -p limit=5 -o json
  shoplake kpi daily_revenue --plot`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("give the name of one KPI; the list is: shoplake kpi list")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := days.check(); err != nil {
				return err
			}
			q := client.KPIQuery{From: days.from.Date, To: days.to.Date, Parameters: params}
			if asOf != "" {
				at, err := time.Parse(time.RFC3339, asOf)
				if err != nil {
					return usageError{fmt.Errorf("--as-of %q is not a time such as 2026-03-01T12:00:00Z", asOf)}
				}
				q.AsOf = at
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				rows, err := c.QueryRows(ctx, args[0], q)
				if err != nil {
					return err
				}
				g, err := gridOf(rows)
				if err != nil {
					return fmt.Errorf("query %s: %w", args[0], err)
				}
				if plot {
					return plotByDay(cmd.OutOrStdout(), args[0], g, 0)
				}
				return out.print(cmd.OutOrStdout(), g)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	days.flags(cmd)
	cmd.Flags().StringToStringVarP(&params, "param", "p", nil, "value of a declared parameter, name=value; may be repeated")
	cmd.Flags().StringVar(&asOf, "as-of", "", "answer from what was published at this time (RFC 3339; default: now)")
	cmd.Flags().BoolVar(&plot, "plot", false, "draw the first amount by day instead of printing rows")
	cmd.AddCommand(newKPIList())
	return cmd
}

func newKPIList() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the KPIs with their parameters",
		Example: "  shoplake kpi list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				g := &grid{columns: columns("name", "title", "parameters", "description", "chart", "columns", "parameters", "sql")}
				g.columns[2].only, g.columns[4].only, g.columns[5].only, g.columns[6].only, g.columns[7].only = "table,csv", "json,csv", "json", "json", "json"
				err := pages(0, func(token string, size int32) (string, int, error) {
					resp, err := c.KPIs.ListKpis(ctx, &shoplakev1.ListKpisRequest{PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list KPIs: %w", err)
					}
					for _, k := range resp.GetKpis() {
						params := &grid{columns: columns("name", "type", "default", "description")}
						var short []string
						for _, p := range k.GetParameters() {
							params.add(p.GetName(), p.GetType(), nonEmpty(p.GetDefaultValue()), nonEmpty(p.GetDescription()))
							short = append(short, p.GetName()+"="+p.GetDefaultValue())
						}
						g.add(id(k.GetName()), k.GetTitle(), short, nonEmpty(k.GetDescription()), nonEmpty(k.GetChart()), columnGrid(k.GetColumns()), params, k.GetSql())
					}
					return resp.GetNextPageToken(), len(resp.GetKpis()), nil
				})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), g)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func columnGrid(cols []*shoplakev1.Column) *grid {
	g := &grid{columns: columns("name", "type", "scale", "unit", "nullable")}
	for _, c := range cols {
		var scale any
		if c.GetType() == shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL {
			scale = int64(c.GetScale())
		}
		g.add(c.GetName(), columnType(c), scale, nonEmpty(c.GetUnit()), c.GetNullable())
	}
	return g
}

func columnType(c *shoplakev1.Column) string { return word(c.GetType().String(), "COLUMN_TYPE_") }

// A plot leaves room for its scale on a terminal of 80 columns.
const (
	plotHeight = 10
	plotWidth  = 66
)

// plotByDay draws the first column of decimals over the days; amounts of different currencies get a plot each, at most as
// many as are asked for, in the order in which they come (0 for all).
func plotByDay(w io.Writer, name string, g *grid, most int) error {
	if len(g.rows) == 0 {
		_, err := fmt.Fprintln(w, "(no rows)")
		return err
	}
	day, amount, money := -1, -1, -1
	for j := range g.columns {
		switch g.rows[0][j].(type) {
		case client.Date:
			day = j
		case client.Decimal:
			if amount < 0 {
				amount = j
			}
		}
		if g.columns[j].name == "currency" {
			money = j
		}
	}
	if day < 0 || amount < 0 {
		return fmt.Errorf("plot %s: it has no day or no amount; print it as a table", name)
	}
	var (
		order  []string
		series = map[string][]float64{}
	)
	for _, row := range g.rows {
		unit := ""
		if money >= 0 {
			unit, _ = row[money].(string)
		}
		if _, known := series[unit]; !known {
			order = append(order, unit)
		}
		value, _ := row[amount].(client.Decimal)
		series[unit] = append(series[unit], value.Float64())
	}
	first, last := g.rows[0][day], g.rows[len(g.rows)-1][day]
	for i, unit := range order {
		if most > 0 && i >= most {
			break
		}
		title := strings.TrimSpace(fmt.Sprintf("%s by day %s", g.columns[amount].name, unit))
		plot := asciigraph.Plot(series[unit], asciigraph.Height(plotHeight), asciigraph.Width(plotWidth), asciigraph.Precision(0),
			asciigraph.Caption(fmt.Sprintf("%s, %s to %s", title, plainCell(first), plainCell(last))))
		if _, err := fmt.Fprintf(w, "%s\n\n", plot); err != nil {
			return err
		}
	}
	return nil
}
