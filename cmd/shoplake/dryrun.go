package main

import (
	"fmt"
	"io"
	"math"

	"github.com/dustin/go-humanize"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// plannedRows is how many partitions of a stage a table for people shows.
const plannedRows = 20

// printPlan shows what a dry run found: each stage, and its partitions with the reason for each. JSON has an object a stage, CSV
// a row a partition.
func printPlan(w io.Writer, out *format, run *shoplakev1.Run) error {
	var g *grid
	switch out.value {
	case "json":
		g = planObjects(run)
	case "csv":
		g = planGrid(run, math.MaxInt)
	default:
		g = planGrid(run, plannedRows)
	}
	if err := out.print(w, g); err != nil {
		return err
	}
	if out.value == "table" {
		for _, s := range run.GetPlannedStages() {
			if s.GetRowsIn() > 0 {
				if _, err := fmt.Fprintf(w, "%s: would quarantine %s of %s\n", s.GetTable(), humanize.Comma(s.GetRowsQuarantined()), plural(s.GetRowsIn(), "row")); err != nil {
					return err
				}
			}
		}
	}
	if err := printNotices(w, out, run); err != nil {
		return err
	}
	switch run.GetState() {
	case shoplakev1.RunState_RUN_STATE_FAILED, shoplakev1.RunState_RUN_STATE_CANCELLED:
		return &client.RunFailedError{Run: run}
	}
	return nil
}

// planGrid has a row a partition, at most so many a stage, and one for a stage that has none.
func planGrid(run *shoplakev1.Run, most int) *grid {
	g := &grid{columns: []column{{name: "stage", once: true}, {name: "state", only: "csv"}, {name: "partition"}, {name: "why", wide: true}}}
	for _, s := range run.GetPlannedStages() {
		state, rows := stageState(s.GetState()), len(g.rows)
		planned := s.GetPlanned()[:min(most, len(s.GetPlanned()))]
		for _, p := range planned {
			g.add(s.GetTable(), state, p.GetPartition(), p.GetReason())
		}
		if more := s.GetPlannedTotal() - int64(len(planned)); more > 0 {
			g.add(s.GetTable(), state, "and "+humanize.Comma(more)+" more", nonEmpty(s.GetReason()))
		}
		if s.GetPlannedMore() != "" {
			g.add(s.GetTable(), state, "and maybe", s.GetPlannedMore())
		}
		if len(g.rows) > rows {
			continue
		}
		why := s.GetReason()
		switch s.GetState() {
		case shoplakev1.StageState_STAGE_STATE_UP_TO_DATE:
			why = "up to date: " + why
		case shoplakev1.StageState_STAGE_STATE_FAILED:
			why = s.GetError().GetMessage()
		case shoplakev1.StageState_STAGE_STATE_BLOCKED:
			why = "a table that it reads cannot be told"
		}
		g.add(s.GetTable(), state, nil, nonEmpty(why))
	}
	return g
}

func planObjects(run *shoplakev1.Run) *grid {
	g := &grid{columns: columns("stage", "state", "reason", "planned", "planned_total", "planned_more", "rows_read", "rows_quarantined")}
	for _, s := range run.GetPlannedStages() {
		planned := &grid{columns: columns("partition", "reason")}
		for _, p := range s.GetPlanned() {
			planned.add(p.GetPartition(), p.GetReason())
		}
		g.add(s.GetTable(), stageState(s.GetState()), nonEmpty(s.GetReason()), planned, s.GetPlannedTotal(), nonEmpty(s.GetPlannedMore()), s.GetRowsIn(), s.GetRowsQuarantined())
	}
	return g
}
