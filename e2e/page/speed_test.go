package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

// stopwatch notes in each page when all of the first view is drawn, the largest paint, and each task that kept the page busy.
const stopwatch = `window.tasks = []; window.largest = 0; window.complete = 0;
new PerformanceObserver((l) => l.getEntries().forEach((e) => tasks.push(Math.round(e.duration)))).observe({type: "longtask", buffered: true});
new PerformanceObserver((l) => l.getEntries().forEach((e) => largest = e.startTime)).observe({type: "largest-contentful-paint", buffered: true});
const look = () => {
	if (document.querySelector("[data-card]") && document.querySelector("[data-panel=daily_revenue] canvas") && !document.querySelector(".skeleton, [aria-busy=true]")) complete = performance.now();
	else requestAnimationFrame(look);
};
requestAnimationFrame(look);`

const (
	// firstView is how soon everything is drawn on a warm server; slowest is how long the page may be busy without a pause.
	firstView = time.Second
	slowest   = 250 * time.Millisecond
	// tries: on a busy machine anything may take long, but not each time.
	tries = 25
)

// byCategory is a line for each category.
const byCategory = `-- title: Categories by day
-- description: Revenue of each category and day.
-- chart: line
-- unit revenue: currency
SELECT day, category, currency, sum(revenue) AS revenue
FROM gold.kpi_daily_sales JOIN gold.dim_product USING (product_id)
WHERE ($from IS NULL OR day >= $from) AND ($to IS NULL OR day < $to)
GROUP BY ALL ORDER BY day, category, currency
`

// TestYear opens the page on a year of data with a hundred categories: it is there within a second, and stays smooth.
func TestYear(t *testing.T) {
	s := open(t, sample.Config{Start: day(1, 1), Days: 365, Orders: 12000, Events: 12000, Products: 900, Seed: 1, Dirt: 0.001})
	s.work()
	products := strings.Replace(shipped(t, "gold/dim_product.sql"), "stocked.category,", "stocked.category || ' ' || CAST(hash(product.product_id) % 13 AS VARCHAR),", 1)
	s.activate(map[string]string{"gold/dim_product.sql": products, "kpis/by_category.sql": byCategory})
	if run := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("the run that the page is to show: %v", run)
	}
	categories := map[string]bool{}
	for _, row := range s.answer(&shoplakev1.QueryKpiRequest{Name: "kpis/category_breakdown"}).GetRowSet().GetRows() {
		categories[row.GetFields()["category"].GetStringValue()] = true
	}
	if len(categories) < 100 {
		t.Fatalf("there are %d categories, want 100 or more", len(categories))
	}
	b := chromium(t, s.address)
	if _, err := chromedp.Call(b.ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: stopwatch}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true}); err != nil {
		t.Fatal(err)
	}
	step := steps(t, s, b)
	// quickest does something until it was quick once.
	quickest := func(t *testing.T, what string, want time.Duration, do func() time.Duration) {
		t.Helper()
		best := time.Hour
		for range tries {
			if best = min(best, do()); best < want {
				break
			}
		}
		t.Logf("%s: %v", what, best.Round(time.Millisecond))
		if best >= want {
			t.Errorf("%s takes %v at best of %d times, want less than %v", what, best, tries, want)
		}
	}
	milliseconds := func(expression string) time.Duration {
		return time.Duration(evaluate[float64](b, expression) * float64(time.Millisecond))
	}
	// longest is the longest task until now: those that are not told of yet are waited for.
	const longest = `new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(Math.max(0, ...tasks)), 0)))`
	step("the first view is there within a second", func(t *testing.T) {
		quickest(t, "first view of 30 days, nothing in the browser's cache", firstView, func() time.Duration {
			b.open("/")
			b.until(`complete > 0`)
			return milliseconds(`complete`)
		})
		t.Logf("largest contentful paint: %v", milliseconds(`largest`))
	})
	step("a year of a hundred categories stays smooth", func(t *testing.T) {
		quickest(t, "longest task while a year is opened", slowest, func() time.Duration {
			b.open("/?range=all")
			b.until(`complete > 0 && document.querySelector('[data-panel="by_category"] canvas')`)
			return milliseconds(longest)
		})
		t.Logf("the year is there after %v", milliseconds(`complete`).Round(time.Millisecond))
		b.until(`document.querySelector('[data-panel="by_category"]').innerText.includes("The 8 largest of ")`)
		b.until(`document.querySelectorAll('[data-panel="category_breakdown"] ol li').length === 12`)
		quickest(t, "longest task while a category is chosen and left", slowest, func() time.Duration {
			evaluate[bool](b, `tasks = [], true`)
			for _, chosen := range []string{"true", "false"} {
				b.click(`[data-panel="category_breakdown"] ol button`)
				b.until(`document.querySelector("[aria-busy=true]") === null && document.querySelector('[data-panel="category_breakdown"] ol button').ariaPressed === "` + chosen + `"`)
			}
			return milliseconds(longest)
		})
		rows, pages := 0, 0
		for question := (&shoplakev1.QueryKpiRequest{Name: "kpis/by_category"}); ; {
			answer := s.answer(question)
			pages++
			for _, row := range answer.GetRowSet().GetRows() {
				if row.GetFields()["currency"].GetStringValue() == "EUR" {
					rows++
				}
			}
			if question.PageToken = answer.GetNextPageToken(); question.PageToken == "" {
				break
			}
		}
		if pages < 2 {
			t.Fatal("the API answers with one page: it is not seen whether all are shown")
		}
		b.click(`[aria-label="Show Categories by day as a table"]`)
		b.until(`document.querySelector('[data-panel="by_category"] nav')?.innerText.includes("of ` + fmt.Sprint(rows) + `") ?? false`)
		b.click(`[aria-label="Show Categories by day as a table"]`)
		quickest(t, "longest task while the year is shown as a table and sorted", slowest, func() time.Duration {
			evaluate[bool](b, `tasks = [], true`)
			b.click(`[aria-label="Show Categories by day as a table"]`)
			b.clickText(`[data-panel="by_category"] thead`, "Revenue")
			b.until(`document.querySelector('[data-panel="by_category"] th[aria-sort]') !== null`)
			b.click(`[aria-label="Show Categories by day as a table"]`)
			b.until(`document.querySelector('[data-panel="by_category"] canvas') !== null`)
			return milliseconds(longest)
		})
	})
}
