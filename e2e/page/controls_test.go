package page

import (
	"encoding/csv"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

// weekdays is a KPI of a user's own, tills one that cannot be answered.
const (
	weekdays = `-- title: Revenue by weekday
-- description: Which days of the week people buy on.
-- chart: bar
-- unit revenue: currency
SELECT dayname(day) AS weekday, currency, sum(revenue) AS revenue FROM gold.kpi_daily_sales
WHERE ($from IS NULL OR day >= $from) AND ($to IS NULL OR day < $to)
GROUP BY weekday, currency ORDER BY revenue DESC
`
	tills = `-- title: Tills
-- description: What tills say.
-- chart: bar
SELECT dayname(day) AS weekday, CAST(dayname(day) AS BIGINT) AS tills FROM gold.kpi_daily_sales
`
)

// TestControls works the page's controls as a person does, by mouse and by keyboard.
func TestControls(t *testing.T) {
	t.Parallel()
	s := open(t, sample.Config{Start: day(1, 1), Days: 40, Orders: 900, Events: 1500, Products: 60, Seed: 3, Dirt: 0.01})
	s.work()
	b := chromium(t, s.address)
	if run := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("the run that the page is to show: %v", run)
	}
	step := steps(t, s, b)
	from, to := s.recent(7)
	drawn := `document.querySelector('[data-panel="daily_revenue"] canvas') !== null && document.querySelector("[aria-busy=true]") === null`

	step("all that is chosen stands in the URL", func(t *testing.T) {
		b.open("/?range=7d")
		b.until(drawn)
		b.choose(`[aria-label="Metric of Daily revenue"]`, "units")
		b.choose(`.bar label:nth-of-type(1) select`, "none")
		b.choose(`.bar label:nth-of-type(2) select`, "GBP")
		b.choose(`.bar label:nth-of-type(3) select`, "Electronics")
		b.click(`[aria-label="Show Revenue by country as a table"]`)
		b.clickText(`[data-panel="revenue_by_country"] thead`, "Orders")
		want := quoted(s.cell(&shoplakev1.QueryKpiRequest{Name: "kpis/total_revenue", StartDate: from, EndDate: to, Parameters: map[string]string{"category": "Electronics"}}, "GBP", "revenue"))
		b.until(card("total_revenue.revenue") + ` === ` + want)
		b.do(chromedp.Reload())
		b.until(card("total_revenue.revenue") + ` === ` + want)
		b.until(`document.querySelector('[aria-label="Metric of Daily revenue"]').value === "units"`)
		b.until(`[...document.querySelectorAll(".bar select")].map((e) => e.value).join() === "none,GBP,Electronics"`)
		b.until(`document.querySelector('[data-panel="revenue_by_country"] th[aria-sort="descending"]')?.innerText.startsWith("Orders") ?? false`)
	})
	step("a chart tells details, hides a line, zooms", func(t *testing.T) {
		b.open("/?range=all")
		b.until(drawn)
		x, y := b.middle(`[data-panel="daily_revenue"] canvas`)
		b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x-3, y), chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x, y))
		b.until(`document.querySelector('[data-panel="daily_revenue"] .tip')?.innerText.includes("Revenue") ?? false`)
		left, top := evaluate[float64](b, `document.querySelector('[data-panel="daily_revenue"] canvas').getBoundingClientRect().left`), evaluate[float64](b, `document.querySelector('[data-panel="daily_revenue"] canvas').getBoundingClientRect().top`)
		b.do(chromedp.MouseClickXY(left+12, top+9))
		b.until(`location.search.includes("daily_revenue.hidden=Revenue")`)
		b.do(chromedp.MouseClickXY(left+12, top+9))
		b.until(`!location.search.includes("hidden")`)
		wheel := func(p *input.DispatchMouseEventParams) { p.DeltaX, p.DeltaY = 1, -400 }
		b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseWheel, x, y, wheel, chromedp.ButtonModifiers(chromedp.ModifierCtrl)))
		b.until(`/daily_revenue.zoom=\d+-\d+/.test(location.search)`)
	})
	step("a chart is saved as CSV and as PNG", func(t *testing.T) {
		folder := t.TempDir()
		if _, err := chromedp.Call(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder}); err != nil {
			t.Fatal(err)
		}
		b.open("/?range=7d")
		b.until(drawn)
		name := "daily_revenue_" + from + "_" + to
		b.click(`[aria-label="Save Daily revenue as CSV"]`)
		rows, err := csv.NewReader(strings.NewReader(string(b.saved(filepath.Join(folder, name+".csv"))))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		answer := s.answer(&shoplakev1.QueryKpiRequest{Name: "kpis/daily_revenue", StartDate: from, EndDate: to})
		var want [][]string
		for _, row := range answer.GetRowSet().GetRows() {
			var cells []string
			for _, column := range answer.GetRowSet().GetColumns() {
				cells = append(cells, fmt.Sprint(row.GetFields()[column.GetName()].AsInterface()))
			}
			if slices.Contains(cells, "EUR") {
				want = append(want, cells)
			}
		}
		if len(want) != 7 || !slices.EqualFunc(rows[1:], want, slices.Equal) {
			t.Errorf("the file has\n%v\nthe API answers\n%v", rows, want)
		}
		for _, kpi := range []string{"Daily revenue", "Revenue by category", "Conversion funnel", "Customer retention"} {
			id := b.text(`document.querySelector('[aria-label="Save ` + kpi + ` as PNG"]').closest("[data-panel]").dataset.panel`)
			b.savedPicture(kpi, filepath.Join(folder, id+"_"+from+"_"+to+".png"))
		}
		run := b.text(`fetch("/shoplake.v1.RunService/ListRuns", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}).then((r) => r.json()).then((l) => l.runs[0].name)`)
		for _, c := range []struct{ page, what, file string }{
			{"/quality?source=orders", "the share of bad rows", "bad-rows"},
			{"/quality?source=orders", "the quarantine by rule", "orders-quarantine-by-rule"},
			{"/pipeline", "the duration of runs", "duration-of-runs"},
			{"/pipeline", "the storage", "storage"},
			{"/" + run, "the stages", "run-" + strings.TrimPrefix(run, "runs/")},
			{"/" + run, "the graph", "run-" + strings.TrimPrefix(run, "runs/") + "-graph"},
			{"/tables", "the lineage", "lineage"},
		} {
			b.see(view{path: c.page})
			b.savedPicture(c.what, filepath.Join(folder, c.file+".png"))
			b.click(`[aria-label="Save ` + c.what + ` as CSV"]`)
			rows, err := csv.NewReader(strings.NewReader(string(b.saved(filepath.Join(folder, c.file+".csv"))))).ReadAll()
			if err != nil || len(rows) < 2 {
				t.Errorf("%s as CSV: %v, %v", c.what, rows, err)
			}
		}
	})
	step("days of runs are chosen, and stand in the URL", func(*testing.T) {
		for _, page := range []string{"/pipeline", "/quality?source=orders"} {
			b.see(view{path: page})
			b.click(`[data-range]`)
			b.clickText(`[popover]`, "Last month")
			b.until(`location.search.includes("run.range=lastmonth")`)
			b.do(chromedp.Reload())
			b.until(`document.querySelector("main").innerText.includes("on these days")`)
			b.clickText("nav", "KPIs")
			b.until(card("total_revenue.revenue") + ` !== ""`) // orders are of other days than runs
			b.do(chromedp.NavigateBack())
			b.click(`[data-range]`)
			b.clickText(`[popover]`, "Last 7 days")
			b.until(`!document.querySelector("main").innerText.includes("on these days")`)
		}
	})
	step("all of it by keyboard", func(t *testing.T) {
		b.open("/")
		b.until(drawn)
		b.tabTo(`e.matches("[data-range]")`)
		b.press(kb.Enter)
		b.tabTo(`e.innerText === "Last 7 days"`)
		b.press(kb.Enter)
		b.until(`location.search.includes("range=7d") && document.querySelector(":popover-open") === null`)
		b.press(kb.Enter) // the focus is back at the button
		b.until(`document.querySelector(":popover-open") !== null`)
		b.press(kb.Escape)
		b.until(`document.querySelector(":popover-open") === null && document.activeElement.matches("[data-range]")`)
		b.tabTo(`e.closest('[data-panel="category_breakdown"] ol') !== null`)
		b.press(kb.Enter)
		b.until(`location.search.includes("filter.category=")`)
		b.press(kb.Enter)
		b.until(`!location.search.includes("filter.category=")`)
		b.open("/pipeline")
		b.until(`document.querySelector("[data-run=daily]") !== null`)
		b.tabTo(`e.matches("[data-run=daily]")`)
		b.press(kb.Enter)
		b.until(`document.querySelector("dialog[open]")?.contains(document.activeElement) ?? false`)
		for range 12 {
			b.press(kb.Tab)
			if evaluate[bool](b, `document.activeElement.closest("main") !== null && document.activeElement.closest("dialog") === null`) {
				t.Fatal("the focus left the dialog for the page behind it")
			}
		}
		b.press(kb.Escape)
		b.until(`document.querySelector("dialog[open]") === null && document.activeElement.matches("[data-run=daily]")`)
	})
	step("settings are kept, and the page renews itself", func(t *testing.T) {
		b.open("/")
		b.click(`[aria-label=Settings]`)
		b.choose(`[popover]:popover-open label:nth-of-type(1) select`, "dark")
		b.choose(`[popover]:popover-open label:nth-of-type(2) select`, "15")
		b.do(chromedp.Reload())
		b.until(`document.documentElement.dataset.theme === "dark"`)
		b.click(`[aria-label=Settings]`)
		b.until(`document.querySelector(":popover-open label:nth-of-type(2) select").selectedOptions[0].text === "Every 15 seconds"`)
		// As often as no person may choose, so that the test need not wait.
		evaluate[bool](b, `localStorage.setItem("shoplake.settings", JSON.stringify({theme: "light", refresh: 0.2})), true`)
		b.do(chromedp.Reload())
		b.until(`performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/ListKpis")).length > 3`)
		evaluate[bool](b, `localStorage.clear(), true`)
	})
	step("a KPI of a user's own appears by itself, one that fails says so", func(t *testing.T) {
		s.activate(map[string]string{"kpis/weekdays.sql": weekdays, "kpis/tills.sql": tills})
		s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
		b.open("/?range=7d")
		b.until(`document.querySelector('[data-panel="weekdays"] h2')?.innerText === "Revenue by weekday"`)
		var want []string
		for _, row := range s.answer(&shoplakev1.QueryKpiRequest{Name: "kpis/weekdays", StartDate: from, EndDate: to}).GetRowSet().GetRows() {
			if row.GetFields()["currency"].GetStringValue() == "EUR" {
				want = append(want, row.GetFields()["weekday"].GetStringValue())
			}
		}
		b.until(`[...document.querySelectorAll('[data-panel="weekdays"] ol .name')].map((e) => e.innerText).join() === ` + quoted(strings.Join(want, ",")))
		b.until(`document.querySelector('[data-panel="tills"] [role=alert]')?.innerText.includes("could not be loaded") ?? false`)
		b.until(`document.querySelector('[data-panel="tills"] [role=alert]').innerText.includes("tills")`)
		b.forgive() // the answer of the one that fails
	})
	step("what is loading has its place", func(t *testing.T) {
		const count = `window.skeletons = 0; new MutationObserver(() => skeletons += document.querySelectorAll(".skeleton").length).observe(document, {childList: true, subtree: true})`
		if _, err := chromedp.Call(b.ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: count}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/quality", "/pipeline", "/tables"} {
			b.see(view{path: path})
			b.until(`skeletons > 0`)
		}
		b.forgive()
	})
	step("days without data say so", func(t *testing.T) {
		b.open("/?from=2020-01-01&to=2020-01-05")
		b.until(`document.querySelector('[data-panel="daily_revenue"] .state')?.innerText.includes("No rows in this range") ?? false`)
		b.until(`document.querySelector('[data-card="total_revenue.revenue"] .value')?.innerText === "–"`)
		b.forgive()
	})
}

// choose picks an option of a drop-down.
func (b *browser) choose(selector, value string) {
	b.t.Helper()
	b.until(`[...(document.querySelector(` + quoted(selector) + `)?.options ?? [])].some((o) => o.value === ` + quoted(value) + ` || o.text === ` + quoted(value) + ` || o.__value == ` + quoted(value) + `)`)
	evaluate[bool](b, `(() => { const e = document.querySelector(`+quoted(selector)+`); const v = `+quoted(value)+`;
		e.selectedIndex = [...e.options].findIndex((o) => o.value === v || o.text === v || o.__value == v); e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); return true; })()`)
}

// fill types a value into a field.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.until(`document.querySelector(` + quoted(selector) + `) !== null`)
	evaluate[bool](b, `(() => { const e = document.querySelector(`+quoted(selector)+`); e.value = `+quoted(value)+`; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); return true; })()`)
}

func (b *browser) press(key string) { b.t.Helper(); b.do(chromedp.KeyEvent(key)) }

// tabTo moves the focus forward until it is at an element e of which an expression holds.
func (b *browser) tabTo(condition string) {
	b.t.Helper()
	for range 150 {
		if evaluate[bool](b, `((e) => `+condition+`)(document.activeElement)`) {
			if !evaluate[bool](b, `document.activeElement.matches(":focus-visible")`) {
				b.t.Error("nothing shows where the focus is")
			}
			return
		}
		b.press(kb.Tab)
	}
	b.fail(errors.New("the focus never came to where " + condition))
}

func (b *browser) middle(selector string) (x, y float64) {
	b.t.Helper()
	b.do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	at := evaluate[[]float64](b, `(() => { const r = document.querySelector(`+quoted(selector)+`).getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()`)
	return at[0], at[1]
}

// savedPicture saves a chart as a picture, in which something must be drawn.
func (b *browser) savedPicture(what, path string) {
	b.t.Helper()
	b.click(`[aria-label="Save ` + what + ` as PNG"]`)
	picture, err := png.Decode(strings.NewReader(string(b.saved(path))))
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	colours := map[any]bool{}
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			colours[picture.At(x, y)] = true
		}
	}
	if len(colours) < 10 {
		b.t.Errorf("the picture of %s has %d colours only: nothing is drawn", what, len(colours))
	}
}

// saved waits for a file that the browser saves.
func (b *browser) saved(path string) []byte {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		content, err := os.ReadFile(path)
		if err == nil {
			return content // the browser writes under another name, and renames
		}
		if !errors.Is(err, fs.ErrNotExist) {
			b.t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatalf("the browser did not save %s", path)
		}
	}
}
