package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/controlplane"
	"github.com/shoplake/shoplake/controlplane/schedule"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipelinestore"
	"github.com/shoplake/shoplake/pipelines"
)

const scheduledFlows = `name: tiny
time_zone: UTC
currency: EUR
flows:
  live: {select: ["*"], on_files: true}
  report: {select: [gold.*], after: [live]}
  yearly: {select: ["*"], schedule: {cron: "0 5 29 2 *", time_zone: Europe/Berlin, on_overlap: skip}}
`

// The shipped flows run each morning, and on Mondays.
func TestShippedSchedules(t *testing.T) {
	t.Parallel()
	p, err := pipelinestore.Check(t.Context(), pipelines.Ecommerce)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2028, 2, 26, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"daily": "02-27 04:15, 02-28 04:15, 02-29 04:15, 03-01 04:15", "weekly": "02-28 05:30, 03-06 05:30, 03-13 05:30, 03-20 05:30",
	} {
		f := p.Flow(name)
		if tables := p.TablesOf(f); len(tables) != len(p.Tables()) {
			t.Errorf("%s builds %v only", name, tables)
		}
		times, err := schedule.NewTimes(f.Schedule)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for at := times.Next(from); len(got) < 4; at = times.Next(at) {
			got = append(got, at.Format("01-02 15:04"))
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s runs at %s, want %s", name, text, want)
		}
	}
	if m := p.Flow("maintenance"); !slices.Equal(m.After, []string{"weekly"}) || m.Maintenance == nil {
		t.Errorf("maintenance runs after %v", m.After)
	}
	if late := p.Flow("weekly").Late; late == nil || late.Source != "inventory" || p.Flow("daily").Late != nil {
		t.Errorf("weekly waits for %v", late)
	}
}

// newRuns tells of each event of each run.
func (s *shop) newRuns(ctx context.Context) <-chan string {
	s.t.Helper()
	b, err := bus.Connect(ctx, bus.Config{Server: s.nats})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(b.Close)
	news, err := b.WatchNewRuns(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return news
}

// until waits, from event to event, until flows have had so many good runs.
func (s *shop) until(ctx context.Context, news <-chan string, want map[string]int) []*shoplakev1.Run {
	s.t.Helper()
	for {
		list, err := s.runs.ListRuns(ctx, &shoplakev1.ListRunsRequest{Filter: "state = SUCCEEDED"})
		if err != nil {
			s.t.Fatal(err)
		}
		missing := len(want)
		for flow, n := range want {
			for _, r := range list.GetRuns() {
				if r.GetFlow() == "flows/"+flow {
					n--
				}
			}
			if n <= 0 {
				missing--
			}
		}
		if missing == 0 {
			return list.GetRuns()
		}
		select {
		case <-news:
		case <-ctx.Done():
			s.t.Fatalf("there are %v, not yet %v", list.GetRuns(), want)
		}
	}
}

// Files that land start a flow, its success another one; a paused flow is started when it is resumed.
func TestFlowsStartByThemselves(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	folder["pipeline.yaml"] = &fstest.MapFile{Data: []byte(scheduledFlows)}
	s := setupWith(t, folder, 1, func(c *controlplane.Config) { c.Schedules = true })
	flows := shoplakev1.NewFlowServiceClient(s.conn)
	news := s.newRuns(ctx)

	s.drop("sales", "1.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,10.50\n")
	runs := s.until(ctx, news, map[string]int{"live": 1, "report": 1})
	for _, r := range runs {
		if r.GetTrigger() != shoplakev1.Trigger_TRIGGER_EVENT || r.GetNominalTime() == nil {
			t.Errorf("%s of %s: %s at %v", r.GetName(), r.GetFlow(), r.GetTrigger(), r.GetNominalTime())
		}
	}
	i := slices.IndexFunc(runs, func(r *shoplakev1.Run) bool { return r.GetFlow() == "flows/live" })
	if n := runs[i].GetCounts().GetRowsBronze(); n != 1 {
		t.Errorf("the run that the file started read %d rows", n)
	}

	list, err := flows.ListFlows(ctx, &shoplakev1.ListFlowsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	live, report, yearly := list.GetFlows()[0], list.GetFlows()[1], list.GetFlows()[2]
	if live.GetLastRun().GetRun() != runs[i].GetName() || live.GetLastRun().GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED ||
		!slices.Equal(live.GetFileSources(), []string{"sources/sales"}) || live.GetNextRunTime() != nil {
		t.Errorf("flow %v", live)
	}
	if !slices.Equal(report.GetAfter(), []string{"flows/live"}) {
		t.Errorf("flow %v", report)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	next := yearly.GetNextRunTime().AsTime().In(berlin)
	if next.Format("01-02 15:04") != "02-29 05:00" || !next.After(time.Now()) || yearly.GetLastRun() != nil || yearly.GetSchedule().GetOnOverlap() != "skip" {
		t.Errorf("flow %v, next at %v", yearly, next)
	}

	for _, name := range []string{"flows/live", "flows/yearly"} {
		paused, err := flows.PauseFlow(ctx, &shoplakev1.PauseFlowRequest{Name: name})
		if err != nil || !paused.GetPaused() || paused.GetNextRunTime() != nil {
			t.Errorf("paused: %v, %v", paused, err)
		}
	}
	if _, err := flows.PauseFlow(ctx, &shoplakev1.PauseFlowRequest{Name: "flows/none"}); status.Code(err) != codes.NotFound {
		t.Errorf("paused a flow that is not there: %v", err)
	}
	s.drop("sales", "2.csv", "sale_id,sale_date,version,amount\nb,2026-01-06,1,1\n")
	// A run that a person asks for is not kept back by a pause.
	if r, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/yearly"}); r.GetTrigger() != shoplakev1.Trigger_TRIGGER_MANUAL || r.GetNominalTime() != nil {
		t.Errorf("submitted %v", r)
	}
	if got, err := flows.GetFlow(ctx, &shoplakev1.GetFlowRequest{Name: "flows/live"}); err != nil || got.GetLastRun().GetRun() != runs[i].GetName() {
		t.Errorf("while paused: %v, %v", got, err)
	}
	if resumed, err := flows.ResumeFlow(ctx, &shoplakev1.ResumeFlowRequest{Name: "flows/live"}); err != nil || resumed.GetPaused() {
		t.Errorf("resumed: %v, %v", resumed, err)
	}
	s.until(ctx, news, map[string]int{"live": 2, "report": 2})
}
