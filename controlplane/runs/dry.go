package runs

import (
	"context"
	"fmt"
	"strings"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// pin returns the snapshot of every table as it is now.
func (l *planner) pin(ctx context.Context) (map[string]int64, error) {
	names, err := l.Lake.Tables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the lake's tables: %w", err)
	}
	pinned := map[string]int64{}
	for _, name := range names {
		t, err := l.Lake.Table(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("pin the snapshot of %s: %w", name, err)
		}
		pinned[name] = t.SnapshotID
	}
	return pinned, nil
}

// DryRun says what a run would build and why; it changes nothing. What follows from files that were not read yet cannot be
// told by partition: such stages say what they wait for.
func (c *Coordinator) DryRun(ctx context.Context, p *pipeline.Pipeline, submitted *dispatchv1.RunSubmitted) ([]*shoplakev1.Stage, []string, error) {
	pinned, err := c.pin(ctx)
	if err != nil {
		return nil, nil, err
	}
	flow := p.Flow(submitted.GetFlow())
	if flow == nil {
		return nil, nil, fmt.Errorf("flow %q: %w", submitted.GetFlow(), ErrNoFlow)
	}
	var stages []*shoplakev1.Stage
	var notices []string
	builds := map[string]bool{}
	for _, table := range p.TablesOf(flow) {
		stage := &shoplakev1.Stage{Table: table, DependsOn: p.DependsOn(table), State: shoplakev1.StageState_STAGE_STATE_WAITING}
		f := facts{runID: "dry", submitted: submitted, started: time.Now(), snapshots: pinned, table: table}
		found, err := c.stale(ctx, p, f, true)
		if err != nil {
			return nil, nil, fmt.Errorf("plan %s: %w", table, err)
		}
		notices = append(notices, found.notices...)
		stage.Reason = found.reason
		for _, part := range found.partitions[:min(plannedShown, len(found.partitions))] {
			stage.Planned = append(stage.Planned, &shoplakev1.PlannedPartition{Partition: part.GetPartition(), Reason: part.GetReason()})
		}
		stage.PlannedTotal, stage.Partitions = int64(len(found.partitions)), int64(len(found.partitions))
		var waits []string
		for _, input := range stage.GetDependsOn() {
			if builds[input] {
				waits = append(waits, input)
			}
		}
		builds[table] = found.plan != nil || len(waits) > 0
		switch {
		case len(waits) > 0 && stage.PlannedTotal == 0:
			stage.Reason = "what it builds depends on " + strings.Join(waits, ", ")
		case len(waits) > 0:
			stage.Reason = strings.TrimPrefix(stage.Reason+"; and what follows from "+strings.Join(waits, ", "), "; ")
		case found.plan == nil:
			stage.State = shoplakev1.StageState_STAGE_STATE_UP_TO_DATE
		}
		stages = append(stages, stage)
	}
	return stages, notices, nil
}
