package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// settled parses a command line for a command with a few flags and returns their values.
func settled(t *testing.T, args ...string) (values map[string]string, err error) {
	t.Helper()
	var days span
	var memory bytesFlag
	var conn connection
	child := &cobra.Command{Use: "do", RunE: func(*cobra.Command, []string) error { return nil }}
	days.flags(child)
	conn.flags(child)
	child.Flags().Var(&memory, "memory", "")
	child.Flags().Int("workers", 2, "")
	root := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true, PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return configure(cmd) }}
	root.PersistentFlags().String("config", "", "")
	root.AddCommand(child)
	root.SetArgs(append([]string{"do"}, args...))
	err = root.ExecuteContext(t.Context())
	values = map[string]string{}
	for _, name := range []string{"server", "workers", "from", "memory"} {
		values[name] = child.Flags().Lookup(name).Value.String()
	}
	return values, err
}

// The environment and the working folder belong to the process: these tests do not run in parallel.

func TestAFlagWinsOverEnvironmentFileAndDefault(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "shoplake.yaml")
	write(t, file, "server: file:1\nworkers: 5\nfrom: 2026-01-01\nmemory: 3GiB\n")

	got, err := settled(t)
	check(t, err, got, "server", "127.0.0.1:8501", "workers", "2", "from", "", "memory", "")

	got, err = settled(t, "--config", file)
	check(t, err, got, "server", "file:1", "workers", "5", "from", "2026-01-01", "memory", "3.0GiB")

	write(t, filepath.Join(dir, ".env"), "SHOPLAKE_SERVER=dotenv:1\nSHOPLAKE_WORKERS=6\n")
	t.Setenv("SHOPLAKE_WORKERS", "7")
	// godotenv sets what .env holds in the process: take it away again.
	t.Setenv("SHOPLAKE_SERVER", "")
	if err := os.Unsetenv("SHOPLAKE_SERVER"); err != nil {
		t.Fatal(err)
	}
	got, err = settled(t, "--config", file)
	check(t, err, got, "server", "dotenv:1", "workers", "7", "from", "2026-01-01")

	got, err = settled(t, "--config", file, "--server", "flag:1", "--workers", "2")
	check(t, err, got, "server", "flag:1", "workers", "2")
}

func TestAWrongSettingIsRefusedWhereverItComesFrom(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SHOPLAKE_WORKERS", "many")
	_, err := settled(t)
	if err == nil || !strings.Contains(err.Error(), "SHOPLAKE_WORKERS") {
		t.Errorf("got %v", err)
	}
	t.Setenv("SHOPLAKE_WORKERS", "3")
	write(t, "shoplake.yaml", "serverr: x:1\n")
	_, err = settled(t, "--config", "shoplake.yaml")
	if err == nil || !strings.Contains(err.Error(), `unknown setting "serverr"`) {
		t.Errorf("got %v", err)
	}
	if _, err := settled(t, "--config", "absent.yaml"); err == nil {
		t.Error("a settings file that is not there was passed over")
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Chdir(t.TempDir())
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s says nothing about itself", c.CommandPath())
		}
		if !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(newRoot())
}

func TestExitStatusAndMessageOfMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"nonsense"}, []string{`unknown command "nonsense"`, "--help"}},
		{[]string{"run"}, []string{"accepts 1 arg(s)", "shoplake run --help"}},
		{[]string{"run", "daily", "--from", "tomorrow"}, []string{`parse date "tomorrow"`, "YYYY-MM-DD"}},
		{[]string{"run", "daily", "--from", "2026-02-01", "--to", "2026-01-01"}, []string{"is not before"}},
		{[]string{"kpi"}, []string{"shoplake kpi list"}},
		{[]string{"runs", "get", "5"}, []string{`"5" is not the id of a run`, "shoplake runs list"}},
		{[]string{"backfill", "get", "runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB"}, []string{"is not the id of a backfill", "shoplake backfill list"}},
		{[]string{"runs", "ist"}, []string{`unknown command "ist"`}},
		{[]string{"health", "-o", "xml"}, []string{"table, json, csv"}},
		{[]string{"health", "--server", "127.0.0.1:1"}, []string{"No server answers at 127.0.0.1:1", "shoplake serve"}},
		{[]string{"generate", "--days", "0"}, []string{"days is 0", "no folder"}},
		{[]string{"worker"}, []string{"--nats is missing"}},
		{[]string{"serve", "--worker-memory", "lots"}, []string{"4GiB"}},
		{[]string{"pipeline", "check", "absent"}, []string{"absent"}},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), c.args, strings.NewReader(""), &out, &errs)
		if status != 1 {
			t.Errorf("%v: status %d", c.args, status)
		}
		for _, want := range c.want {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%v: %q does not say %q", c.args, errs.String(), want)
			}
		}
	}
}

func TestInitCopiesIntoAnEmptyFolderOnly(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"init", "shop"}, nil, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	for _, f := range []string{"pipeline.yaml", "contracts/orders.odcs.yaml", "silver/orders.sql", "kpis/total_revenue.sql"} {
		if _, err := os.Stat(filepath.Join(dir, "shop", filepath.FromSlash(f))); err != nil {
			t.Error(err)
		}
	}
	if status := run(t.Context(), []string{"init", "shop"}, nil, &out, &errs); status != 1 || !strings.Contains(errs.String(), "not empty") {
		t.Errorf("status %d: %s", status, errs.String())
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error, got map[string]string, want ...string) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	for i := 0; i < len(want); i += 2 {
		if got[want[i]] != want[i+1] {
			t.Errorf("%s is %q, want %q", want[i], got[want[i]], want[i+1])
		}
	}
}
