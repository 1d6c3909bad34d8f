package page

import (
	"fmt"
	"strings"
	"testing"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

// TestRuns starts, cancels, resumes and backfills by the page's buttons, from a shop in which nothing ran yet.
func TestRuns(t *testing.T) {
	t.Parallel()
	s := open(t, sample.Config{Start: day(1, 1), Days: 40, Orders: 400, Events: 600, Products: 40, Seed: 5, Dirt: 0.01}, scheduled)
	b := chromium(t, s.address)
	step := steps(t, s, b)
	// Its schedule shows, but it is not yet time.
	pipeline := map[string]string{"pipeline.yaml": strings.Replace(shipped(t, "pipeline.yaml"), "15 4 * * *", "0 0 29 2 *", 1)}

	step("says what to do where nothing ran yet", func(*testing.T) {
		b.open("/")
		b.until(`document.querySelector("main")?.innerText.includes("Nothing is published yet")`)
		b.clickText("main", "Go to the pipeline")
		b.until(`document.querySelector("main").innerText.includes("Nothing ran yet")`)
		b.until(`document.querySelector("main").innerText.includes("No worker is registered")`)
		b.until(`document.querySelector("main").innerText.includes("never ran")`)
	})
	step("shows when a flow runs next", func(*testing.T) {
		s.activate(pipeline)
		b.open("/pipeline")
		listed, err := shoplakev1.NewFlowServiceClient(s.conn).ListFlows(t.Context(), &shoplakev1.ListFlowsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range listed.GetFlows() {
			if f.GetSchedule() == nil {
				continue
			}
			next := `new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium"}).format(new Date(` + fmt.Sprint(f.GetNextRunTime().AsTime().UnixMilli()) + `))`
			b.until(`[...document.querySelectorAll('[aria-label="Flows"] tbody tr')].some((r) => r.cells[0].innerText.startsWith(` + quoted(f.GetTitle()) + `) && r.cells[3].querySelector("span")?.title === ` + next + `)`)
		}
		b.clickText(`[aria-label="Flows"]`, "Pause Daily")
		b.until(`document.querySelector('[aria-label="Flows"]').innerText.includes("Paused")`)
		b.clickText(`[aria-label="Flows"]`, "End the pause of Daily")
		b.until(`!document.querySelector('[aria-label="Flows"]').innerText.includes("Paused")`)
	})
	step("starts a run and cancels it", func(*testing.T) {
		b.click(`[data-run="daily"]`)
		b.clickText("dialog[open]", "Start the run")
		b.until(`document.querySelector('[data-state="RUNNING"]') !== null`)
		b.clickText(`section[aria-label="Run"]`, "Cancel the run")
		b.until(`document.querySelector('[data-state="CANCELLED"]') !== null`)
	})
	s.work()
	step("resumes it, with the numbers of the API", func(t *testing.T) {
		b.clickText(`section[aria-label="Run"]`, "Resume")
		b.until(`document.querySelector('[data-state="SUCCEEDED"]') !== null`)
		b.until(`document.querySelector('section[aria-label="Run"]').innerText.includes("resumed 1×")`)
		run, err := shoplakev1.NewRunServiceClient(s.conn).GetRun(t.Context(), &shoplakev1.GetRunRequest{Name: strings.TrimPrefix(b.text(`location.pathname`), "/")})
		if err != nil {
			t.Fatal(err)
		}
		for _, number := range []int64{run.GetCounts().GetRowsRead(), run.GetCounts().GetRowsBronze(), run.GetCounts().GetRowsQuarantined()} {
			b.until(`[...document.querySelectorAll('section[aria-label="Run"] dd')].some((e) => e.innerText === new Intl.NumberFormat().format(` + fmt.Sprint(number) + `))`)
		}
	})
	step("backfills after a preview", func(t *testing.T) {
		b.open("/pipeline")
		b.clickText("main", "Backfill…")
		b.fill(`dialog[open] label:nth-of-type(1) input[type=date]`, "2026-01-03")
		b.fill(`dialog[open] label:nth-of-type(2) input[type=date]`, "2026-01-05")
		b.clickText("dialog[open]", "Preview")
		preview, err := shoplakev1.NewBackfillServiceClient(s.conn).CreateBackfill(t.Context(), &shoplakev1.CreateBackfillRequest{
			Flow: "flows/daily", StartDate: "2026-01-03", EndDate: "2026-01-06", ValidateOnly: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if preview.GetPartitionsTotal() < 2 {
			t.Fatalf("the preview has %d partitions: there is nothing to see", preview.GetPartitionsTotal())
		}
		b.until(fmt.Sprintf(`document.querySelector("dialog[open] [role=status]")?.innerText.includes("%d partitions in 1 run") ?? false`, preview.GetPartitionsTotal()))
		for _, table := range preview.GetIntervals()[0].GetTables() {
			b.until(`[...document.querySelectorAll("dialog[open] [role=status] td")].some((e) => e.innerText === ` + quoted(table.GetTable()) + `)`)
		}
		b.clickText("dialog[open]", "Start the backfill")
		b.until(`document.querySelector("dialog[open]") === null`)
		b.until(`[...document.querySelectorAll('[aria-label="Backfills"] tr')].some((r) => r.innerText.includes("Succeeded") && r.innerText.includes("1 of 1"))`)
	})
}
