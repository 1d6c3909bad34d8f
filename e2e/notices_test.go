//go:build unix

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// People hear of a failure, of what failed and where to look, and of the recovery, also over a restart.
func TestProcessesTellPeople(t *testing.T) {
	t.Parallel()
	messages := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		messages <- string(body)
	}))
	t.Cleanup(server.Close)
	d := deployed(t, 1, "SHOPLAKE_CHANNEL=ops=generic+"+server.URL+"?template=json", "SHOPLAKE_PUBLIC_URL=http://shop.example")
	told := func() string {
		t.Helper()
		select {
		case m := <-messages:
			return m
		case <-d.ctx.Done():
			t.Fatal("nobody was told")
			return ""
		}
	}
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	// A folder where the table's files go makes every attempt fail until it is gone.
	orders := d.path("lake", "silver", "orders", "data")
	if err := os.Rename(orders, orders+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(orders, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failed := d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true})
	d.watch(failed.GetName(), func(*shoplakev1.Run, []*shoplakev1.Stage) bool { return true })
	m := told()
	for _, part := range []string{"daily failed at silver.orders", "http://shop.example/runs/" + strings.TrimPrefix(failed.GetName(), "runs/")} {
		if !strings.Contains(m, part) {
			t.Errorf("people were told %s, without %q", m, part)
		}
	}
	if err := os.Remove(orders); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(orders+"-away", orders); err != nil {
		t.Fatal(err)
	}
	d.control.Kill()
	d.startControlPlane()
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true}).GetName())
	next := told()
	if next == m {
		next = told() // it was killed between telling and remembering
	}
	if !strings.Contains(next, "daily works again") {
		t.Errorf("people were told %s after the recovery", next)
	}
	d.wait(d.submit(&shoplakev1.SubmitRunRequest{}).GetName())
	d.stopAll()
	select {
	case m := <-messages:
		t.Errorf("people were also told %s", m)
	default:
	}
}
