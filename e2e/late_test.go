package e2e

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shoplake/shoplake/controlplane"
	"github.com/shoplake/shoplake/controlplane/alert"
	"github.com/shoplake/shoplake/controlplane/schedule"
	"github.com/shoplake/shoplake/internal/bus"
)

const weeklyFlow = `name: tiny
time_zone: UTC
currency: EUR
flows:
  weekly:
    select: ["*"]
    schedule: {cron: "0 6 * * 1", time_zone: Europe/Berlin}
    late: {source: sales, after: 12h}
    notify: [ops]
`

// People hear once, through a channel, that a flow is due and what it waits for; when the file is there, it runs and says so.
func TestPeopleHearThatAFlowIsLate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	messages := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		messages <- string(body)
	}))
	t.Cleanup(server.Close)
	channels, err := alert.NewChannels([]string{"ops=generic+" + server.URL + "?template=json"})
	if err != nil {
		t.Fatal(err)
	}
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	var clock atomic.Pointer[time.Time]
	set := func(at time.Time) { clock.Store(&at) }
	set(monday)
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	folder["pipeline.yaml"] = &fstest.MapFile{Data: []byte(weeklyFlow)}
	s := setupWith(t, folder, 1, func(c *controlplane.Config) {
		c.Schedules, c.Channels, c.Now = true, channels, func() time.Time { return *clock.Load() }
	})
	news := s.newRuns(ctx)
	b, err := bus.Connect(ctx, bus.Config{Server: s.nats})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	s.await("the schedule is known", func() bool {
		st, _, err := schedule.Read(ctx, b, "weekly")
		return err == nil && st.Through.Equal(monday)
	})

	set(monday.Add(5*time.Hour + 30*time.Minute)) // half past six in Berlin
	var message string
	select {
	case message = <-messages:
	case <-ctx.Done():
		t.Fatal("nobody was told")
	}
	for _, part := range []string{"weekly is late", "2026-03-02 05:00 UTC", "no file of sales has landed since 2026-02-23 05:00 UTC", "waits for one until 2026-03-02 17:00 UTC"} {
		if !strings.Contains(message, part) {
			t.Errorf("people were told %s, without %q", message, part)
		}
	}
	s.drop("sales", "week.csv", "sale_id,sale_date,version,amount\na,2026-02-25,1,1\n")
	landed := monday.Add(6 * time.Hour)
	if err := os.Chtimes(s.path("landing", "sales", "week.csv"), landed, landed); err != nil {
		t.Fatal(err)
	}
	set(landed.Add(time.Minute))
	run := s.until(ctx, news, map[string]int{"weekly": 1})[0]
	if notices := strings.Join(run.GetNotices(), "\n"); !strings.Contains(notices, "late: the file of sales landed at 2026-03-02 06:00 UTC") {
		t.Errorf("the run says %q", notices)
	}
	s.wantRevenue("", "", "1", "1.0000")
	select {
	case message := <-messages:
		t.Errorf("people were also told %s", message)
	default:
	}
}
