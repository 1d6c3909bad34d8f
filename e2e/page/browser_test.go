package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// patience is how long something on the page may take to come.
const patience = 30 * time.Second

// browser is a page of a Chromium, and what it complained about.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu         sync.Mutex
	complaints []string
	foreign    []string
}

// chromium starts a Chromium; the test is skipped where there is none.
func chromium(t *testing.T, address string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1440, 900), chromedp.Flag("lang", "en-GB"))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, base: "http://" + address}
	console, requests := chromedp.Console(ctx), chromedp.Events(ctx, network.RequestWillBeSent)
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for message, err := range console {
			if err != nil {
				return // the browser was closed
			}
			if message.IsException() || message.Type == chromedp.ConsoleError {
				b.hear(&b.complaints, message.String()+" "+message.URL)
			}
		}
	}()
	go func() {
		for e, err := range requests {
			if err != nil {
				return
			}
			url := e.Request.URL
			if !strings.HasPrefix(url, b.base+"/") && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:") && !strings.HasPrefix(url, "about:") {
				b.hear(&b.foreign, url)
			}
		}
	}()
	return b
}

func (b *browser) hear(list *[]string, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(*list, text)
}

// quiet fails where the page complained: a fault of a script, a refused style, a failed request.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		t.Errorf("the page complains: %s", c)
	}
	for _, url := range b.foreign {
		t.Errorf("the page asked another server: %s", url)
	}
	b.complaints, b.foreign = nil, nil
}

// forgive forgets complaints that were meant to come.
func (b *browser) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = nil
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.fail(err)
	}
}

// fail ends the test with what the page shows.
func (b *browser) fail(err error) {
	b.t.Helper()
	shown, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 3000)`))
	b.t.Fatalf("%v; the page shows:\n%s", err, shown)
}

func (b *browser) open(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.base + path)) }

// target is where to click an element: in its middle, once it can be clicked, stands still, and nothing lies on it.
const target = `new Promise((done) => { let last = ""; const look = () => {
	const e = document.querySelector(%s);
	if (e?.checkVisibility() && !e.disabled) {
		e.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
		const r = e.getBoundingClientRect(), x = r.left + r.width / 2, y = r.top + r.height / 2, now = [x, y].join(), hit = document.elementFromPoint(x, y);
		if (now === last && hit && (e.contains(hit) || hit.contains(e))) return done([x, y]);
		last = now;
	}
	requestAnimationFrame(look);
}; look(); })`

func (b *browser) click(selector string) {
	b.t.Helper()
	at := evaluate[[]float64](b, fmt.Sprintf(target, quoted(selector)))
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// clickText clicks the first button or link with that text or label.
func (b *browser) clickText(within, text string) {
	b.t.Helper()
	const mark = `(() => { const all = [...document.querySelectorAll(%[1]s)]; const e = all.find((e) => e.checkVisibility() && (e.innerText.trim() === %[2]s || e.ariaLabel === %[2]s)); if (!e) return false;
		document.querySelectorAll("[data-chosen]").forEach((o) => o.removeAttribute("data-chosen")); e.setAttribute("data-chosen", ""); return true; })()`
	b.until(fmt.Sprintf(mark, quoted(within+" button, "+within+" a"), quoted(text)))
	b.click("[data-chosen]")
}

// until waits for an expression to become true. It is not chromedp's Poll: that asks for the document which it knows, which may be
// the one before.
func (b *browser) until(expression string) {
	b.t.Helper()
	evaluate[bool](b, `new Promise((done, fail) => { const look = () => { try { if (`+expression+`) done(true); else setTimeout(look, 20); } catch (e) { fail(e); } }; look(); })`)
}

// evaluate evaluates an expression, a promise included.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.fail(fmt.Errorf("evaluate %.600s: %w", expression, err))
	}
	return result
}

func (b *browser) text(expression string) string {
	b.t.Helper()
	return evaluate[string](b, expression)
}

func quoted(text string) string {
	encoded, _ := json.Marshal(text)
	return string(encoded)
}

// look sets the window and whether the page is dark.
func (b *browser) look(width, height int64, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(chromedp.EmulateViewport(width, height))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.fail(err)
	}
}
