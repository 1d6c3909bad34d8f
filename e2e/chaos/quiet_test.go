//go:build unix

package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"

	"google.golang.org/grpc"

	"github.com/shoplake/shoplake/e2e/deploy"
)

// quiet is what a history gives when nobody disturbs it.
type quiet struct {
	// totals are what readers are answered after each step; totals[0] before the first.
	totals []string
	cells  map[string][]string
}

// undisturbed lives a history in one process in peace, once.
var undisturbed = struct {
	sync.Mutex
	known map[int]*quiet
}{known: map[int]*quiet{}}

func undisturbedOf(t *testing.T, number int) *quiet {
	t.Helper()
	undisturbed.Lock()
	defer undisturbed.Unlock()
	if q := undisturbed.known[number]; q != nil {
		return q
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir, port := t.TempDir(), deploy.FreePort(t)
	landing := dir + "/landing"
	process := deploy.Launch(t, "undisturbed", dir, deploy.Environment(), deploy.Program(t), "serve", "--data-dir", dir, "--landing", landing,
		"--pipeline", pipelineFolder(t), "--listen", "127.0.0.1:"+port, "--nats-port", "-1", "--workers", "1", "--worker-memory", "256MiB", "--query-memory", "256MiB")
	process.Says("Serving at ")
	conn := dial(t, port)
	runs := shoplakev1.NewRunServiceClient(conn)
	q := &quiet{totals: []string{nothing}}
	for n, step := range historyOf(number) {
		step.drop(t, landing, n)
		run, err := runs.SubmitRun(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
		if err != nil {
			t.Fatal(err)
		}
		stream, err := runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: run.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		for run.GetEndTime() == nil {
			change, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			run = change.GetRun()
		}
		if failed := run.GetState() == shoplakev1.RunState_RUN_STATE_FAILED; failed != step.fails {
			t.Fatalf("history %d, %s: the run ended as %v: %v", number, step.name, run.GetState(), run.GetError())
		}
		total, err := revenue(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		if both, err := consistent(ctx, conn); err != nil || both != total {
			t.Fatalf("the tables say %s, the KPI %s: %v", both, total, err)
		}
		if known := total == q.totals[len(q.totals)-1]; known != step.fails {
			t.Fatalf("history %d, %s: readers can't tell it from the step before: %s", number, step.name, total)
		}
		q.totals = append(q.totals, total)
	}
	var err error
	if q.cells, err = deploy.Cells(ctx, conn); err != nil {
		t.Fatal(err)
	}
	for name, lines := range q.cells {
		if len(lines) == 0 {
			t.Fatalf("%s is empty: there is nothing to compare", name)
		}
	}
	process.Stop()
	undisturbed.known[number] = q
	return q
}

// nothing is what readers are answered before anything was published.
const nothing = "nothing"

// revenue asks the KPI.
func revenue(ctx context.Context, conn grpc.ClientConnInterface) (string, error) {
	answer, err := shoplakev1.NewKpiServiceClient(conn).QueryKpi(ctx, &shoplakev1.QueryKpiRequest{Name: "kpis/revenue"})
	if err != nil {
		return "", err
	}
	return total(deploy.Rows(answer.GetRowSet())), nil
}

// consistent asks two tables of different layers for the same: the answer is one only where both are of one moment.
func consistent(ctx context.Context, conn grpc.ClientConnInterface) (string, error) {
	answer, err := shoplakev1.NewTableServiceClient(conn).QueryTables(ctx, &shoplakev1.QueryTablesRequest{Sql: `
		SELECT s.sales, s.revenue, g.sales, g.revenue
		FROM (SELECT count(*) AS sales, CAST(sum(amount) AS DECIMAL(38,4)) AS revenue FROM silver.sales) s,
			(SELECT CAST(sum(sales) AS BIGINT) AS sales, CAST(sum(revenue) AS DECIMAL(38,4)) AS revenue FROM gold.daily_sales) g`})
	if err != nil {
		return "", err
	}
	rows := deploy.Rows(answer.GetRowSet())
	if len(rows) != 1 || len(rows[0]) != 4 {
		return "", fmt.Errorf("two tables were asked for their totals, and answered %v", rows)
	}
	silver, gold := total([][]string{rows[0][:2]}), total([][]string{rows[0][2:]})
	if silver != gold && !(silver == "0|<nil>" && gold == nothing) {
		return fmt.Sprintf("silver %s, gold %s", silver, gold), nil
	}
	return gold, nil
}

func total(rows [][]string) string {
	if len(rows) != 1 || rows[0][0] == "<nil>" {
		return nothing
	}
	return rows[0][0] + "|" + rows[0][1]
}
