package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newQuarantine() *cobra.Command {
	return parent("quarantine", "Show the rows that broke a rule", newQuarantineList(), newQuarantineSummary(), newQuarantineGet())
}

func sourceName(s string) string { return "sources/" + strings.TrimPrefix(s, "sources/") }

func newQuarantineList() *cobra.Command {
	var (
		conn       connection
		out        format
		limit      int
		rule, file string
	)
	cmd := &cobra.Command{
		Use:   "list SOURCE",
		Short: "List quarantined rows, each with its raw text and the rules that it broke",
		Example: `  shoplake quarantine list orders
  shoplake quarantine list orders --rule type:unit_price --file 2026-01-05.csv -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				all := quarantineGrid()
				var total int64
				err := pages(limit, func(token string, size int32) (string, int, error) {
					resp, err := c.Quarantine.ListQuarantinedRows(ctx, &shoplakev1.ListQuarantinedRowsRequest{
						Parent: sourceName(args[0]), PageSize: size, PageToken: token, Rule: rule, SourceFile: file,
					})
					if err != nil {
						return "", 0, fmt.Errorf("list the quarantined rows of %s: %w", args[0], err)
					}
					total = resp.GetTotalSize()
					all.rows = append(all.rows, quarantineGrid(resp.GetQuarantinedRows()...).rows...)
					return resp.GetNextPageToken(), len(resp.GetQuarantinedRows()), nil
				})
				if err != nil {
					return err
				}
				if err := out.print(cmd.OutOrStdout(), all); err != nil {
					return err
				}
				if more := total - int64(len(all.rows)); more > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s more: see them with --limit 0, or count them with: shoplake quarantine summary %s\n", plural(more, "row"), args[0])
				}
				return nil
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0 for all")
	cmd.Flags().StringVar(&rule, "rule", "", "only rows that broke this rule, for example type:unit_price")
	cmd.Flags().StringVar(&file, "file", "", "only rows of this file")
	return cmd
}

func quarantineGrid(rows ...*shoplakev1.QuarantinedRow) *grid {
	g := &grid{columns: columns("id", "source_file", "row_number", "rules", "raw", "raw_base64", "raw_size", "ingest_time", "run", "contract_version")}
	for i, c := range g.columns {
		switch c.name {
		case "id", "raw_size", "run", "contract_version":
			g.columns[i].only = "json,csv"
		case "raw_base64":
			g.columns[i].only = "json"
		}
	}
	for _, r := range rows {
		g.add(id(r.GetName()), r.GetSourceFile(), r.GetRowNumber(), r.GetRules(), strings.ToValidUTF8(string(r.GetRaw()), "�"), r.GetRaw(), r.GetRawSize(),
			at(r.GetIngestTime()), nonEmpty(id(r.GetRun())), nonEmpty(r.GetContractVersion()))
	}
	return g
}

func newQuarantineSummary() *cobra.Command {
	var (
		conn   connection
		out    format
		byFile bool
	)
	cmd := &cobra.Command{
		Use:     "summary SOURCE",
		Short:   "Count quarantined rows by rule, or by file",
		Example: "  shoplake quarantine summary orders --by-file",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				resp, err := c.Quarantine.SummarizeQuarantine(ctx, &shoplakev1.SummarizeQuarantineRequest{Parent: sourceName(args[0])})
				if err != nil {
					return fmt.Errorf("count the quarantined rows of %s: %w", args[0], err)
				}
				g := &grid{columns: columns("rule", "rows")}
				if byFile {
					g.columns = columns("source_file", "rows")
					for _, f := range resp.GetFiles() {
						g.add(f.GetSourceFile(), f.GetRows())
					}
				} else {
					for _, r := range resp.GetRules() {
						g.add(r.GetRule(), r.GetRows())
					}
				}
				if err := out.print(cmd.OutOrStdout(), g); err != nil {
					return err
				}
				if out.value == "table" {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in all; one that broke several rules counts in each\n", plural(resp.GetRows(), "row"))
				}
				return err
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().BoolVar(&byFile, "by-file", false, "count by file instead of by rule")
	return cmd
}

func newQuarantineGet() *cobra.Command {
	var (
		conn connection
		out  format
		raw  bool
	)
	cmd := &cobra.Command{
		Use:     "get SOURCE ID",
		Short:   "Show one quarantined row, or write its raw bytes",
		Example: "  shoplake quarantine get orders 0123456789abcdef0123456789abcdef --raw > row.csv",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				name := sourceName(args[0]) + "/quarantinedRows/" + id(args[1])
				row, err := c.Quarantine.GetQuarantinedRow(ctx, &shoplakev1.GetQuarantinedRowRequest{Name: name})
				if err != nil {
					return fmt.Errorf("get %s: %w", name, err)
				}
				switch {
				case raw:
					_, err := cmd.OutOrStdout().Write(row.GetRaw())
					return err
				case out.value == "table":
					return printQuarantined(cmd.OutOrStdout(), row)
				default:
					return out.print(cmd.OutOrStdout(), quarantineGrid(row))
				}
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "write the row's bytes as they were read, and nothing else")
	return cmd
}

func printQuarantined(w io.Writer, row *shoplakev1.QuarantinedRow) error {
	g := quarantineGrid(row)
	g.rows[0][4], g.rows[0][5] = fmt.Sprintf("%q", row.GetRaw()), nil
	return printFacts(w, g, 0)
}
