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

func newTables() *cobra.Command {
	return parent("tables", "List, show and preview the lake's tables", newTablesList(), newTablesGet(), newTablesPreview())
}

func newTablesList() *cobra.Command {
	var (
		conn connection
		out  format
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tables as they are published",
		Example: "  shoplake tables list -o csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				all := tableGrid()
				err := pages(0, func(token string, size int32) (string, int, error) {
					resp, err := c.Tables.ListTables(ctx, &shoplakev1.ListTablesRequest{PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list tables: %w", err)
					}
					all.rows = append(all.rows, tableGrid(resp.GetTables()...).rows...)
					return resp.GetNextPageToken(), len(resp.GetTables()), nil
				})
				if err != nil {
					return err
				}
				return out.print(cmd.OutOrStdout(), all)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	return cmd
}

func tableGrid(tables ...*shoplakev1.Table) *grid {
	g := &grid{columns: columns("table", "layer", "rows", "data_files", "size_bytes:bytes", "partition", "key", "update_time", "snapshot_id", "inputs", "location")}
	for i, c := range g.columns {
		switch c.name {
		case "layer", "snapshot_id", "inputs", "location":
			g.columns[i].only = "json,csv"
		}
	}
	for _, t := range tables {
		var snapshot any
		if t.GetSnapshotId() != 0 {
			snapshot = t.GetSnapshotId()
		}
		g.add(id(t.GetName()), t.GetLayer(), t.GetRows(), t.GetDataFiles(), t.GetSizeBytes(), nonEmpty(t.GetPartition()), t.GetKey(),
			at(t.GetUpdateTime()), snapshot, t.GetInputs(), nonEmpty(t.GetLocation()))
	}
	return g
}

// tableParts are what `tables get` can list instead of the table itself.
type tableParts struct{ snapshots, partitions, files bool }

func newTablesGet() *cobra.Command {
	var (
		conn  connection
		out   format
		parts tableParts
		limit int
	)
	cmd := &cobra.Command{
		Use:   "get TABLE",
		Short: "Show a table: columns, key, what it reads, its SQL; or its snapshots, partitions or files",
		Example: `  shoplake tables get gold.fact_order_line
  shoplake tables get silver.orders --partitions
  shoplake tables get silver.orders --snapshots -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				name := tableName(args[0])
				switch {
				case parts.snapshots:
					return listSnapshots(ctx, c, cmd.OutOrStdout(), &out, name, limit)
				case parts.partitions:
					return listPartitions(ctx, c, cmd.OutOrStdout(), &out, name, limit)
				case parts.files:
					return listDataFiles(ctx, c, cmd.OutOrStdout(), &out, name, limit)
				}
				t, err := c.Tables.GetTable(ctx, &shoplakev1.GetTableRequest{Name: name})
				if err != nil {
					return fmt.Errorf("get %s: %w", name, err)
				}
				return printTable(cmd.OutOrStdout(), &out, t)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().BoolVar(&parts.snapshots, "snapshots", false, "list the snapshots, the newest first")
	cmd.Flags().BoolVar(&parts.partitions, "partitions", false, "list the partitions")
	cmd.Flags().BoolVar(&parts.files, "files", false, "list the data files")
	cmd.Flags().IntVar(&limit, "limit", 0, "how many of these at most; 0 for all")
	cmd.MarkFlagsMutuallyExclusive("snapshots", "partitions", "files")
	return cmd
}

func tableName(s string) string { return "tables/" + strings.TrimPrefix(s, "tables/") }

func printTable(w io.Writer, out *format, t *shoplakev1.Table) error {
	if out.value == "json" {
		g := tableGrid(t)
		g.columns = append(g.columns, columns("columns", "sql")...)
		g.rows[0] = append(g.rows[0], columnGrid(t.GetColumns()), nonEmpty(t.GetSql()))
		return out.print(w, g)
	}
	if out.value == "table" {
		if err := printFacts(w, tableGrid(t), 0); err != nil {
			return err
		}
	}
	if err := out.print(w, columnGrid(t.GetColumns())); err != nil {
		return err
	}
	if out.value == "table" && t.GetSql() != "" {
		_, err := fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(t.GetSql()))
		return err
	}
	return nil
}

// printFacts shows a row as lines of name and value; every column, and nothing for a null.
func printFacts(w io.Writer, g *grid, row int) error {
	widest := 0
	for _, c := range g.columns {
		widest = max(widest, len(c.name))
	}
	for j, c := range g.columns {
		if _, nested := g.rows[row][j].(*grid); nested {
			continue
		}
		text := shownCell(g.rows[row][j], c.unit)
		if s, ok := g.rows[row][j].(string); ok {
			text = s
		}
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", widest, c.name, text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func listSnapshots(ctx context.Context, c *client.Client, w io.Writer, out *format, name string, limit int) error {
	g := &grid{columns: columns("snapshot_id", "parent_id", "commit_time", "operation", "published", "run", "summary")}
	g.columns[6].only = "json"
	err := pages(limit, func(token string, size int32) (string, int, error) {
		resp, err := c.Tables.ListSnapshots(ctx, &shoplakev1.ListSnapshotsRequest{Parent: name, PageSize: size, PageToken: token})
		if err != nil {
			return "", 0, fmt.Errorf("list the snapshots of %s: %w", name, err)
		}
		for _, s := range resp.GetSnapshots() {
			summary, err := jsonText(s.GetSummary())
			if err != nil {
				return "", 0, err
			}
			var parent any
			if s.GetParentId() != 0 {
				parent = s.GetParentId()
			}
			g.add(s.GetSnapshotId(), parent, at(s.GetCommitTime()), s.GetOperation(), s.GetPublished(), nonEmpty(s.GetSummary()["shoplake.run"]), rawJSON(summary))
		}
		return resp.GetNextPageToken(), len(resp.GetSnapshots()), nil
	})
	if err != nil {
		return err
	}
	return out.print(w, g)
}

func listPartitions(ctx context.Context, c *client.Client, w io.Writer, out *format, name string, limit int) error {
	g := &grid{columns: columns("partition", "rows", "data_files", "size_bytes:bytes")}
	err := pages(limit, func(token string, size int32) (string, int, error) {
		resp, err := c.Tables.ListPartitions(ctx, &shoplakev1.ListPartitionsRequest{Parent: name, PageSize: size, PageToken: token})
		if err != nil {
			return "", 0, fmt.Errorf("list the partitions of %s: %w", name, err)
		}
		for _, p := range resp.GetPartitions() {
			g.add(nonEmpty(p.GetValue()), p.GetRows(), p.GetDataFiles(), p.GetSizeBytes())
		}
		return resp.GetNextPageToken(), len(resp.GetPartitions()), nil
	})
	if err != nil {
		return err
	}
	return out.print(w, g)
}

func listDataFiles(ctx context.Context, c *client.Client, w io.Writer, out *format, name string, limit int) error {
	g := &grid{columns: columns("path", "partition", "rows", "size_bytes:bytes")}
	err := pages(limit, func(token string, size int32) (string, int, error) {
		resp, err := c.Tables.ListDataFiles(ctx, &shoplakev1.ListDataFilesRequest{Parent: name, PageSize: size, PageToken: token})
		if err != nil {
			return "", 0, fmt.Errorf("list the data files of %s: %w", name, err)
		}
		for _, f := range resp.GetDataFiles() {
			g.add(f.GetPath(), nonEmpty(f.GetPartition()), f.GetRows(), f.GetSizeBytes())
		}
		return resp.GetNextPageToken(), len(resp.GetDataFiles()), nil
	})
	if err != nil {
		return err
	}
	return out.print(w, g)
}

func newTablesPreview() *cobra.Command {
	var (
		conn  connection
		out   format
		limit int32
	)
	cmd := &cobra.Command{
		Use:     "preview TABLE",
		Short:   "Print the first rows of a table",
		Example: "  shoplake tables preview gold.dim_product --limit 5",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				rows, err := c.Preview(ctx, tableName(args[0]), limit)
				if err != nil {
					return err
				}
				g, err := gridOf(rows)
				if err != nil {
					return fmt.Errorf("preview %s: %w", args[0], err)
				}
				return out.print(cmd.OutOrStdout(), g)
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().Int32Var(&limit, "limit", 20, "how many rows, at most 10,000")
	return cmd
}
