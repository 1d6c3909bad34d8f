package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// TestFailedRun leaves nothing behind.
func TestFailedRun(t *testing.T) {
	t.Parallel()
	p := shipped(t)
	left := func(l *landing) {
		t.Helper()
		l.scratchEmpty()
		for _, to := range []Target{l.request.Bronze, l.request.Quarantine, l.request.Ingested} {
			if files, _ := filepath.Glob(filepath.Join(to.Staging, "*")); len(files) > 0 {
				t.Errorf("%v were left", files)
			}
		}
	}
	missing := newLanding(t, p.Source("orders"), "UTC")
	missing.drop("a.csv", ordersHeader)
	missing.request.Files = append(missing.request.Files, &dispatchv1.LandingFile{Path: "b.csv"})
	if _, err := Run(t.Context(), missing.request); err == nil || !strings.Contains(err.Error(), "b.csv") {
		t.Errorf("a missing file gave %v", err)
	}
	left(missing)
	outside := newLanding(t, p.Source("orders"), "UTC")
	outside.request.Files = []*dispatchv1.LandingFile{{Path: "../../etc/passwd"}}
	if _, err := Run(t.Context(), outside.request); err == nil {
		t.Error("a file out of the landing folder was read")
	}
	left(outside)
	cancelled := newLanding(t, p.Source("orders"), "UTC")
	cancelled.drop("a.csv", ordersHeader)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, cancelled.request); err == nil {
		t.Error("a cancelled run ended well")
	}
	left(cancelled)
	broken := newLanding(t, p.Source("orders"), "UTC")
	broken.drop("a.csv", ordersHeader+"O1,1,2026-01-15,,,,,,,P1,1,1,,EUR,paid\n")
	broken.request.Ingested.Columns = append(broken.request.Ingested.Columns, engine.Column{Name: "unknown", Type: "VARCHAR", Required: true})
	if _, err := Run(t.Context(), broken.request); err == nil {
		t.Error("a required column without values was written")
	}
	left(broken)
}

// TestNoFiles is a task of nothing.
func TestNoFiles(t *testing.T) {
	t.Parallel()
	l := newLanding(t, shipped(t).Source("orders"), "UTC")
	if result := l.run(); len(result.Files) != 0 || result.RowsRead != 0 {
		t.Errorf("no files gave %+v", result)
	}
}

// TestNamesOfOurs takes columns that are named as ours are.
func TestNamesOfOurs(t *testing.T) {
	t.Parallel()
	names := []string{"file", "path", "sha256", "raw", "extra", "rules", "source", "row_number", "file_index", "reader_rule", "c0", "c1", "scratch", "odd", "text", "value", "ruled", "checked", "files", "good", "good_row", "bronze", "written", "select", "rule"}
	contract := &pipeline.Contract{ID: "ours", Version: "1", Hash: "h", Format: pipeline.Format{Kind: pipeline.FormatCSV, Kinds: []pipeline.FormatKind{pipeline.FormatCSV}}}
	var cells []string
	for i, name := range names {
		contract.Columns = append(contract.Columns, pipeline.ContractColumn{Name: name, Type: pipeline.ColumnString, Required: true})
		cells = append(cells, fmt.Sprintf("v%d", i))
	}
	l := newLanding(t, &pipeline.Source{Name: "ours", Contract: contract}, "UTC")
	good := strings.Join(cells, ",")
	l.drop("it's.csv", strings.Join(names, ",")+"\n"+good+"\n"+strings.Replace(good, "v3,", ",", 1)+"\n")
	result := l.run()
	expect(t, "bronze", rows(t, result.Files, l.request.Bronze, "SELECT * EXCLUDE (_ingested_at) FROM t"), []string{strings.ReplaceAll(good, ",", "|") + "|it's.csv|1|01RUN|1|~"})
	expect(t, "quarantine", rows(t, result.Files, l.request.Quarantine, "SELECT source_file, row_number, array_to_string(rules, ' ') FROM t"), []string{"it's.csv|2|required:raw"})
}

// TestManyFiles takes rows of many files, so that some scratch files hold rows
// of several, in little memory.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	l := newLanding(t, shipped(t).Source("orders"), "UTC")
	l.request.Engine.MemoryLimit = 128 << 20
	var good, bad int64
	for i := range 40 {
		var content strings.Builder
		content.WriteString(ordersHeader)
		for k := range 200 * i {
			status := "paid"
			if k%7 == i%7 {
				status = "gone"
				bad++
			} else {
				good++
			}
			fmt.Fprintf(&content, "O%d-%d,1,2026-01-15 10:00:00,,,,,,,P%d,1,1.50,,EUR,%s\n", i, k, k%10, status)
		}
		l.drop(fmt.Sprintf("%d/%d.csv", i%3, i), content.String())
	}
	result := l.run()
	if result.RowsBronze != good || result.RowsQuarantined != bad {
		t.Errorf("%d bronze, %d quarantined, want %d and %d", result.RowsBronze, result.RowsQuarantined, good, bad)
	}
	for i, f := range result.Landing {
		if f.RowsRead != int64(200*i) || f.RowsRead != f.RowsBronze+f.RowsQuarantined {
			t.Errorf("%+v", f)
		}
	}
	expect(t, "order of bronze", rows(t, result.Files, l.request.Bronze, "SELECT count(*) FROM (SELECT _source_file, _row_number, lag(_row_number) OVER (PARTITION BY _source_file ORDER BY file_row_number) AS before FROM (SELECT *, row_number() OVER () AS file_row_number FROM t)) WHERE before >= _row_number"), []string{"0"})
}

func TestGroup(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var segments []string
	for i, bytes := range []int64{checkBytes / 2, checkBytes / 2, 1, checkBytes * 2, 5, 6} {
		path := filepath.Join(folder, fmt.Sprint(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, bytes); err != nil {
			t.Fatal(err)
		}
		segments = append(segments, path)
	}
	groups, err := group(segments)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, g := range groups {
		sizes = append(sizes, len(g))
	}
	if !slices.Equal(sizes, []int{2, 1, 1, 2}) {
		t.Errorf("groups are of %v", sizes)
	}
}

// TestGroups checks rows group by group.
func TestGroups(t *testing.T) {
	t.Parallel()
	l := newLanding(t, shipped(t).Source("orders"), "UTC")
	line := "O%d,1,2026-01-15 10:00:00,,,,,,,P1,1,1.50,,EUR,%s\n"
	l.drop("a.csv", ordersHeader+fmt.Sprintf(line, 1, "paid")+fmt.Sprintf(line, 2, "gone")+fmt.Sprintf(line, 3, "paid"))
	statement, err := compile(l.source.Contract, "UTC", noon)
	if err != nil {
		t.Fatal(err)
	}
	task := &task{Request: l.request, statement: statement, scratch: l.request.ScratchDir}
	segments, err := task.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	session, err := engine.Open(t.Context(), engine.Options{ReadPaths: []string{l.request.ScratchDir}, WritePaths: []string{l.request.Bronze.Staging, l.request.Quarantine.Staging}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Materialize(t.Context(), filesTable, task.filesQuery()); err != nil {
		t.Fatal(err)
	}
	for n := range 3 { // the same rows, as if of three groups
		if err := task.checkGroup(t.Context(), session, n, segments); err != nil {
			t.Fatal(err)
		}
	}
	if f := task.files[0]; f.bronze != 6 || f.quarantined != 3 || len(task.outputs) != 6 {
		t.Errorf("%+v of %v", f, task.outputs)
	}
	if err := task.conserved(); !errors.Is(err, ErrNotConserved) {
		t.Errorf("rows that were written thrice are conserved: %v", err)
	}
}
