package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/shoplake/shoplake/internal/sample"
)

func describeShop(out io.Writer, m *sample.Manifest, took time.Duration) {
	for _, source := range []string{"orders", "user_activity", "inventory"} {
		s := m.Sources[source]
		var bytes int64
		for _, f := range s.Files {
			bytes += f.Bytes
		}
		fmt.Fprintf(out, "%-14s %9s rows, %s of them bad, in %d files of %s\n", source, humanize.Comma(int64(s.Rows)), humanize.Comma(int64(s.Bad)),
			len(s.Files), humanize.IBytes(uint64(bytes)))
	}
	fmt.Fprintf(out, "Made up in %s. %d processors, load %s.\n\n", seconds(took), runtime.NumCPU(), load())
}

// report prints what both sides did. bare is nil where it was not measured.
func report(out io.Writer, product, bare *measured) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "stage\trows in\trows out\tbad rows\ttasks\tqueued\trunning\tbegan\ttook\trows/s\tDuckDB\tDuckDB rows/s\t\n")
	for _, s := range product.stages {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t", s.table, humanize.Comma(s.rowsIn), humanize.Comma(s.rowsOut), humanize.Comma(s.rowsQuarantined),
			s.tasks, seconds(s.queued), seconds(s.running), seconds(s.began), seconds(s.took), rate(s.rowsIn, s.took))
		if b := bare.find(s.table); b != nil {
			fmt.Fprintf(t, "%s\t%s\t", seconds(b.took), rate(s.rowsIn, b.took))
		} else {
			fmt.Fprint(t, "-\t-\t")
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	fmt.Fprintf(out, "\nThe flow, checks and commits included: %s\n", product)
	if bare == nil {
		return
	}
	fmt.Fprintf(out, "Bare DuckDB, neither:                  %s\n", bare)
	fmt.Fprintf(out, "Ratio: %.2f (of processor time: %.2f)\n", product.took.Seconds()/bare.took.Seconds(), product.cpu.Seconds()/bare.cpu.Seconds())
	if product.others > product.cpu/10 || bare.others > bare.cpu/10 {
		fmt.Fprintln(out, "Other processes kept the machine busy: believe the ratio of processor time rather than the other.")
	}
}

func (m *measured) String() string {
	return fmt.Sprintf("%s, %s of processor time (others %s), peak memory %s", seconds(m.took), seconds(m.cpu), seconds(max(0, m.others)), humanize.IBytes(uint64(m.peak)))
}

// find is stage, for one that may be nil.
func (m *measured) find(table string) *stage {
	if m == nil {
		return nil
	}
	return m.stage(table)
}

// agrees tells whether both sides made the same tables, by their rows: a comparison of different work would say nothing. A few
// rows may differ: DuckDB lets a CSV row pass whose surplus cells are empty, and the files that nobody can read, which are a
// bad row each, were kept from it.
func (m *measured) agrees(bare *measured) error {
	var errs []error
	near := func(s *stage, what string, a, b int64) {
		if most := s.rowsIn/1000 + 10; a-b > most || b-a > most {
			errs = append(errs, fmt.Errorf("%s: the program made %d %s, bare DuckDB %d: they do not do the same", s.table, a, what, b))
		}
	}
	for _, b := range bare.stages {
		if s := m.stage(b.table); s == nil {
			errs = append(errs, fmt.Errorf("the program has no stage %s", b.table))
		} else {
			near(s, "rows", s.rowsOut, b.rowsOut)
			near(s, "bad rows", s.rowsQuarantined, b.rowsQuarantined)
		}
	}
	return errors.Join(errs...)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func rate(rows int64, took time.Duration) string {
	if took <= 0 {
		return "-"
	}
	return humanize.Comma(int64(float64(rows) / took.Seconds()))
}

// load is how busy the machine has been in the last minute: on one that others use a measurement says little.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
