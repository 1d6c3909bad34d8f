package page

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

func day(month time.Month, d int) time.Time { return time.Date(2026, month, d, 0, 0, 0, 0, time.UTC) }

// card is the exact value that a card of the page stands for.
func card(name string) string {
	return `(document.querySelector('[data-card="` + name + `"] .value')?.dataset.value ?? "")`
}

// steps are parts of a test that build on one another: the first that fails is the last. Each wants a page without complaints.
func steps(t *testing.T, s *shop, b *browser) func(name string, f func(*testing.T)) {
	return func(name string, f func(*testing.T)) {
		if !t.Run(name, func(t *testing.T) {
			b.t, s.t = t, t
			f(t)
			b.quiet(t)
		}) {
			t.FailNow()
		}
		b.t, s.t = t, t
	}
}

// TestPage does what a person would, one thing after another, on one page.
func TestPage(t *testing.T) {
	t.Parallel()
	s := open(t, sample.Config{Start: day(1, 1), Days: 60, Orders: 1200, Events: 3000, Products: 60, Seed: 1, Dirt: 0.02})
	stopWorker := s.work()
	b := chromium(t, s.address)
	first := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if first.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("the run that the page is to show: %v", first)
	}
	total := func(from, to, category string) string {
		request := &shoplakev1.QueryKpiRequest{Name: "kpis/total_revenue", StartDate: from, EndDate: to}
		if category != "" {
			request.Parameters = map[string]string{"category": category}
		}
		return s.cell(request, "EUR", "revenue")
	}
	revenueOf := func(days int, category string) string {
		from, to := s.recent(days)
		return quoted(total(from, to, category))
	}
	revenue := card("total_revenue.revenue")
	step := steps(t, s, b)

	step("opens on the last 30 days, with the numbers of the API", func(*testing.T) {
		b.open("/")
		b.until(revenue + ` === ` + revenueOf(30, ""))
		for _, kpi := range []string{"daily_revenue", "top_products", "category_breakdown", "user_retention", "conversion_funnel", "revenue_by_country", "gross_margin", "inventory_cover"} {
			b.until(`document.querySelector('[data-panel="` + kpi + `"] .body') !== null`)
		}
		b.until(`document.querySelector('[data-panel="daily_revenue"] canvas') !== null`)
	})
	step("sees what runs low in stock first", func(t *testing.T) {
		low := func(row *structpb.Struct) bool { return row.GetFields()["below_reorder_level"].GetBoolValue() }
		left := func(row *structpb.Struct) float64 {
			days, err := strconv.ParseFloat(row.GetFields()["days_of_cover"].GetStringValue(), 64)
			if err != nil { // nothing of it was sold
				return math.Inf(1)
			}
			return days
		}
		var rows []*structpb.Struct
		from, to := "2026-01-01", ""
		for end := day(2, 28); !slices.ContainsFunc(rows, low); end = end.AddDate(0, 0, -7) {
			if to = end.Format(time.DateOnly); to < from {
				t.Fatal("the sample has no day on which a product is below its reorder level")
			}
			rows = s.answer(&shoplakev1.QueryKpiRequest{Name: "kpis/inventory_cover", StartDate: from, EndDate: to, PageSize: 1000}).GetRowSet().GetRows()
		}
		slices.SortStableFunc(rows, func(a, b *structpb.Struct) int {
			if low(a) != low(b) {
				return map[bool]int{true: -1, false: 1}[low(a)]
			}
			return cmp.Compare(left(a), left(b))
		})
		b.open("/?from=" + from + "&to=" + to)
		var want []string
		for _, row := range rows[:5] {
			want = append(want, row.GetFields()["product_id"].GetStringValue())
		}
		b.until(`[...document.querySelectorAll('[data-panel="inventory_cover"] tbody tr')].slice(0, 5).map((r) => r.cells[0].innerText.trim()).join() === ` + quoted(strings.Join(want, ",")))
		b.until(`document.querySelector('[data-panel="inventory_cover"] tbody tr').classList.contains("flagged")`)
		b.open("/")
		b.until(revenue + ` === ` + revenueOf(30, ""))
	})
	step("chooses a range", func(*testing.T) {
		b.click(`[data-range]`)
		b.clickText(`[popover]`, "Last 7 days")
		from, to := s.recent(7)
		b.until(`document.querySelector('[data-range="` + from + `/` + to + `"]') !== null && location.search.includes("range=7d")`)
		b.until(revenue + ` === ` + revenueOf(7, ""))
	})
	category := ""
	step("clicks a category, and everything filters", func(t *testing.T) {
		category = b.text(`document.querySelector('[data-panel="category_breakdown"] .name').textContent`)
		b.click(`[data-panel="category_breakdown"] ol button`)
		b.until(revenue + ` === ` + revenueOf(7, category))
		if url := b.text(`decodeURIComponent(location.search.replaceAll("+", " "))`); !strings.Contains(url, "filter.category="+category) {
			t.Errorf("the URL %s does not name the category %s", url, category)
		}
		b.until(`document.querySelector('[data-panel="conversion_funnel"]').innerText.includes("Not filtered by category")`)
	})
	step("shows the same again from the URL", func(*testing.T) {
		b.do(chromedp.Reload())
		b.until(revenue + ` === ` + revenueOf(7, category))
		b.do(chromedp.NavigateBack())
		b.until(revenue + ` === ` + revenueOf(7, ""))
	})
	step("watches a run from start to end", func(t *testing.T) {
		s.make(sample.Config{Start: day(3, 10), Days: 1, Orders: 30, Events: 100, Products: 60, Seed: 2})
		b.open("/pipeline")
		b.click(`[data-run="daily"]`)
		b.clickText("dialog[open]", "Preview")
		b.until(`document.querySelector("dialog[open] [role=status]")?.innerText.includes("silver.orders") ?? false`)
		evaluate[bool](b, `window.seen = new Set(); setInterval(() => { const s = document.querySelector("[data-state]")?.dataset.state; if (s) window.seen.add(s); }, 5); true`)
		b.clickText("dialog[open]", "Start the run")
		b.until(`document.querySelector('[data-state="SUCCEEDED"]') !== null`)
		if seen := b.text(`[...window.seen].join()`); !strings.Contains(seen, "RUNNING") {
			t.Errorf("the page showed the states %s, but never that the run is going", seen)
		}
		b.until(`document.querySelector('[data-node="gold.kpi_daily_sales"].good') !== null`)
		s.logged(strings.TrimPrefix(b.text(`location.pathname`), "/runs/"), "a line of the log")
		b.do(chromedp.Reload())
		b.until(`document.querySelector('[role=log]')?.innerText.includes("a line of the log")`)
		b.until(`document.querySelector('a[href^="http://localhost:16686/trace/"]') !== null`)
		if href := b.text(`document.querySelector('a[href^="http://localhost:16686/trace/"]').href`); len(href) != len("http://localhost:16686/trace/")+32 {
			t.Errorf("the link to the trace is %s", href)
		}
		b.open("/?range=7d")
		b.until(revenue + ` === ` + revenueOf(7, ""))
	})
	step("hears of a run that another starts, and shows its numbers when it has ended", func(t *testing.T) {
		evaluate[bool](b, `localStorage.setItem("shoplake.settings", JSON.stringify({refresh: 0})), true`)
		stopWorker()
		b.open("/pipeline")
		b.until(`document.querySelector('[aria-label="Runs"] tbody') !== null`)
		evaluate[bool](b, `window.same = true`)
		s.make(sample.Config{Start: day(3, 11), Days: 1, Orders: 30, Events: 100, Products: 60, Seed: 2})
		run, err := shoplakev1.NewRunServiceClient(s.conn).SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
		if err != nil {
			t.Fatal(err)
		}
		b.until(`document.querySelector('[aria-label="Runs"] tr:has(a[href^="/` + run.GetName() + `"])')?.innerText.includes("Running")`)
		b.until(`document.querySelector('[aria-label="Flows"] a[href^="/` + run.GetName() + `"]')?.innerText === "Running"`)
		b.until(`document.querySelector(".top .chip")?.innerText === "A run is going"`)
		b.clickText("nav", "KPIs")
		b.choose(`.bar label:nth-of-type(1) select`, "none")
		old := revenueOf(30, "")
		b.until(revenue + ` === ` + old)
		stopWorker = s.work()
		b.until(`document.querySelector(".top .chip") === null`)
		if now := revenueOf(30, ""); now == old {
			t.Fatal("the run changed nothing that the page could show")
		}
		b.until(revenue + ` === ` + revenueOf(30, ""))
		b.until(`window.same`)
		evaluate[bool](b, `localStorage.clear(), true`)
	})
	step("looks up a quarantined row", func(t *testing.T) {
		b.open("/quality")
		b.click(`[data-source="orders"]`)
		b.until(`location.search.includes("source=orders")`)
		rows, err := shoplakev1.NewQuarantineServiceClient(s.conn).ListQuarantinedRows(t.Context(), &shoplakev1.ListQuarantinedRowsRequest{Parent: "sources/orders", Rule: "enum:status"})
		if err != nil {
			t.Fatal(err)
		}
		first := rows.GetQuarantinedRows()[0]
		b.until(`[...document.querySelectorAll(".bars button")].some((e) => e.innerText.startsWith("enum:status") && !e.setAttribute("data-rule", ""))`)
		b.click("[data-rule]")
		b.until(`document.querySelector('[data-panel="rows"][aria-busy="false"]')?.innerText.includes("that broke enum:status")`)
		b.click(`[data-panel="rows"] .open`)
		// The file has its columns in an order of its own.
		row, err := shoplakev1.NewQuarantineServiceClient(s.conn).GetQuarantinedRow(t.Context(), &shoplakev1.GetQuarantinedRowRequest{Name: first.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		status := quoted(strings.Split(string(row.GetRaw()), ",")[slices.Index(row.GetColumns(), "status")])
		b.until(`[...document.querySelectorAll('[data-panel="rows"] tr.picked mark')].some((m) => m.textContent === ` + status + `)`)
		b.until(`[...document.querySelectorAll('[data-panel="row"] pre mark')].some((m) => m.textContent === ` + status + `)`)
		b.until(`[...document.querySelectorAll('[data-panel="row"] tr.broken')].some((r) => r.cells[0].textContent === "status" && r.querySelector("code").textContent === ` + status + `)`)
	})
	step("cancels a run", func(*testing.T) {
		stopWorker()
		b.open("/pipeline")
		b.click(`[data-run="daily"]`)
		b.click(`dialog[open] input[type=checkbox]`)
		b.clickText("dialog[open]", "Start the run")
		b.until(`document.querySelector('[data-state="RUNNING"]') !== null`)
		b.clickText(`section[aria-label="Run"]`, "Cancel the run")
		b.until(`document.querySelector('[data-state="CANCELLED"]') !== null`)
	})
	step("loses the server and comes back", func(t *testing.T) {
		b.open("/?range=7d")
		want := revenueOf(7, "")
		b.until(revenue + ` === ` + want)
		s.stop()
		b.clickText(".top", "Refresh")
		b.until(`document.querySelector(".lost")?.innerText.includes("does not answer") ?? false`)
		b.until(revenue + ` === ` + want)
		s.start()
		b.until(`document.querySelector(".lost") === null`)
		b.until(`document.querySelector(".stale") === null`)
		b.until(revenue + ` === ` + want)
		// It hears of runs again.
		run, err := shoplakev1.NewRunServiceClient(s.conn).SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily"}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		b.until(`document.querySelector(".top .chip")?.innerText === "A run is going"`)
		if _, err := shoplakev1.NewRunServiceClient(s.conn).CancelRun(t.Context(), &shoplakev1.CancelRunRequest{Name: run.GetName()}); err != nil {
			t.Fatal(err)
		}
		b.until(`document.querySelector(".top .chip") === null`)
		b.forgive() // requests failed while the server was away
	})
	step("is accessible", func(t *testing.T) { accessible(t, b, "/"+first.GetName()) })
	step("fits a phone", func(t *testing.T) { narrow(t, b, "/"+first.GetName()) })
}
