package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/sample"
)

func newDemo() *cobra.Command {
	var (
		dirs folders
		logs logFlags
		o    serveOptions
		once bool
		cfg  = sample.Config{
			Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Days: 90, Orders: 20000, Events: 200000, Products: 500, Seed: 1, Dirt: 0.005,
		}
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Make up three months of data, run everything in one process and show the KPIs",
		Long: `Make up three months of sample data, start NATS, the control plane and two workers in one process, run the daily flow, print the
KPIs, and keep serving until Ctrl-C. Logs go to demo.log in the data folder.`,
		Example: `  shoplake demo
  shoplake demo --once --data-dir /tmp/demo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := dirs.resolve(); err != nil {
				return err
			}
			cfg.Out = dirs.data
			if err := demoData(cmd, cfg); err != nil {
				return err
			}
			file, err := os.OpenFile(filepath.Join(dirs.data, "demo.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				return fmt.Errorf("open the log: %w", err)
			}
			defer file.Close()
			t, err := logs.start(cmd.Context(), "shoplake", file)
			if err != nil {
				return err
			}
			// No socket for NATS: a demo beside a server must not take its port. The files were written by this very process, so
			// they need not rest.
			o.nats = bus.ServerConfig{StoreDir: filepath.Join(dirs.data, "nats"), InProcessOnly: true}
			o.settle = time.Millisecond
			o.schedules = !once
			house, err := startHouse(cmd.Context(), dirs, o, t)
			if err == nil {
				err = demoRun(cmd, dirs, house)
				if err == nil && !once {
					fmt.Fprintln(cmd.OutOrStdout(), "Serving until Ctrl-C.")
					err = house.wait(cmd.Context())
				}
				house.parts.close(t.Logger())
			}
			return errors.Join(err, shutdown(cmd.Context(), t))
		},
	}
	dirs.flags(cmd, "shoplake-demo")
	o.flags(cmd)
	logs.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&once, "once", false, "exit when the KPIs are printed")
	f.IntVar(&cfg.Days, "days", cfg.Days, "how many days of data, where there is none yet")
	f.IntVar(&cfg.Orders, "orders", cfg.Orders, "how many orders")
	f.IntVar(&cfg.Events, "events", cfg.Events, "how many events")
	f.IntVar(&cfg.Products, "products", cfg.Products, "how many products")
	return cmd
}

// demoData makes up the data unless an earlier demo did.
func demoData(cmd *cobra.Command, cfg sample.Config) error {
	if _, err := sample.ReadManifest(cfg.Out); err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "Using the sample data in %s.\n", cfg.Out)
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	began := time.Now()
	line := newMeter(cmd.ErrOrStderr(), "days of sample data")
	cfg.Progress = line.update
	m, err := sample.Generate(cmd.Context(), cfg)
	line.close()
	if err != nil {
		return err
	}
	rows := 0
	for _, s := range m.Sources {
		rows += s.Rows
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Made up %d days of a shop in %s: %s in %s\n", cfg.Days, duration(time.Since(began)), plural(int64(rows), "row"),
		filepath.Join(cfg.Out, "landing"))
	return nil
}

// demoKPIs are printed after the run, with how many rows of each.
var demoKPIs = []struct {
	name  string
	limit int
	q     client.KPIQuery
}{
	{name: "total_revenue"},
	{name: "top_products", q: client.KPIQuery{Parameters: map[string]string{"limit": "5"}}},
	{name: "category_breakdown", limit: 8},
	{name: "conversion_funnel"},
	{name: "repeat_purchase_rate"},
	{name: "gross_margin", limit: 8},
	{name: "revenue_by_country", limit: 8},
	{name: "user_retention", limit: 6},
	{name: "inventory_cover", limit: 5},
}

// demoRun runs the daily flow over the port, as any client would, and prints what came of it.
func demoRun(cmd *cobra.Command, dirs folders, h *house) (err error) {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	address := h.control.Address()
	c, err := client.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	run, err := c.Submit(ctx, "daily", client.SubmitOptions{})
	if err != nil {
		return err
	}
	f := &format{choiceFlag{value: "table"}}
	if err := waitAndPrint(ctx, cmd, c, f, run.GetName()); err != nil {
		return err
	}
	if err := demoResults(ctx, c, out, f); err != nil {
		return err
	}
	made, err := sample.ReadManifest(dirs.data)
	if err != nil {
		return err
	}
	suffix := ""
	if address != client.DefaultAddress {
		suffix = " --server " + address
	}
	fmt.Fprintf(out, `
Where to look next, from another terminal:
  shoplake kpi list%[1]s
  shoplake runs get %[2]s%[1]s
  shoplake quarantine summary orders%[1]s
  shoplake sql "select status, count(*) as lines from silver.orders group by status"%[1]s
  shoplake generate --out %[3]s --start-date %[5]s --days 1 --orders 220 --events 2200 && shoplake run daily --wait%[1]s
  grpcurl -plaintext %[4]s list

The dashboard: http://%[4]s
`, suffix, id(run.GetName()), dirs.data, address, made.NextDay())
	return nil
}

func demoResults(ctx context.Context, c *client.Client, out io.Writer, f *format) error {
	for _, k := range demoKPIs {
		kpi, err := c.KPIs.GetKpi(ctx, &shoplakev1.GetKpiRequest{Name: "kpis/" + k.name})
		if err != nil {
			return fmt.Errorf("get the KPI %s: %w", k.name, err)
		}
		rows, err := c.QueryRows(ctx, k.name, k.q)
		if err != nil {
			return err
		}
		g, err := gridOf(rows)
		if err != nil {
			return fmt.Errorf("query %s: %w", k.name, err)
		}
		fmt.Fprintf(out, "\n%s (%s)\n", kpi.GetTitle(), k.name)
		all := len(g.rows)
		if k.limit > 0 && all > k.limit {
			g.rows = g.rows[:k.limit]
		}
		if err := f.print(out, g); err != nil {
			return err
		}
		if len(g.rows) < all {
			fmt.Fprintf(out, "and %s more\n", plural(int64(all-len(g.rows)), "row"))
		}
	}
	rows, err := c.QueryRows(ctx, "daily_revenue", client.KPIQuery{})
	if err != nil {
		return err
	}
	g, err := gridOf(rows)
	if err != nil {
		return fmt.Errorf("query daily_revenue: %w", err)
	}
	fmt.Fprintln(out)
	return plotByDay(out, "daily_revenue", g, 1)
}
