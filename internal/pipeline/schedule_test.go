package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// scheduled is the small pipeline with these lines behind its flow, which ends in line 6.
func scheduled(lines string) map[string]string {
	return map[string]string{"pipeline.yaml": small["pipeline.yaml"] + lines}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	p := load(t, changed(scheduled(`    schedule:
      cron: "30 2 * * *"
      time_zone: America/New_York
      start_date: 2026-01-01
      end_date: 2027-01-01
      catch_up: all
      concurrency: 2
      on_overlap: cancel_running
    late: {source: sales, after: 12h}
    on_files: true
  weekly:
    select: [gold.*]
    schedule: {cron: "@weekly"}
    on_files: {sources: [sales]}
    after: [daily]
  plain:
    select: [gold.*]
    on_files: false
`)))
	want := []*pipeline.Flow{{
		Name: "daily", Title: "daily", Select: []string{"*"},
		Schedule: &pipeline.Schedule{
			Cron: "30 2 * * *", TimeZone: "America/New_York", StartDate: "2026-01-01", EndDate: "2027-01-01",
			CatchUp: pipeline.CatchUpAll, Concurrency: 2, OnOverlap: pipeline.OverlapCancelRunning,
		},
		Late: &pipeline.Late{Source: "sales", After: 12 * time.Hour}, OnFiles: true, FileSources: []string{"sales"},
	}, {
		Name: "plain", Title: "plain", Select: []string{"gold.*"},
	}, {
		Name: "weekly", Title: "weekly", Select: []string{"gold.*"},
		Schedule: &pipeline.Schedule{
			Cron: "@weekly", TimeZone: "Europe/Berlin", CatchUp: pipeline.CatchUpLatest, Concurrency: 1, OnOverlap: pipeline.OverlapQueue,
		},
		OnFiles: true, FileSources: []string{"sales"}, After: []string{"daily"},
	}}
	if diff := cmp.Diff(want, p.Flows); diff != "" {
		t.Errorf("flows (-want +got):\n%s", diff)
	}
}

func TestScheduleFaults(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, lines, want string }{
		{"no mapping", "    schedule: daily", "7:15: schedule holds keys: cron"},
		{"no cron", "    schedule: {time_zone: UTC}", "7:15: cron is missing"},
		{"too few fields", `    schedule: {cron: "0 4 * *"}`, "7:22: \"0 4 * *\" is no cron expression: five fields"},
		{"seconds", `    schedule: {cron: "0 0 4 * * *"}`, "7:22: \"0 0 4 * * *\" is no cron expression: five fields"},
		{"no hour", `    schedule: {cron: "0 24 * * *"}`, "7:22: \"0 24 * * *\" is no cron expression: "},
		{"every", `    schedule: {cron: "@every 5m"}`, "7:22: \"@every 5m\" is no cron expression: @every is not tied"},
		{"reboot", `    schedule: {cron: "@reboot"}`, "7:22: \"@reboot\" is no cron expression: "},
		{"zone in cron", `    schedule: {cron: "TZ=UTC 0 4 * * *"}`, "7:22: \"TZ=UTC 0 4 * * *\" is no cron expression: a time zone does not belong"},
		{"no such day", `    schedule: {cron: "0 4 30 2 *"}`, "7:22: \"0 4 30 2 *\" is no cron expression: no day is like"},
		{"time zone", `    schedule: {cron: "@daily", time_zone: Mars/North}`, `7:43: "Mars/North" is no time zone`},
		{"date", `    schedule: {cron: "@daily", start_date: 2026-02-30}`, `7:44: "2026-02-30" is no date`},
		{"dates", `    schedule: {cron: "@daily", start_date: 2026-02-01, end_date: 2026-02-01}`, "7:66: end_date 2026-02-01 is not after start_date"},
		{"catch-up", `    schedule: {cron: "@daily", catch_up: some}`, "7:42: catch_up is one of latest, all, none"},
		{"overlap", `    schedule: {cron: "@daily", on_overlap: wait}`, "7:44: on_overlap is one of queue, skip, cancel_running"},
		{"concurrency", `    schedule: {cron: "@daily", concurrency: 0}`, "7:45: concurrency is how many runs"},
		{"concurrency as text", `    schedule: {cron: "@daily", concurrency: two}`, "7:45: concurrency is how many runs"},
		{"unknown key", `    schedule: {cron: "@daily", catchup: all}`, `7:32: unknown key "catchup"`},
		{"late without schedule", "    late: {source: sales, after: 1h}", "7:5: late says what a schedule waits for"},
		{"late without source", "    schedule: {cron: \"@daily\"}\n    late: {after: 1h}", "8:11: source is missing"},
		{"late for how long", "    schedule: {cron: \"@daily\"}\n    late: {source: sales, after: -1h}", `8:34: "-1h" is no time span`},
		{"late for another source", "    schedule: {cron: \"@daily\"}\n    late: {source: stock, after: 1h}", `8:20: flow daily reads no source "stock": it reads sales`},
		{"files of another source", "    on_files: {sources: [stock]}", `7:25: flow daily reads no source "stock"`},
		{"files of none", "    on_files: {sources: []}", "7:15: on_files names no source"},
		{"files by name", "    on_files: sales", "7:15: on_files is true, or {sources: [...]}"},
		{"after no list", "    after: daily", "7:12: after is a list of names"},
		{"after twice", "    after: [weekly, weekly]\n  weekly: {select: [\"*\"]}", "7:21: must be a name that is not in the list yet"},
		{"after nothing", "    after: [weekly]", `7:12: there is no flow "weekly"`},
		{"after itself", "    after: [daily]", "7:12: the flows wait for each other, and would run forever: daily after daily"},
		{"round", "    after: [b]\n  a: {select: [\"*\"], after: [daily]}\n  b: {select: [\"*\"], after: [a]}", "7:12: the flows wait for each other, and would run forever: daily after b after a after daily"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if text := faultsOf(t, changed(scheduled(c.lines))); !strings.HasPrefix(text, "pipeline.yaml:"+c.want) {
				t.Errorf("faults:\n%s\nwant %s", text, c.want)
			}
		})
	}
}

func TestCron(t *testing.T) {
	t.Parallel()
	begin := time.Date(2027, 2, 27, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text, want string
		everyHour  bool
	}{
		{"0 4 * * *", "2027-02-28 04:00, 2027-03-01 04:00, 2027-03-02 04:00", false},
		{"@daily", "2027-02-28 00:00, 2027-03-01 00:00, 2027-03-02 00:00", false},
		{"@hourly", "2027-02-27 13:00, 2027-02-27 14:00, 2027-02-27 15:00", true},
		{"*/20 * * * *", "2027-02-27 12:20, 2027-02-27 12:40, 2027-02-27 13:00", true},
		{"0 */2 * * *", "2027-02-27 14:00, 2027-02-27 16:00, 2027-02-27 18:00", false},
		{"30 5 * * mon", "2027-03-01 05:30, 2027-03-08 05:30, 2027-03-15 05:30", false},
		{"0 0 29 2 *", "2028-02-29 00:00, 2032-02-29 00:00, 2036-02-29 00:00", false},
		// Either is enough, as in crontab(5).
		{"0 0 1 * sun", "2027-02-28 00:00, 2027-03-01 00:00, 2027-03-07 00:00", false},
	} {
		cron, err := pipeline.ParseCron(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var times []string
		for at := cron.Next(begin); len(times) < 3; at = cron.Next(at) {
			times = append(times, at.Format("2006-01-02 15:04"))
		}
		if got := strings.Join(times, ", "); got != c.want || cron.EveryHour() != c.everyHour || cron.String() != c.text {
			t.Errorf("%s: %s, every hour %t", c.text, got, cron.EveryHour())
		}
	}
}
