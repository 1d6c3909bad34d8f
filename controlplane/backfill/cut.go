package backfill

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoplake/shoplake/controlplane/runs"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// ErrNothing says that a backfill would build nothing, ErrInterval that its interval holds no day, ErrTooMany that it would be cut
// into too many intervals.
var (
	ErrNothing  = errors.New("no table of the flow has a partition in the interval")
	ErrInterval = errors.New("the interval holds no day")
	ErrTooMany  = errors.New("too many intervals")
)

// mostIntervals bounds a backfill: its record is one message.
const mostIntervals = 5000

// interval is what one run of a backfill builds.
type interval struct {
	// from is a day, to the day after the last.
	from, to string
	tables   []*shoplakev1.BackfillTable
}

func (v interval) partitions() int64 {
	n := 0
	for _, t := range v.tables {
		n += len(t.GetPartitions())
	}
	return int64(n)
}

// unitOf is how the days of a flow are counted: by month where a table of it is partitioned by month, else by day.
func unitOf(p *pipeline.Pipeline, tables []string) pipeline.Transform {
	for _, table := range tables {
		if model := p.Model(table); model != nil && model.Partition.Transform == pipeline.TransformMonth {
			return pipeline.TransformMonth
		}
	}
	return pipeline.TransformDay
}

// cut divides what is foreseen for all of [from, to) into intervals of some units, the oldest first. Days of which no table has
// anything are left out. Tables that are not partitioned by date come with the first interval or, where they read from such that
// are, with the last.
func cut(p *pipeline.Pipeline, foreseen []runs.Foreseen, from, to string, size int) ([]interval, error) {
	if from >= to {
		return nil, fmt.Errorf("%w: start_date %s is not before end_date %s (which is exclusive)", ErrInterval, from, to)
	}
	for _, day := range []string{from, to} {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return nil, fmt.Errorf("%w: %s is no day", ErrInterval, day)
		}
	}
	names := make([]string, 0, len(foreseen))
	for _, f := range foreseen {
		names = append(names, f.Table)
	}
	unit := unitOf(p, names)
	held := map[string]bool{}
	for _, f := range foreseen {
		for _, part := range f.Partitions {
			if day, ok := dayOf(p, f.Table, part.GetPartition()); ok {
				held[pipeline.Coarsen(unit, max(day, from))] = true
			}
		}
	}
	units := make([]string, 0, len(held))
	for u := range held {
		units = append(units, u)
	}
	slices.Sort(units)
	if len(units) == 0 {
		return nil, ErrNothing
	}
	var list []interval
	place := map[string]int{}
	for group := range slices.Chunk(units, max(1, size)) {
		first, _ := pipeline.Days(unit, group[0], group[0])
		_, last := pipeline.Days(unit, group[len(group)-1], group[len(group)-1])
		end, err := time.Parse(time.DateOnly, last)
		if err != nil {
			return nil, fmt.Errorf("read the day %s: %w", last, err)
		}
		for _, u := range group {
			place[u] = len(list)
		}
		list = append(list, interval{from: max(first, from), to: min(end.AddDate(0, 0, 1).Format(time.DateOnly), to)})
	}
	if len(list) > mostIntervals {
		return nil, fmt.Errorf("%w: %d, at most %d are kept: build more months or days with each run (interval_size)", ErrTooMany, len(list), mostIntervals)
	}
	for _, f := range foreseen {
		fill(p, list, place, unit, from, f)
	}
	return list, nil
}

// fill puts what is foreseen of a table into the intervals.
func fill(p *pipeline.Pipeline, list []interval, place map[string]int, unit pipeline.Transform, from string, f runs.Foreseen) {
	tables := map[int]*shoplakev1.BackfillTable{}
	at := func(i int) *shoplakev1.BackfillTable {
		if tables[i] == nil {
			tables[i] = &shoplakev1.BackfillTable{Table: f.Table}
			list[i].tables = append(list[i].tables, tables[i])
		}
		return tables[i]
	}
	for _, part := range f.Partitions {
		i := 0
		if runs.Deferred(p, f.Table) {
			i = len(list) - 1
		}
		if day, ok := dayOf(p, f.Table, part.GetPartition()); ok {
			i = place[pipeline.Coarsen(unit, max(day, from))]
		}
		t := at(i)
		t.Partitions = append(t.Partitions, &shoplakev1.PlannedPartition{Partition: part.GetPartition(), Reason: part.GetReason()})
	}
	if f.More != "" {
		at(len(list) - 1).More = f.More
	}
}

// dayOf is the first day of a partition; ok is false where it is none of a date.
func dayOf(p *pipeline.Pipeline, table, partition string) (day string, ok bool) {
	model := p.Model(table)
	if model == nil || partition == pipeline.NullPartition || model.Partition.Transform != pipeline.TransformDay && model.Partition.Transform != pipeline.TransformMonth {
		return "", false
	}
	day, _ = pipeline.Days(model.Partition.Transform, partition, partition)
	return day, day != ""
}
