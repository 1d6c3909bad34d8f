//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoplake/shoplake/e2e/deploy"
)

// TestWatchFollowsARunWhoseFirstAttemptFails watches by the program itself, as lines and as JSON, and asks afterwards what went wrong.
func TestWatchFollowsARunWhoseFirstAttemptFails(t *testing.T) {
	t.Parallel()
	s := &shop{t: t, dir: t.TempDir()}
	pipeline := s.path("pipeline")
	if err := os.CopyFS(pipeline, os.DirFS("testdata/tiny")); err != nil {
		t.Fatal(err)
	}
	check := "-- table: gold.daily_sales\n-- severity: error\n-- description: No day is too good.\nSELECT day FROM gold.daily_sales WHERE revenue > 1000\n"
	if err := os.WriteFile(filepath.Join(pipeline, "checks", "modest.sql"), []byte(check), 0o644); err != nil {
		t.Fatal(err)
	}
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,10.50\n")
	port := deploy.FreePort(t)
	server := deploy.Launch(t, "server", s.dir, deploy.Environment("SHOPLAKE_FAILPOINTS=write.parquet.before=enospc"), deploy.Program(t), "serve", "--data-dir", s.dir,
		"--listen", "127.0.0.1:"+port, "--nats-port", deploy.FreePort(t), "--pipeline", pipeline, "--workers", "1", "--worker-memory", "256MiB", "--query-memory", "256MiB")
	server.Says("Serving at ")

	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), deploy.Program(t), append(args, "--server", "127.0.0.1:"+port)...)
		cmd.Env = deploy.Environment()
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("shoplake %s ended with %v, want %d:\n%s%s", strings.Join(args, " "), err, want, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	wantAll := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in\n%s", w, text)
			}
		}
	}

	stdout, stderr := ask(0, "run", "daily", "--wait")
	wantAll(stderr, "bronze.sales RUNNING", "failed at ", "TRANSIENT ", "bronze.sales SUCCEEDED", "gold.daily_sales SUCCEEDED")
	if strings.Contains(stdout+stderr, "\x1b") {
		t.Errorf("escape codes were written to what is no terminal:\n%s%s", stdout, stderr)
	}
	if failed, again := strings.Index(stderr, "failed at "), strings.Index(stderr, "bronze.sales SUCCEEDED"); failed > again {
		t.Errorf("the failure is told after the success:\n%s", stderr)
	}
	wantAll(stdout, "SUCCEEDED", "Attempts that failed:", "bronze.sales", "TRANSIENT", "no space left on device")
	name, _, _ := strings.Cut(stdout, " ")
	if got, _ := ask(0, "runs", "get", name); got != stdout {
		t.Errorf("the run is\n%s\nbut it was said to be\n%s", got, stdout)
	}

	stdout, _ = ask(0, "runs", "watch", name, "-o", "json")
	seen := map[string]int{}
	var last map[string]any
	for line := range strings.Lines(stdout) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		event, _ := last["event"].(string)
		seen[event]++
		if cause, _ := last["cause"].(string); event == "attempt" && (last["stage"] != "bronze.sales" || last["class"] != "TRANSIENT" || cause == "" || last["worker"] == "") {
			t.Errorf("a failed attempt without its cause: %s", line)
		}
	}
	if seen["attempt"] != 1 || seen["stage"] == 0 || last["event"] != "run" || last["state"] != "SUCCEEDED" {
		t.Errorf("seen %v, the last is %v", seen, last)
	}

	// A run that fails says so by its status, and tells where.
	s.drop("sales", "b.csv", "sale_id,sale_date,version,amount\nb,2026-01-06,1,5000\n")
	stdout, stderr = ask(1, "run", "daily", "--wait")
	wantAll(stdout, "FAILED", "BAD_DATA (gold.daily_sales)")
	wantAll(stderr, "gold.daily_sales FAILED", "BAD_DATA ")
	name, _, _ = strings.Cut(stdout, " ")
	ask(1, "runs", "watch", name, "-o", "json")
	ask(1, "runs", "watch", name)
}
