package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/shoplake/shoplake/controlplane"
	"github.com/shoplake/shoplake/controlplane/runs"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// Runs that have ended are a table that SQL is asked about, without a run that would publish it.
func TestHistoryOfRunsInSQL(t *testing.T) {
	t.Parallel()
	s := setupWith(t, os.DirFS("testdata/tiny"), 1, func(c *controlplane.Config) {
		c.Retention = runs.Retention{Interval: 50 * time.Millisecond}
	})
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1.5\nb,no date,1,2\n")
	first, _ := s.daily()
	second, _ := s.daily()
	if first.GetPublishedVersion() != second.GetPublishedVersion() {
		t.Errorf("a run that changed nothing published version %d after %d", second.GetPublishedVersion(), first.GetPublishedVersion())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var rows []map[string]string
	for len(rows) < 2 {
		answer, err := s.tables.QueryTables(ctx, &shoplakev1.QueryTablesRequest{Sql: `SELECT 'runs/' || run_id AS name, flow, state, trigger,
			CAST(rows_read AS VARCHAR) || '=' || CAST(rows_bronze AS VARCHAR) || '+' || CAST(rows_quarantined AS VARCHAR) AS read,
			CAST(published_version AS VARCHAR) AS version, CAST(ended_at >= started_at AND started_at >= created_at AS VARCHAR) AS ordered FROM ops.runs ORDER BY run_id`})
		if err != nil {
			t.Fatal(err)
		}
		rows = nil
		for _, row := range answer.GetRowSet().GetRows() {
			texts := map[string]string{}
			for name, cell := range row.GetFields() {
				texts[name] = cell.GetStringValue()
			}
			rows = append(rows, texts)
		}
	}
	for i, want := range []string{"2=1+1", "0=0+0"} {
		r, name := rows[i], []string{first.GetName(), second.GetName()}[i]
		if len(rows) != 2 || r["name"] != name || r["flow"] != "daily" || r["state"] != "SUCCEEDED" || r["trigger"] != "MANUAL" || r["read"] != want || r["version"] != "1" || r["ordered"] != "true" {
			t.Errorf("row %d of %d is %v", i, len(rows), r)
		}
	}
}
