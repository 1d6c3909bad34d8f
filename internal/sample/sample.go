// Package sample makes up a shop: orders as CSV, a weekly inventory as workbooks, visitors' events as NDJSON, all from a
// seed. It breaks a known number of rows by each rule of the shipped contracts and writes down which (manifest.go), so that
// whoever reads the files can be held to account for every row.
package sample

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says how large the shop is. The same configuration gives the same bytes.
type Config struct {
	// Out is the folder that gets landing/<source>/... and generated.json.
	Out string
	// Start is the first day; Days is how many there are.
	Start time.Time
	Days  int
	// Orders counts distinct orders (about 1.9 lines each), Events distinct events, Products articles.
	Orders, Events, Products int
	// Seed decides everything that is left to chance. Products and customers are the same for every period of one seed.
	Seed uint64
	// Dirt is the share of rows that break a rule, 0 to 0.5.
	Dirt float64
	// Progress, where not nil, is called after each day that is written.
	Progress func(daysDone, days int)
}

// Limits of what can be asked for: they keep identifiers within their width.
const (
	maxDays     = 3660
	maxOrders   = 100_000_000
	maxEvents   = 2_000_000_000
	maxProducts = 100_000
)

// Check tells everything that is wrong with a configuration.
func (c Config) Check() error {
	var errs []error
	between := func(what string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s is %d: give a number from %d to %d", what, v, low, high))
		}
	}
	between("days", c.Days, 1, maxDays)
	between("orders", c.Orders, 0, maxOrders)
	between("events", c.Events, 0, maxEvents)
	between("products", c.Products, 1, maxProducts)
	if c.Dirt < 0 || c.Dirt > 0.5 {
		errs = append(errs, fmt.Errorf("dirt is %g: give a share from 0 to 0.5", c.Dirt))
	}
	if c.Out == "" {
		errs = append(errs, errors.New("no folder to write to: give one"))
	}
	if c.Start.Year() < 1990 || c.Start.Year() > 2099 {
		errs = append(errs, fmt.Errorf("the first day is %s: give one between 1990 and 2099", c.Start.Format(time.DateOnly)))
	}
	return errors.Join(errs...)
}

// Generate writes the files and returns what they hold. Files of the same names are replaced; what generated.json says of
// other files stays, so that a second call with a later start adds to the first.
func Generate(ctx context.Context, c Config) (*Manifest, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("generate sample data: %w", err)
	}
	c.Start = dayOf(c.Start)
	g := &generator{
		shop:     newShop(c),
		manifest: newManifest(c),
		landing:  filepath.Join(c.Out, "landing"),
	}
	for _, source := range []string{"orders", "inventory", "user_activity"} {
		if err := os.MkdirAll(filepath.Join(g.landing, source), 0o755); err != nil {
			return nil, fmt.Errorf("generate sample data: %w", err)
		}
	}
	if err := g.run(ctx); err != nil {
		return nil, fmt.Errorf("generate sample data in %s: %w", c.Out, err)
	}
	if err := g.manifest.write(c.Out); err != nil {
		return nil, fmt.Errorf("generate sample data: %w", err)
	}
	return g.manifest, nil
}

type generator struct {
	shop     *shop
	manifest *Manifest
	landing  string

	mu   sync.Mutex
	done int
}

// run plans the days one after the other (customers come back, stock goes down) and writes them in parallel: what a day's
// files hold follows from its plan and a generator of its own.
func (g *generator) run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	p := newPlanner(g.shop)
	stock := newStock(g.shop)
	var inventoryRows int
	for d := range g.shop.Days {
		if inner.Err() != nil {
			break
		}
		if week, ok := g.shop.weekOf(d); ok {
			sheet := stock.snapshot(week, inventoryRows)
			inventoryRows += len(sheet.rows)
			group.Go(func() error { return g.writeInventory(inner, sheet) })
		}
		day := p.next()
		stock.sell(day)
		group.Go(func() error {
			if err := g.writeOrders(inner, day); err != nil {
				return err
			}
			if err := g.writeEvents(inner, day); err != nil {
				return err
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			g.done++
			if g.shop.Progress != nil {
				g.shop.Progress(g.done, g.shop.Days)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func dayOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
