package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets a process of the test be the one that runs bare DuckDB.
func TestMain(m *testing.M) {
	if bareWanted() {
		if err := serveBare(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSmoke runs the whole measurement on a small shop: both sides end, and agree on what the tables hold.
func TestSmoke(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the program")
	}
	program := filepath.Join(t.TempDir(), "shoplake")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/shoplake").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	var out strings.Builder
	o := options{program: program, dir: t.TempDir(), lines: 4000, events: 20000, days: 30, seed: 7, workers: 2, memory: "512MiB", bare: true}
	if err := run(t.Context(), o, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"bronze.user_activity", "gold.kpi_daily_sales", "peak memory", "Ratio: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, out.String())
		}
	}
}
