package dashboard

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// What the page may weigh, packed: all scripts together, and those that the first view waits for.
const (
	scriptBudget = 300 << 10
	firstBudget  = 110 << 10
)

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	paths, err := Paths()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, handler := range paths {
		mux.Handle(pattern, handler)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string, header map[string]string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

var asset = regexp.MustCompile(`(?:src|href)="(/[^"]+)"`)

func TestPageIsServedAtEveryPathOfIts(t *testing.T) {
	t.Parallel()
	s := serve(t)
	_, page := get(t, s.URL+"/", nil)
	for _, path := range []string{"/quality", "/pipeline", "/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/tables/gold.dim_date"} {
		response, body := get(t, s.URL+path, nil)
		if response.StatusCode != http.StatusOK || body != page {
			t.Errorf("%s: status %d, and it is the page: %v", path, response.StatusCode, body == page)
		}
	}
	if response, _ := get(t, s.URL+"/nothing", nil); response.StatusCode != http.StatusNotFound {
		t.Errorf("/nothing: status %d, want 404", response.StatusCode)
	}
	named := asset.FindAllStringSubmatch(page, -1)
	if len(named) < 3 {
		t.Fatalf("the page names %d files only:\n%s", len(named), page)
	}
	for _, n := range named {
		if response, _ := get(t, s.URL+n[1], nil); response.StatusCode != http.StatusOK {
			t.Errorf("%s, which the page names: status %d", n[1], response.StatusCode)
		}
	}
	if strings.Contains(page, "://") {
		t.Errorf("the page names another server, but must work without internet:\n%s", page)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t)
	response, page := get(t, s.URL+"/", nil)
	security := response.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"} {
		if !strings.Contains(security, want) {
			t.Errorf("Content-Security-Policy %q lacks %q", security, want)
		}
	}
	if strings.Contains(security, "unsafe") {
		t.Errorf("Content-Security-Policy %q is not strict", security)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("the page: Cache-Control %q, want no-cache", got)
	}
	again, _ := get(t, s.URL+"/", map[string]string{"If-None-Match": response.Header.Get("ETag")})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the page again, unchanged: status %d, want 304", again.StatusCode)
	}
	packed, body := get(t, s.URL+"/", map[string]string{"Accept-Encoding": "gzip"})
	if packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("the page is not packed for a browser that reads gzip")
	}
	unpacked, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(unpacked); err != nil || string(plain) != page {
		t.Errorf("the packed page is another one (%v)", err)
	}
	for _, n := range asset.FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(n[1], "/assets/") {
			continue
		}
		response, _ := get(t, s.URL+n[1], nil)
		if got := response.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
			t.Errorf("%s: Cache-Control %q, want immutable", n[1], got)
		}
	}
}

func TestScriptsStayWithinTheirBudget(t *testing.T) {
	t.Parallel()
	paths, err := Paths()
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t)
	_, page := get(t, s.URL+"/", nil)
	all, first := 0, 0
	for pattern, handler := range paths {
		name := strings.TrimPrefix(pattern, "GET ")
		if !strings.HasSuffix(name, ".js") {
			continue
		}
		size := len(handler.(*file).small)
		all += size
		if strings.Contains(page, name) {
			first += size
		}
	}
	if all > scriptBudget || first > firstBudget || first == 0 {
		t.Errorf("scripts have %d bytes packed (at most %d), those of the first view %d (at most %d)", all, scriptBudget, first, firstBudget)
	}
	t.Logf("scripts: %d KB packed, first view %d KB", all>>10, first>>10)
}
