package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
)

func newSQL() *cobra.Command {
	var (
		conn  connection
		out   format
		limit int32
	)
	cmd := &cobra.Command{
		Use:   "sql SELECT",
		Short: "Answer one SELECT over published tables (DuckDB's SQL)",
		Example: `  shoplake sql "select status, count(*) as lines from silver.orders group by status order by lines desc"
  shoplake sql - < question.sql`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			statement := args[0]
			if statement == "-" {
				text, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("read the statement: %w", err)
				}
				statement = string(text)
			}
			if strings.TrimSpace(statement) == "" {
				return usageError{errors.New("the statement is empty")}
			}
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				rows, more, err := c.SQL(ctx, statement, limit)
				if err != nil {
					return err
				}
				g, err := gridOf(rows)
				if err != nil {
					return fmt.Errorf("query tables: %w", err)
				}
				if err := out.print(cmd.OutOrStdout(), g); err != nil {
					return err
				}
				if more {
					fmt.Fprintf(cmd.ErrOrStderr(), "There are more rows: %d were asked for. Ask for up to 10,000 by --limit.\n", limit)
				}
				return nil
			})
		},
	}
	conn.flags(cmd)
	out.flags(cmd)
	cmd.Flags().Int32Var(&limit, "limit", 1000, "how many rows at most, up to 10,000")
	return cmd
}
