package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// Cron is a cron expression. It names local times and knows no time zone: what becomes of a local time that does not exist, or
// that comes twice, is for whoever knows the zone.
type Cron struct {
	text string
	spec *cron.SpecSchedule
}

// cronFields are what an expression holds: five fields, or a descriptor such as @daily. Where both a day of the month and a
// weekday are named, either is enough, as in crontab(5). 29 February may be eight years away.
var cronFields = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom).WithMaxSearchYears(9)

// ParseCron reads a cron expression.
func ParseCron(text string) (*Cron, error) {
	if strings.Contains(text, "=") {
		return nil, errors.New("a time zone does not belong into it: write it under time_zone")
	}
	if !strings.HasPrefix(text, "@") && len(strings.Fields(text)) != 5 {
		return nil, errors.New("five fields are needed: minute, hour, day of month, month, weekday; for example 15 4 * * *, or @daily")
	}
	parsed, err := cronFields.Parse(text)
	if err != nil {
		return nil, err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("@every is not tied to the clock: write the minutes or hours, for example */15 * * * *")
	}
	c := &Cron{text: text, spec: spec}
	if c.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("no day is like %s", shorten(text))
	}
	return c, nil
}

// String is the expression as it was written.
func (c *Cron) String() string { return c.text }

// Next is the first local time behind another that the expression names. Local times are written as times in UTC.
func (c *Cron) Next(local time.Time) time.Time { return c.spec.Next(local) }

// EveryHour says whether the expression names every hour of the day: such a schedule goes by time that passes, others go by
// what the clock shows.
func (c *Cron) EveryHour() bool {
	const hours = 1<<24 - 1
	return c.spec.Hour&hours == hours
}
