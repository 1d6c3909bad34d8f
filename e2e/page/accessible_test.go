package page

import (
	"os"
	"path/filepath"
	"testing"
)

// view is something that a person can look at: a page, and what was opened on it.
type view struct {
	path string
	// open opens a menu or a dialog; shown says when it is there.
	open, shown string
}

// views are all pages, with the menus and dialogs that they have; run is a run's page.
func views(run string) []view {
	const dialog = `document.querySelector("dialog[open], :popover-open") !== null`
	return []view{
		{path: "/?range=all"},
		{path: "/?daily_revenue.view=table"},
		{"/", `document.querySelector("[data-range]").click()`, dialog},
		{"/", `document.querySelector("[aria-label=Settings]").click()`, dialog},
		{path: "/quality?source=orders"},
		{"/quality?source=orders", `document.querySelector("[data-panel=rows] .open").click()`, `document.querySelector("[data-panel=row] pre") !== null`},
		{path: "/pipeline"},
		{"/pipeline", `document.querySelector("[data-run=daily]").click()`, dialog},
		{"/pipeline", `[...document.querySelectorAll("button")].find((e) => e.innerText.startsWith("Backfill")).click()`, dialog},
		{path: run},
		{run, `document.querySelector("[data-node]").click(); document.querySelector("[aria-expanded]").click()`, `document.querySelector(".line.task") !== null`},
		{path: "/tables"},
		{path: "/tables/silver.orders"},
		{path: "/tables/silver.orders?view=made"},
		{path: "/tables/silver.orders?view=snapshots"},
		{path: "/tables/silver.orders?view=partitions"},
		{path: "/tables/bronze.orders?view=made"},
	}
}

// see opens a view and waits until all of it is there.
func (b *browser) see(v view) {
	b.t.Helper()
	b.open(v.path)
	b.until(`document.querySelector("main .sheet") !== null && document.querySelector(".skeleton") === null && document.querySelector("[aria-busy=true]") === null`)
	if v.open != "" {
		b.until(`(() => { try { ` + v.open + `; return true } catch { return false } })()`)
		b.until(v.shown)
	}
}

// accessible lets axe look at every view, light and dark, wide and narrow.
func accessible(t *testing.T, b *browser, run string) {
	axe, err := os.ReadFile(filepath.Join("..", "..", "controlplane", "dashboard", "web", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Skip("axe is not here: make dashboard fetches it")
	}
	for _, c := range []struct {
		width int64
		dark  bool
	}{{1440, false}, {1440, true}, {390, false}} {
		b.look(c.width, 900, c.dark)
		for _, v := range views(run) {
			b.see(v)
			evaluate[bool](b, string(axe)+`;true`)
			faults := evaluate[[]string](b, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).then((r) => r.violations.flatMap((v) => v.nodes.slice(0, 3).map((n) => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`)
			for _, f := range faults {
				t.Errorf("%s %s at width %d, dark %v: %s", v.path, v.open, c.width, c.dark, f)
			}
		}
	}
}

// narrow looks at every view on narrow screens: none may be wider than the screen.
func narrow(t *testing.T, b *browser, run string) {
	for _, width := range []int64{390, 320} {
		b.look(width, 800, false)
		for _, v := range views(run) {
			b.see(v)
			if wide := evaluate[int](b, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("%s %s is %d wide on a screen of %d", v.path, v.open, wide, width)
			}
		}
	}
}
