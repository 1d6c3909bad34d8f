package main

import (
	"fmt"
	"path/filepath"
	"sort"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	"github.com/shoplake/shoplake/internal/sample"
)

func newGenerate() *cobra.Command {
	var (
		out   format
		cfg   sample.Config
		start = dateFlag{client.NewDate(2026, time.January, 1)}
	)
	cmd := &cobra.Command{
		Use:   "generate --out DIR",
		Short: "Make up sample data: orders, inventory and visitors' events",
		Long: `Make up the data of a shop under DIR/landing/<source>/: orders as one CSV a day, inventory as one workbook a week,
user_activity as NDJSON by the hour. A share of the rows breaks the rules of the shipped contracts; DIR/generated.json tells
which rows of which file, and why. The same flags give the same bytes. A later --start-date with the same seed adds days.`,
		Example: `  shoplake generate --out data --days 90 --orders 20000 --events 200000 --products 500 --seed 1
  shoplake generate --out data --start-date 2026-04-01 --days 1 --orders 220 --events 2200    # one more day`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Start = start.Time()
			began := time.Now()
			line := newMeter(cmd.ErrOrStderr(), "days written")
			cfg.Progress = line.update
			m, err := sample.Generate(cmd.Context(), cfg)
			line.close()
			if err != nil {
				return err
			}
			g := &grid{columns: columns("source", "files", "rows", "bad_rows", "size_bytes:bytes")}
			names := make([]string, 0, len(m.Sources))
			for name := range m.Sources {
				names = append(names, name)
			}
			sort.Strings(names)
			for _, name := range names {
				s := m.Sources[name]
				var bytes int64
				for _, f := range s.Files {
					bytes += f.Bytes
				}
				g.add(name, int64(len(s.Files)), int64(s.Rows), int64(s.Bad), bytes)
			}
			if err := out.print(cmd.OutOrStdout(), g); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Written to %s in %s. Which rows are bad, and why: %s\n", filepath.Join(cfg.Out, "landing"),
				duration(time.Since(began)), filepath.Join(cfg.Out, sample.ManifestName))
			return nil
		},
	}
	f := cmd.Flags()
	out.flags(cmd)
	f.StringVar(&cfg.Out, "out", "", "folder that gets landing/ and generated.json (required)")
	f.IntVar(&cfg.Days, "days", 90, "how many days")
	f.Var(&start, "start-date", "first day")
	f.IntVar(&cfg.Orders, "orders", 20000, "how many orders, of about two lines each")
	f.IntVar(&cfg.Events, "events", 200000, "how many events")
	f.IntVar(&cfg.Products, "products", 500, "how many products")
	f.Uint64Var(&cfg.Seed, "seed", 1, "what chance follows from")
	f.Float64Var(&cfg.Dirt, "dirt", 0.005, "share of rows that break a rule, 0 to 0.5")
	return cmd
}
