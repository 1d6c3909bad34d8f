package page

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
)

// picturesVariable names the folder that make screenshots wants pictures in.
const picturesVariable = "SHOPLAKE_SCREENSHOTS"

// TestScreenshots takes a picture of each page, light, dark and as wide as a phone, of half a year with a history of runs.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv(picturesVariable)
	if folder == "" {
		t.Skip("make screenshots takes pictures")
	}
	s := open(t, sample.Config{}, scheduled)
	s.work()
	latest := s.history(sample.Config{Start: day(1, 1), Days: 188, Orders: 18800, Events: 62000, Products: 300, Seed: 1, Dirt: 0.006})
	b := chromium(t, s.address)
	if _, err := chromedp.Call(b.ctx, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-GB"}); err != nil {
		t.Fatal(err)
	}
	rows, err := shoplakev1.NewQuarantineServiceClient(s.conn).ListQuarantinedRows(t.Context(), &shoplakev1.ListQuarantinedRowsRequest{Parent: "sources/orders", Rule: "type:unit_price"})
	if err != nil {
		t.Fatal(err)
	}
	row := filepath.Base(rows.GetQuarantinedRows()[0].GetName())
	for _, p := range []struct {
		name, path string
		height     int64
	}{
		{"kpis", "/?range=90d", 1100},
		{"quality", "/quality?source=orders&rule=type:unit_price&row=" + row, 1520}, // down to the marked values
		{"pipeline", "/pipeline", 1100},
		{"run", "/" + latest.GetName() + "?stage=silver.orders&open=silver.orders,gold.fact_order_line", 1280},
		{"tables", "/tables", 1520},
	} {
		for _, look := range []struct {
			name          string
			width, height int64
			dark          bool
		}{{"light", 1440, p.height, false}, {"dark", 1440, p.height, true}, {"phone", 390, 844, false}} {
			b.look(look.width, look.height, look.dark)
			b.open(p.path)
			b.until(`document.querySelector("main .sheet") !== null && document.querySelector(".skeleton") === null && document.querySelector("[aria-busy=true]") === null`)
			b.until(`[...document.querySelectorAll(".frame")].every((f) => f.querySelector("canvas"))`)
			b.until(`!location.pathname.startsWith("/runs/") || document.querySelectorAll(".line.task").length > 3 && document.querySelector('a[href*="/trace/"]')`)
			// Two frames: what was drawn last is on the screen.
			evaluate[bool](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
			picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, p.name+"-"+look.name+".png"), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.quiet(t)
}

// dated is the day or the week in the name of a file.
var dated = regexp.MustCompile(`\d{4}-(\d{2}-\d{2}|W\d{2})`)

// history runs the daily flow whenever files of a day have come: one run fails by a check, one is cancelled. It returns the first
// and longest.
func (s *shop) history(data sample.Config) *shoplakev1.Run {
	s.t.Helper()
	const last = 8 // how many days come one by one
	data.Out = s.t.TempDir()
	if _, err := sample.Generate(s.t.Context(), data); err != nil {
		s.t.Fatal(err)
	}
	come := func(days int) {
		until := data.Start.AddDate(0, 0, days-1)
		year, week := until.ISOWeek()
		s.land(data.Out, func(path string) bool {
			name := dated.FindString(path)
			return name <= until.Format(time.DateOnly) || strings.Contains(name, "W") && name <= fmt.Sprintf("%d-W%02d", year, week)
		})
	}
	daily := &shoplakev1.SubmitRunRequest{Flow: "flows/daily"}
	come(data.Days - last)
	longest := s.run(daily)
	for n := range last {
		come(data.Days - last + n + 1)
		switch n {
		case 3:
			s.activate(map[string]string{"checks/orders_have_customers.sql": "-- table: silver.orders\n-- description: Orders come with a customer.\nSELECT order_id FROM silver.orders WHERE customer_id IS NULL\n"})
			s.run(daily)
			s.activate(nil)
		case 5:
			runs := shoplakev1.NewRunServiceClient(s.conn)
			run, err := runs.SubmitRun(s.t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
			if err != nil {
				s.t.Fatal(err)
			}
			if _, err := runs.CancelRun(s.t.Context(), &shoplakev1.CancelRunRequest{Name: run.GetName()}); err != nil {
				s.t.Fatal(err)
			}
		}
		s.run(daily)
	}
	return longest
}
