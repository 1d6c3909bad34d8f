package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func plannedRun() *shoplakev1.Run {
	const previewed, upToDate = shoplakev1.StageState_STAGE_STATE_PREVIEWED, shoplakev1.StageState_STAGE_STATE_UP_TO_DATE
	return &shoplakev1.Run{
		State: shoplakev1.RunState_RUN_STATE_SUCCEEDED, Notices: []string{"orders: 1 files are gone from landing"},
		PlannedStages: []*shoplakev1.Stage{
			{Table: "bronze.orders", State: previewed, Planned: []*shoplakev1.PlannedPartition{{Partition: "2026-01-15.csv", Reason: "new file"}}, PlannedTotal: 1, RowsIn: 1000, RowsQuarantined: 12},
			{Table: "silver.orders", State: previewed, PlannedTotal: 2, Planned: []*shoplakev1.PlannedPartition{
				{Partition: "2025-12", Reason: "bronze.orders changed in keys that stand here too (order_id, line_number): orders/2026-01-15.csv (new file)"},
				{Partition: "2026-01", Reason: "bronze.orders changed: orders/2026-01-15.csv (new file)"},
			}},
			{Table: "gold.fact_session", State: upToDate, Reason: "nothing that it reads has changed"},
			{Table: "gold.visits", State: previewed, PlannedMore: "other partitions"},
		},
	}
}

func TestADryRunIsATableForPeople(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := printPlan(&b, &format{choiceFlag{value: "table"}}, plannedRun()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"stage partition why",
		lines[1],
		"bronze.orders 2026-01-15.csv new file",
		"silver.orders 2025-12 bronze.orders changed in keys that stand here too (order_id, line_number): orders/2026-01-15.csv",
		"(new file)",
		"2026-01 bronze.orders changed: orders/2026-01-15.csv (new file)",
		"gold.fact_session up to date: nothing that it reads has changed",
		"gold.visits and maybe other partitions",
		"bronze.orders: would quarantine 12 of 1,000 rows",
		"Note: orders: 1 files are gone from landing",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestADryRunShowsSomeOfManyPartitions(t *testing.T) {
	t.Parallel()
	run := plannedRun()
	run.PlannedStages = run.GetPlannedStages()[:1]
	for i := range 99 {
		run.PlannedStages[0].Planned = append(run.PlannedStages[0].Planned, &shoplakev1.PlannedPartition{Partition: fmt.Sprint(i), Reason: "new file"})
	}
	run.PlannedStages[0].PlannedTotal = 4000
	for format, want := range map[string]int64{"table": 3980, "csv": 3900} {
		most := plannedRows
		if format == "csv" {
			most = 1000
		}
		text := printed(t, planGrid(run, most), format)
		if !strings.Contains(text, fmt.Sprintf("and %d,%03d more", want/1000, want%1000)) {
			t.Errorf("as %s:\n%s", format, text)
		}
	}
}

func TestADryRunAsJSONHasAStageEach(t *testing.T) {
	t.Parallel()
	text := printed(t, planObjects(plannedRun()), "json")
	for _, want := range []string{`"stage": "bronze.orders", "state": "PREVIEWED"`, `{"partition": "2026-01-15.csv", "reason": "new file"}`, `"rows_read": 1000, "rows_quarantined": 12`, `"planned_more": "other partitions"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\ndoes not hold %s", text, want)
		}
	}
}

func TestADryRunThatFailedIsAnError(t *testing.T) {
	t.Parallel()
	run := &shoplakev1.Run{
		Name: "runs/01K", State: shoplakev1.RunState_RUN_STATE_FAILED, Error: &shoplakev1.RunError{Stage: "bronze.orders", Message: "no such column"},
		PlannedStages: []*shoplakev1.Stage{
			{Table: "bronze.orders", State: shoplakev1.StageState_STAGE_STATE_FAILED, Error: &shoplakev1.RunError{Message: "no such column"}},
			{Table: "silver.orders", State: shoplakev1.StageState_STAGE_STATE_BLOCKED},
		},
	}
	var b bytes.Buffer
	var failed *client.RunFailedError
	if err := printPlan(&b, &format{choiceFlag{value: "table"}}, run); !errors.As(err, &failed) {
		t.Errorf("the error is %v", err)
	}
	if text := b.String(); !strings.Contains(text, "no such column") || !strings.Contains(text, "a table that it reads cannot be told") {
		t.Error(text)
	}
}
