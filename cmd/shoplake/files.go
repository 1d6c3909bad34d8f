package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func newFiles() *cobra.Command {
	return parent("files", "Show what became of the files in landing", newFilesList())
}

func newFilesList() *cobra.Command {
	var (
		conn  connection
		out   format
		limit int
		state = choiceFlag{choices: []string{"NEW", "INGESTED", "UNREADABLE", "CHANGED", "GONE"}}
	)
	cmd := &cobra.Command{
		Use:   "list SOURCE",
		Short: "List the files of a source and the fate of each",
		Example: `  shoplake files list orders
  shoplake files list inventory --state UNREADABLE -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.with(cmd, func(ctx context.Context, c *client.Client) error {
				g := &grid{columns: columns("path", "state", "rows_read", "rows_bronze", "rows_quarantined", "size_bytes:bytes", "ingest_time", "run", "sha256", "contract_version", "error")}
				g.columns[7].only, g.columns[8].only, g.columns[9].only = "json,csv", "json,csv", "json,csv"
				g.columns[10].sparse = true
				parent := "sources/" + strings.TrimPrefix(args[0], "sources/")
				err := pages(limit, func(token string, size int32) (string, int, error) {
					resp, err := c.Sources.ListFiles(ctx, &shoplakev1.ListFilesRequest{Parent: parent, PageSize: size, PageToken: token})
					if err != nil {
						return "", 0, fmt.Errorf("list the files of %s: %w", parent, err)
					}
					shown := 0
					for _, f := range resp.GetFiles() {
						fate := word(f.GetState().String(), "FILE_STATE_")
						if state.value != "" && state.value != fate {
							continue
						}
						shown++
						g.add(f.GetPath(), fate, f.GetRowsRead(), f.GetRowsBronze(), f.GetRowsQuarantined(), f.GetSizeBytes(), at(f.GetIngestTime()),
							nonEmpty(id(f.GetRun())), nonEmpty(f.GetSha256()), nonEmpty(f.GetContractVersion()), nonEmpty(f.GetError()))
					}
					return resp.GetNextPageToken(), shown, nil
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
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most; 0 for all")
	cmd.Flags().Var(&state, "state", "only files in this state (default: all)")
	return cmd
}
