package runs

import (
	"context"
	"fmt"
	"strings"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// dated says whether a model is partitioned by date, so that an interval tells which of it to build.
func dated(model *pipeline.Model) bool {
	return model.Partition.Transform == pipeline.TransformDay || model.Partition.Transform == pipeline.TransformMonth
}

// Deferred says whether a backfill builds a table at its end only: it is not partitioned by date, but reads, perhaps through others,
// from a table that is, and would be stale again after each interval.
func Deferred(p *pipeline.Pipeline, table string) bool {
	model := p.Model(table)
	return model != nil && !dated(model) && readsDated(p, model)
}

func readsDated(p *pipeline.Pipeline, model *pipeline.Model) bool {
	for _, input := range model.Inputs {
		if m := p.Model(input.Table); m != nil && (dated(m) || readsDated(p, m)) {
			return true
		}
	}
	return false
}

// backfilled adds to the touched partitions, where the run is part of a backfill, all that the model has or would have within the
// interval, stale or not. Those outside of it are not stale for that.
func (l *planner) backfilled(ctx context.Context, model *pipeline.Model, inputs []*inputState, f facts, current []lake.File, touched map[string]why) error {
	id := f.submitted.GetBackfill()
	if id == "" || !dated(model) {
		return nil
	}
	reason := why{"backfill " + id, causedBy("backfill " + id)}
	all := map[string]why{}
	for _, file := range current {
		all[file.Partition] = reason
	}
	for _, in := range inputs {
		if in.Relation != pipeline.RelationSame {
			continue
		}
		held, _, err := l.partitionsHeld(ctx, model, in, reason)
		if err != nil {
			return err
		}
		for partition := range held {
			all[partition] = reason
		}
	}
	within, _ := pipeline.Within(model.Partition, all, f.submitted.GetStartDate(), f.submitted.GetEndDate())
	for partition := range within {
		touched[partition] = touched[partition].and(reason)
	}
	return nil
}

// Foreseen is what a run would build of one table, as far as it can be told without reading new files.
type Foreseen struct {
	Table     string
	DependsOn []string
	// Partitions, each with the reason; of an ingest the files. Builds says that there is something to do at all.
	Partitions []*dispatchv1.PlannedPartition
	Builds     bool
	// More says what is built besides and can't be told yet, Reason why the table is built as a whole, or is not.
	More, Reason string
	Notices      []string
}

// Foresee says what a run would build and why, in the order of dependencies; nothing is stored.
func (c *Coordinator) Foresee(ctx context.Context, p *pipeline.Pipeline, submitted *dispatchv1.RunSubmitted) ([]Foreseen, error) {
	pinned, err := c.pin(ctx)
	if err != nil {
		return nil, err
	}
	var list []Foreseen
	f := facts{runID: "dry", submitted: submitted, started: time.Now(), snapshots: pinned, previewed: map[string]previewed{}}
	flow := p.Flow(submitted.GetFlow())
	for _, table := range p.TablesOf(flow) {
		f.table = table
		found, err := c.stale(ctx, p, f)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", table, err)
		}
		seen := Foreseen{Table: table, DependsOn: p.WaitsFor(flow, table), Reason: found.reason, Notices: found.notices}
		if found.plan != nil {
			seen.Builds, seen.Partitions, seen.More = true, found.partitions, found.more
			v := &preview{reasons: found.partitions, more: found.more}
			if source, ok := strings.CutPrefix(table, "bronze."); ok && flow.Maintenance == nil {
				var names []string
				for _, file := range found.partitions {
					names = append(names, source+"/"+file.GetPartition())
				}
				v.more = "the partitions that unread files touch: " + causedBy(names...).words(nil)
			}
			f.previewed[table] = previewed{seen: v}
		}
		list = append(list, seen)
	}
	return list, nil
}
