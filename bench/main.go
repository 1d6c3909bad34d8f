// Command bench measures the daily flow over a large sample: it makes up the data, runs the flow through the program as a
// user would, lets bare DuckDB do the same work on the same files, and prints both side by side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shoplake/shoplake/internal/sample"
)

// options say how large the shop is and what it is run with.
type options struct {
	program string // the shoplake binary
	dir     string // where everything is kept; a temporary folder where empty
	lines   int
	events  int
	days    int
	seed    uint64
	workers int
	memory  string // --worker-memory
	bare    bool
}

// linesPerOrder is how many rows the sample has for each order, corrections included.
const linesPerOrder = 2.08

func main() {
	if bareWanted() {
		if err := serveBare(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.program, "shoplake", "bin/shoplake", "the program that is measured")
	flag.StringVar(&o.dir, "dir", "", "folder to keep data and lake in; data that lies there is used again (default: a temporary one)")
	flag.IntVar(&o.lines, "lines", 1_000_000, "order lines, about")
	flag.IntVar(&o.events, "events", 5_000_000, "events")
	flag.IntVar(&o.days, "days", 90, "days they are spread over")
	flag.Uint64Var(&o.seed, "seed", 1, "what chance follows from")
	flag.IntVar(&o.workers, "workers", 2, "workers of one task each")
	flag.StringVar(&o.memory, "worker-memory", "", "memory of each worker's queries, e.g. 1GiB (default: as serve decides); bare DuckDB gets that of all workers")
	flag.BoolVar(&o.bare, "bare", true, "measure bare DuckDB too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "shoplake-bench-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if o.program, err = filepath.Abs(o.program); err != nil {
		return err
	}
	began := time.Now()
	manifest, err := makeShop(ctx, o)
	if err != nil {
		return err
	}
	describeShop(out, manifest, time.Since(began))
	runDir, err := os.MkdirTemp(o.dir, "run-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(runDir)) }()
	product, err := measureProduct(ctx, o, filepath.Join(runDir, "product"))
	if err != nil {
		return fmt.Errorf("measure the program: %w", err)
	}
	var bare *measured
	if o.bare {
		bare, err = measureBare(ctx, o, manifest, product, filepath.Join(runDir, "bare"))
		if err != nil {
			return fmt.Errorf("measure bare DuckDB: %w", err)
		}
	}
	report(out, product, bare)
	if bare != nil {
		return product.agrees(bare)
	}
	return nil
}

// shop is where the data of these options lie.
func (o options) shop() string {
	return filepath.Join(o.dir, fmt.Sprintf("shop-%d-%d-%d-%d", o.lines, o.events, o.days, o.seed))
}

// makeShop makes up the data, unless it lies there already.
func makeShop(ctx context.Context, o options) (*sample.Manifest, error) {
	if m, err := sample.ReadManifest(o.shop()); err == nil {
		return m, nil
	}
	m, err := sample.Generate(ctx, sample.Config{
		Out: o.shop(), Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Days: o.days,
		Orders: int(float64(o.lines) / linesPerOrder), Events: o.events, Products: 500, Seed: o.seed, Dirt: 0.005,
	})
	if err != nil {
		return nil, err
	}
	// The program leaves files alone that were written a moment ago.
	rested := time.Now().Add(-time.Minute)
	return m, filepath.WalkDir(o.shop(), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, rested, rested)
	})
}
