package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func TestOnEnded(t *testing.T) {
	t.Parallel()
	steps := []struct {
		run, flow string
		outcome   string
		minute    int
		want      Kind
	}{
		{"01", "daily", "succeeded", 0, ""}, // an older program looked at it
		{"02", "daily", "failed", 2, Failed},
		{"02", "daily", "failed", 2, ""}, // heard again
		{"03", "weekly", "succeeded", 3, ""},
		{"04", "daily", "failed", 4, Failed},
		{"05", "daily", "cancelled", 5, ""},
		{"06", "daily", "succeeded", 6, Recovered},
		{"04", "daily", "failed", 4, ""}, // heard late
		{"07", "daily", "succeeded", 7, ""},
		{"08", "weekly", "failed", 8, Failed},
		{"04", "daily", "failed", 9, Failed}, // resumed, and failed again
		{"04", "daily", "succeeded", 10, Recovered},
		{"08", "weekly", "cancelled", 11, ""},
		{"08", "weekly", "succeeded", 12, Recovered},
	}
	m := Memory{Flows: map[string]Told{"daily": {RunID: "01"}}}
	for i, s := range steps {
		before := len(m.Flows)
		n, next := OnEnded(m, Ended{RunID: s.run, Flow: s.flow, Failed: s.outcome == "failed", Succeeded: s.outcome == "succeeded",
			Stage: "silver.orders", Class: "bad data", Message: "check net found 3 rows", At: noon.Add(time.Duration(s.minute) * time.Minute)}, "http://shop/runs/"+s.run)
		if len(m.Flows) != before {
			t.Errorf("step %d changed the memory that it was given", i)
		}
		m = next
		if n == nil && s.want == "" {
			continue
		}
		if n == nil || n.Kind != s.want {
			t.Errorf("step %d: got %v, want %q", i, n, s.want)
			continue
		}
		if !strings.Contains(n.Text, "/runs/"+s.run) || n.Kind == Failed && !(strings.Contains(n.Text, "bad data: check net found 3 rows") && strings.Contains(n.Title, "silver.orders")) {
			t.Errorf("step %d says %q: %q", i, n.Title, n.Text)
		}
	}
}

// A backfill's failures are told as its own, and its successes are taken for none of the flow's.
func TestOnEndedOfABackfill(t *testing.T) {
	t.Parallel()
	var m Memory
	for i, s := range []struct {
		backfill, outcome, want string
	}{
		{"", "failed", "Shoplake: daily failed at silver.orders"},
		{"B1", "succeeded", ""},
		{"B1", "failed", "Shoplake: a backfill of daily failed at silver.orders"},
		{"B1", "succeeded", ""},
		{"", "succeeded", "Shoplake: daily works again"},
		{"B2", "failed", "Shoplake: a backfill of daily failed at silver.orders"},
		{"", "succeeded", ""},
	} {
		e := Ended{RunID: fmt.Sprint(i), Flow: "daily", Backfill: s.backfill, Failed: s.outcome == "failed", Succeeded: s.outcome == "succeeded", At: noon.Add(time.Duration(i) * time.Minute)}
		if e.Failed {
			e.Stage = "silver.orders"
		}
		n, next := OnEnded(m, e, "")
		if m = next; n == nil && s.want == "" {
			continue
		}
		if n == nil || n.Title != s.want || s.backfill != "" && !strings.Contains(n.Text, "shoplake backfill resume "+s.backfill) {
			t.Errorf("step %d: people are told %+v, want %q", i, n, s.want)
		}
	}
}

func TestOnLate(t *testing.T) {
	t.Parallel()
	n, m := OnLate(Memory{}, "weekly", noon, "no inventory workbook", nil)
	if n == nil || n.Kind != Late || !strings.Contains(n.Text, "no inventory workbook") {
		t.Errorf("got %v", n)
	}
	if n, m = OnLate(m, "weekly", noon, "no inventory workbook", nil); n != nil {
		t.Errorf("told twice: %v", n)
	}
	if n, _ = OnLate(m, "weekly", noon.AddDate(0, 0, 7), "", nil); n == nil {
		t.Error("the next week is not told")
	}
}

func TestChannelsTellNoSecrets(t *testing.T) {
	t.Parallel()
	for _, given := range [][]string{{"slack://hidden"}, {"=slack://hidden"}, {"a=nosuch://hidden@host"}, {"a=slack://hidden"}, {"a=logger://", "a=logger://"}} {
		_, err := NewChannels(given)
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v: %v", given, err)
		}
	}
}

// memoryStore is a store that loses the first save, as one does whose record somebody else changed.
type memoryStore struct {
	value    []byte
	revision uint64
}

func (s *memoryStore) Load(context.Context) ([]byte, uint64, error) { return s.value, s.revision, nil }
func (s *memoryStore) Save(_ context.Context, value []byte, revision uint64) error {
	if revision != s.revision {
		return errors.New("somebody else saved")
	}
	s.value, s.revision = value, revision+1
	return nil
}

type ended []Ended

func (e ended) WatchEnded(ctx context.Context, f func(Ended) error) error {
	for _, one := range e {
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}

func TestNotifierReachesAServer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	refusals := 1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if refusals > 0 {
			refusals--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got = append(got, string(body))
	}))
	t.Cleanup(server.Close)
	channels, err := NewChannels([]string{"ops=generic+" + server.URL + "?template=json"})
	if err != nil {
		t.Fatal(err)
	}
	store := &memoryStore{value: []byte(`{"flows":{}}`)}
	var log strings.Builder
	n := New(Config{Store: store, Sender: channels, PublicURL: "http://shop", Log: slog.New(slog.NewTextHandler(&log, nil)),
		Runs: ended{{RunID: "01", Flow: "daily", Failed: true, Stage: "bronze.orders", Class: "transient", Message: "disk full", At: noon},
			{RunID: "02", Flow: "daily", Succeeded: true, At: noon}, {RunID: "03", Flow: "daily", Failed: true, Channels: []string{"nobody"}, At: noon}}})
	for range 2 { // the second time as after a takeover: everything was told
		if err := n.Run(t.Context()); err == nil {
			t.Error("a watch that ends by itself is no error")
		}
	}
	if len(got) != 2 || !strings.Contains(got[0], "disk full") || !strings.Contains(got[0], "http://shop/runs/01") || !strings.Contains(got[1], "works again") {
		t.Errorf("people were told %q", got)
	}
	if !strings.Contains(log.String(), "no such channel") || strings.Contains(log.String(), server.URL) {
		t.Errorf("the log says %s", log.String())
	}
	if !slices.Equal(channels.Names(), []string{"ops"}) {
		t.Errorf("channels are %v", channels.Names())
	}
}

// Where channels are given for the first time, people do not hear of all that ever failed.
func TestWhatEndedBeforeIsNoNews(t *testing.T) {
	t.Parallel()
	store, sent := &memoryStore{}, sender{"ops": make(chan string, 4)}
	later := time.Now().Add(time.Hour)
	n := New(Config{Store: store, Sender: sent, Log: slog.New(slog.DiscardHandler),
		Runs: ended{{RunID: "01", Flow: "daily", Failed: true, At: noon}, {RunID: "02", Flow: "daily", Succeeded: true, At: noon.Add(time.Hour)},
			{RunID: "03", Flow: "daily", Failed: true, At: later}, {RunID: "04", Flow: "daily", Succeeded: true, At: later.Add(time.Hour)}}})
	for range 2 {
		if err := n.Run(t.Context()); err == nil {
			t.Error("a watch that ends by itself is no error")
		}
	}
	close(sent["ops"])
	var got []string
	for title := range sent["ops"] {
		got = append(got, title)
	}
	if want := []string{"Shoplake: daily failed", "Shoplake: daily works again"}; !slices.Equal(got, want) {
		t.Errorf("people were told %q, want %q", got, want)
	}
}

// sender sends titles to channels of Go's; a send waits until somebody takes it, or there is room.
type sender map[string]chan string

func (s sender) Names() []string { return slices.Sorted(maps.Keys(s)) }

func (s sender) Send(ctx context.Context, channel, title, _ string) error {
	select {
	case s[channel] <- title:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// toldRuns are the runs that a test sends.
type toldRuns chan Ended

func (r toldRuns) WatchEnded(ctx context.Context, f func(Ended) error) error {
	for {
		select {
		case e := <-r:
			if err := f(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A channel that does not answer keeps neither the scheduler nor the other channels waiting, and what comes meanwhile is told once.
func TestAChannelThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	sent := sender{"dead": make(chan string), "ops": make(chan string)}
	runs := make(toldRuns)
	n := New(Config{Runs: runs, Store: &memoryStore{}, Sender: sent, Log: slog.New(slog.DiscardHandler)})
	n.Lead(t.Context(), true)
	defer n.Lead(t.Context(), false)
	if err := n.Late("weekly", noon, "no file", nil); err != nil {
		t.Fatal(err)
	}
	if got := <-sent["ops"]; got != "Shoplake: weekly is late" {
		t.Errorf("told %q", got)
	}
	// The other channel has not answered yet.
	runs <- Ended{RunID: "01", Flow: "daily", Failed: true, At: time.Now().Add(time.Hour)}
	for range lateWaiting {
		if err := n.Late("weekly", noon, "no file", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Late("weekly", noon, "no file", nil); err == nil {
		t.Error("notices without number wait for a channel that does not answer")
	}
	for _, want := range []string{"Shoplake: weekly is late", "Shoplake: daily failed"} {
		if got := <-sent["dead"]; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	if got := <-sent["ops"]; got != "Shoplake: daily failed" {
		t.Errorf("told %q", got)
	}
}
