package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// zones shift their clocks by an hour at 02:00, in opposite seasons by half an hour, at midnight, and never.
var zones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"}

// shifty names most days on which clocks are shifted, at a time that the shift leaves out or repeats, and leap days.
const shifty = "30 2 29 2,3,4,10,11 0"

// matchers are cron expressions, with what they mean in Go: an account of them that owes nothing to the parser.
var matchers = map[string]func(local time.Time) bool{
	"30 2 * * *":     func(l time.Time) bool { return l.Hour() == 2 && l.Minute() == 30 },
	"0 2 * * *":      func(l time.Time) bool { return l.Hour() == 2 && l.Minute() == 0 },
	"15 1 * * *":     func(l time.Time) bool { return l.Hour() == 1 && l.Minute() == 15 },
	"45 1 * * *":     func(l time.Time) bool { return l.Hour() == 1 && l.Minute() == 45 },
	"@daily":         func(l time.Time) bool { return l.Hour() == 0 && l.Minute() == 0 },
	"30 0 * * *":     func(l time.Time) bool { return l.Hour() == 0 && l.Minute() == 30 },
	"30 23 * * *":    func(l time.Time) bool { return l.Hour() == 23 && l.Minute() == 30 },
	"0,30 1-3 * * *": func(l time.Time) bool { return l.Hour() >= 1 && l.Hour() <= 3 && l.Minute()%30 == 0 },
	"0 */2 * * *":    func(l time.Time) bool { return l.Hour()%2 == 0 && l.Minute() == 0 },
	"30 2 * * 0":     func(l time.Time) bool { return l.Weekday() == time.Sunday && l.Hour() == 2 && l.Minute() == 30 },
	"@weekly":        func(l time.Time) bool { return l.Weekday() == time.Sunday && l.Hour() == 0 && l.Minute() == 0 },
	"0 5 29 2 *":     func(l time.Time) bool { return l.YearDay() == 60 && l.Day() == 29 && l.Hour() == 5 && l.Minute() == 0 },
	"0 5 31 * *":     func(l time.Time) bool { return l.Day() == 31 && l.Hour() == 5 && l.Minute() == 0 },
	"0 2 1 * 1":      func(l time.Time) bool { return (l.Day() == 1 || l.Weekday() == 1) && l.Hour() == 2 && l.Minute() == 0 },
	shifty: func(l time.Time) bool {
		return strings.Contains("February March April October November", l.Month().String()) && (l.Day() == 29 || l.Weekday() == 0) && l.Hour() == 2 && l.Minute() == 30
	},
	"15 3 1 1,4,7,10 *": func(l time.Time) bool { return l.Day() == 1 && l.Month()%3 == 1 && l.Hour() == 3 && l.Minute() == 15 },
	"@hourly":           func(l time.Time) bool { return l.Minute() == 0 },
	"*/15 * * * *":      func(l time.Time) bool { return l.Minute()%15 == 0 },
	"30 * * * *":        func(l time.Time) bool { return l.Minute() == 30 },
}

var everyHour = map[string]bool{"@hourly": true, "*/15 * * * *": true, "30 * * * *": true}

// clock is what a clock on a wall shows, minute by minute.
type clock struct {
	from time.Time
	// ahead is by how many minutes it is ahead of UTC.
	ahead []int16
}

func newClock(t *testing.T, zone string, from, to time.Time) *clock {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{from: from}
	for minute := from; !minute.After(to); minute = minute.Add(time.Minute) {
		_, offset := minute.In(location).Zone()
		c.ahead = append(c.ahead, int16(offset/60))
	}
	return c
}

func (c *clock) at(i int) time.Time { return c.from.Add(time.Duration(i) * time.Minute) }

func (c *clock) shows(i int) time.Time { return c.at(i).Add(time.Duration(c.ahead[i]) * time.Minute) }

// walk goes through every minute and says which of them an expression names: a local minute that the clock passes over counts
// for the minute that it jumps to, one that comes again counts once unless every hour is named.
func (c *clock) walk(expression string) []time.Time {
	names := matchers[expression]
	var runs []time.Time
	shown := c.shows(0)
	highest := shown
	for i := 1; i < len(c.ahead); i++ {
		before := shown
		shown = c.shows(i)
		due := names(shown) && (shown.After(highest) || everyHour[expression])
		for passed := before.Add(time.Minute); passed.Before(shown); passed = passed.Add(time.Minute) {
			due = due || names(passed)
		}
		if due {
			runs = append(runs, c.at(i))
		}
		highest = latest(highest, shown)
	}
	return runs
}

func newTimes(t *testing.T, s pipeline.Schedule) *Times {
	t.Helper()
	times, err := NewTimes(&s)
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// all are the times behind one moment and not behind another.
func (t *Times) all(from, to time.Time) []time.Time {
	var list []time.Time
	for at := t.Next(from); !at.IsZero() && !at.After(to); at = t.Next(at) {
		list = append(list, at)
	}
	return list
}

// Three years with a leap day, minute by minute, in each zone: exactly the runs that a clock on the wall calls for.
func TestThreeYears(t *testing.T) {
	t.Parallel()
	from, to := time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(2029, 12, 31, 23, 59, 0, 0, time.UTC)
	for _, name := range zones {
		wall := newClock(t, name, from, to)
		for expression := range matchers {
			t.Run(name+" "+strings.ReplaceAll(expression, "/", " of "), func(t *testing.T) {
				t.Parallel()
				got := newTimes(t, pipeline.Schedule{Cron: expression, TimeZone: name}).all(from, to)
				if diff := cmp.Diff(wall.walk(expression), got); diff != "" {
					t.Errorf("runs (-wall +schedule):\n%s", diff)
				}
			})
		}
	}
}

// A daily flow runs once on each day of the calendar, whatever the clocks do.
func TestOnceADay(t *testing.T) {
	t.Parallel()
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for minute := 0; minute < 4*60; minute += 15 { // when clocks are shifted
			expression := fmt.Sprintf("%d %d * * *", minute%60, minute/60)
			times := newTimes(t, pipeline.Schedule{Cron: expression, TimeZone: name, StartDate: "2027-01-01", EndDate: "2030-01-01"})
			runs := map[string]int{}
			for _, at := range times.all(time.Time{}, time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) {
				runs[at.In(zone).Format(time.DateOnly)]++
			}
			for day := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2030; day = day.AddDate(0, 0, 1) {
				if n := runs[day.Format(time.DateOnly)]; n != 1 {
					t.Errorf("%s in %s ran %d times on %s", expression, name, n, day.Format(time.DateOnly))
				}
			}
			if len(runs) != 365+366+365 {
				t.Errorf("%s in %s ran on %d days", expression, name, len(runs))
			}
		}
	}
}

// What the documentation's table says of the days on which the clocks are shifted.
func TestShifts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, expression, day, want string }{
		{"Europe/Berlin", "30 2 * * *", "2027-03-28", "03:00 CEST"},
		{"Europe/Berlin", "30 2 * * *", "2027-10-31", "02:30 CEST"},
		{"Europe/Berlin", "0,30 2,3 * * *", "2027-03-28", "03:00 CEST, 03:30 CEST"},
		{"Europe/Berlin", "30 1-3 * * *", "2027-10-31", "01:30 CEST, 02:30 CEST, 03:30 CET"},
		{"Europe/Berlin", "0,30 2,3 * * *", "2027-10-31", "02:00 CEST, 02:30 CEST, 03:00 CET, 03:30 CET"},
		{"Europe/Berlin", "0 0-4/2 * * *", "2027-03-28", "00:00 CET, 03:00 CEST, 04:00 CEST"},
		{"Europe/Berlin", "0 0-4/2 * * *", "2027-10-31", "00:00 CEST, 02:00 CEST, 04:00 CET"},
		{"America/New_York", "30 2 * * *", "2027-03-14", "03:00 EDT"},
		{"America/New_York", "30 1 * * *", "2027-11-07", "01:30 EDT"},
		{"Australia/Lord_Howe", "15 2 * * *", "2027-10-03", "02:30 +11"},
		{"Australia/Lord_Howe", "45 1 * * *", "2027-04-04", "01:45 +11"},
		{"Africa/Cairo", "@daily", "2027-04-30", "01:00 EEST"},
		{"Africa/Cairo", "30 23 * * *", "2027-10-28", "23:30 EEST"},
		{"America/Sao_Paulo", "@daily", "2018-11-04", "01:00 -02"},
		// The island left out a day: what was due then is due when the next one begins.
		{"Pacific/Apia", "0 5 * * *", "2011-12-31", "00:00 +14, 05:00 +14"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.ParseInLocation(time.DateOnly, c.day, zone)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, at := range newTimes(t, pipeline.Schedule{Cron: c.expression, TimeZone: c.zone}).all(day.Add(-6*time.Hour), day.Add(27*time.Hour)) {
			if at.In(zone).Format(time.DateOnly) == c.day {
				got = append(got, at.In(zone).Format("15:04 MST"))
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s on %s in %s runs at %s, want %s", c.expression, c.day, c.zone, text, c.want)
		}
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for expression, perHour := range map[string]int{"@hourly": 1, "*/15 * * * *": 4} {
		times := newTimes(t, pipeline.Schedule{Cron: expression, TimeZone: "Europe/Berlin"})
		for day, hours := range map[time.Time]int{
			time.Date(2027, 3, 28, 0, 0, 0, 0, zone): 23, time.Date(2027, 10, 31, 0, 0, 0, 0, zone): 25, time.Date(2027, 6, 1, 0, 0, 0, 0, zone): 24,
		} {
			if n := len(times.all(day.Add(-time.Nanosecond), day.AddDate(0, 0, 1).Add(-time.Nanosecond))); n != hours*perHour {
				t.Errorf("%s runs %d times on %v, want %d", expression, n, day, hours*perHour)
			}
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	times := newTimes(t, pipeline.Schedule{Cron: "0 0 * * *", TimeZone: "Pacific/Auckland", StartDate: "2028-02-28", EndDate: "2028-03-02"})
	var got []string
	for _, at := range times.all(time.Time{}, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)) {
		got = append(got, at.UTC().Format("01-02 15:04"))
	}
	if want := []string{"02-27 11:00", "02-28 11:00", "02-29 11:00"}; !cmp.Equal(got, want) {
		t.Errorf("runs at %v, want %v", got, want)
	}
	if last := times.Last(time.Time{}, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)); last.UTC().Format("01-02 15:04") != "02-29 11:00" {
		t.Errorf("the last is %v", last)
	}
	leap := newTimes(t, pipeline.Schedule{Cron: "0 0 29 2 *", TimeZone: "UTC"})
	// 2100 is no leap year.
	if next := leap.Next(time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC)); next.Year() != 2104 {
		t.Errorf("after 2096 the leap day is in %d", next.Year())
	}
	for _, bad := range []pipeline.Schedule{{Cron: "x", TimeZone: "UTC"}, {Cron: "@daily", TimeZone: "Nowhere"}, {Cron: "@daily", TimeZone: "UTC", EndDate: "soon"}} {
		if _, err := NewTimes(&bad); err == nil {
			t.Errorf("%v was read", bad)
		}
	}
}
