//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/e2e/deploy"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
)

// wantInvariants looks whether all is as if nobody had disturbed the shop, before and after what nobody needs was removed.
func (s *shop) wantInvariants(rng *rand.Rand, q *quiet) {
	s.t.Helper()
	l, err := lake.Open(context.WithoutCancel(s.ctx), lake.Config{Warehouse: s.path("lake")})
	if err != nil {
		s.problem("%v", err)
		return
	}
	defer l.Close()
	s.wantCells(q)
	s.wantConserved()
	s.wantCommits(l)
	s.wantFiles(l)
	s.purge(rng)
	s.wantCells(q)
	s.wantConserved()
	s.wantDecisions()
	s.stop()
	for _, m := range s.members() {
		<-m.ended
	}
	s.wantFiles(l)
	s.wantNoOrphans(l)
}

// whole asks the control planes in turn until one answers.
func (s *shop) whole(what string, f func(context.Context, grpc.ClientConnInterface) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for n := 0; ; n++ {
		err := f(ctx, s.conns[n%len(s.conns)])
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			s.problem("%s: %v", what, err)
			return
		}
		s.pause(readEvery)
	}
}

// wantCells compares every cell and every KPI with the undisturbed ones.
func (s *shop) wantCells(q *quiet) {
	s.t.Helper()
	s.whole("read every cell", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		cells, err := deploy.Cells(ctx, conn)
		if err != nil {
			return err
		}
		for _, difference := range deploy.Differences(cells, q.cells) {
			s.problem("not as undisturbed: %s", difference)
		}
		return nil
	})
}

// wantConserved asks for files of which rows are missing or too many.
func (s *shop) wantConserved() {
	s.t.Helper()
	s.whole("ask whether rows were lost", func(ctx context.Context, conn grpc.ClientConnInterface) error {
		answer, err := shoplakev1.NewTableServiceClient(conn).QueryTables(ctx, &shoplakev1.QueryTablesRequest{Sql: `
			WITH files AS (SELECT * FROM ops.ingested QUALIFY row_number() OVER (PARTITION BY source, path ORDER BY ingested_at DESC) = 1),
				good AS (SELECT _source_file AS path, count(*) AS rows FROM bronze.sales GROUP BY ALL),
				bad AS (SELECT source_file AS path, count(*) AS rows FROM ops.quarantine GROUP BY ALL)
			SELECT path, f.rows_read, f.rows_bronze, f.rows_quarantined, g.rows, b.rows
			FROM files f FULL JOIN good g USING (path) FULL JOIN bad b USING (path)
			WHERE f.rows_read IS NULL OR f.rows_read <> f.rows_bronze + f.rows_quarantined
				OR f.rows_bronze <> coalesce(g.rows, 0) OR f.rows_quarantined <> coalesce(b.rows, 0)`})
		if err != nil {
			return err
		}
		for _, row := range deploy.Rows(answer.GetRowSet()) {
			s.problem("rows of a file were lost or doubled (path, read, bronze, quarantined, there in bronze, there in quarantine): %v", row)
		}
		return nil
	})
}

// snapshotsOf gives the history of every table.
func (s *shop) snapshotsOf(l *lake.Lake) map[string][]lake.Snapshot {
	s.t.Helper()
	ctx := context.WithoutCancel(s.ctx)
	tables, err := l.Tables(ctx)
	if err != nil {
		s.problem("%v", err)
	}
	all := map[string][]lake.Snapshot{}
	for _, table := range tables {
		if all[table], err = l.Snapshots(ctx, table); err != nil {
			s.problem("%v", err)
		}
	}
	return all
}

// wantCommits sees that no run committed a stage twice to a table, under any plan.
func (s *shop) wantCommits(l *lake.Lake) {
	s.t.Helper()
	for table, snapshots := range s.snapshotsOf(l) {
		tokens, stages := map[string]int64{}, map[string]int64{}
		for _, snapshot := range snapshots {
			token := snapshot.Summary[lake.TokenProperty]
			stage := snapshot.Summary["shoplake.run"] + "/" + snapshot.Summary["shoplake.stage"]
			if other, known := tokens[token]; known && token != "" {
				s.problem("%s: the snapshots %d and %d are of the same commit %s", table, other, snapshot.ID, token)
			}
			if other, known := stages[stage]; known && stage != "/" {
				s.problem("%s: the snapshots %d and %d are of the same stage %s of a run", table, other, snapshot.ID, stage)
			}
			tokens[token], stages[stage] = snapshot.ID, snapshot.ID
		}
	}
}

// wantFiles sees that every file that a snapshot of a table names is there, whole.
func (s *shop) wantFiles(l *lake.Lake) {
	s.t.Helper()
	for table, snapshots := range s.snapshotsOf(l) {
		for _, snapshot := range snapshots {
			files, err := l.Files(context.WithoutCancel(s.ctx), table, snapshot.ID)
			if err != nil {
				s.problem("%v", err)
				continue
			}
			for _, file := range files {
				info, err := os.Stat(file.Path)
				switch {
				case errors.Is(err, fs.ErrNotExist):
					s.problem("snapshot %d of %s names %s, which is not there", snapshot.ID, table, file.Path)
				case err != nil:
					s.problem("%v", err)
				case info.Size() != file.Bytes:
					s.problem("snapshot %d of %s names %s with %d bytes, it has %d", snapshot.ID, table, file.Path, file.Bytes, info.Size())
				}
			}
		}
	}
}

// logged is an event with its place.
type logged struct {
	run   string
	seq   uint64
	event *dispatchv1.RunEvent
}

// wantDecisions sees that no two coordinators decided: over all logs in the order of their stream epochs never fall, and no log
// holds two decisions about the same thing.
func (s *shop) wantDecisions() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	var stream []logged
	for _, run := range s.runs {
		entries, err := s.bus.ReadRun(ctx, run, 0)
		if err != nil {
			s.problem("%v", err)
			continue
		}
		if len(entries) == 0 || entries[0].Events.GetEvents()[0].GetSubmitted() == nil {
			s.problem("the log of run %s does not begin with its submission", run)
		}
		seen, state, cancelled := map[string]string{}, runs.NewState(run), []string(nil)
		for _, entry := range entries {
			for _, event := range entry.Events.GetEvents() {
				stream = append(stream, logged{run, entry.Seq, event})
				switch {
				case event.GetCancelRequested() != nil && !state.Publishing && !state.Terminal():
					cancelled = moments(state)
					s.tally.count(func(c *tally) { countAll(c.cancelled, cancelled) })
				case event.GetReopened() != nil && state.Phase == shoplakev1.RunState_RUN_STATE_CANCELLED:
					s.tally.count(func(c *tally) { countAll(c.resumed, cancelled) })
				case event.GetReopened() != nil:
					s.tally.count(func(c *tally) { c.resumed["run failed"]++ })
				}
				if err := state.Apply(event); err != nil {
					s.problem("%v", err)
				}
				for key, decided := range decisions(event) {
					if before, known := seen[key]; known && before != decided {
						s.problem("the log of run %s decides twice about %s: %s, and at sequence %d %s", run, key, before, entry.Seq, decided)
					}
					seen[key] = decided
				}
				if event.GetReopened() != nil {
					// A new life: what was decided about its end, and about what had not ended well, no longer holds.
					maps.DeleteFunc(seen, func(key, _ string) bool { return !strings.HasSuffix(key, " commit") && key != "the request" })
				}
				if event.GetSuspended() != nil {
					// What had begun and was not announced is planned again.
					maps.DeleteFunc(seen, func(key, _ string) bool {
						stage, about, _ := strings.Cut(key, " ")
						return seen[stage+" end"] == "" && (about == "plan" || about == "staged" || about == "check")
					})
				}
				if event.GetResumed() != nil {
					maps.DeleteFunc(seen, func(key, _ string) bool { return strings.HasSuffix(key, " staleness") })
				}
				if reset := event.GetStageReset(); reset != nil {
					// The stage is planned again: what was decided about its plan no longer holds.
					maps.DeleteFunc(seen, func(key, _ string) bool { return strings.HasPrefix(key, reset.GetStage()+" ") })
				}
			}
		}
	}
	slices.SortFunc(stream, func(a, b logged) int { return int(int64(a.seq) - int64(b.seq)) })
	var highest logged
	for _, l := range stream {
		if epochOf(l.event) == 0 {
			continue
		}
		if highest.event != nil && epochOf(l.event) < epochOf(highest.event) {
			s.problem("after epoch %d (run %s, sequence %d) a coordinator of epoch %d still decided (run %s, sequence %d: %v)",
				epochOf(highest.event), highest.run, highest.seq, epochOf(l.event), l.run, l.seq, l.event)
		}
		highest = l
	}
}

// moments are the states of a run and of its stages.
func moments(s *runs.State) []string {
	list := []string{"run " + strings.ToLower(strings.TrimPrefix(s.Phase.String(), "RUN_STATE_"))}
	if s.Suspended {
		list = []string{"run suspended"}
	}
	for _, st := range s.Stages {
		list = append(list, "stage "+strings.ToLower(strings.TrimPrefix(st.State.String(), "STAGE_STATE_")))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func epochOf(e *dispatchv1.RunEvent) uint64 {
	return max(e.GetStarted().GetEpoch(), e.GetStageCommitting().GetEpoch(), e.GetPublishing().GetEpoch(), e.GetResumed().GetEpoch())
}

// decisions are what an event decides, by what about. Each may stand in a log once; one that stands there twice is the same.
func decisions(e *dispatchv1.RunEvent) map[string]string {
	switch k := e.GetKind().(type) {
	case *dispatchv1.RunEvent_Submitted:
		return map[string]string{"the request": k.Submitted.GetRequestId()}
	case *dispatchv1.RunEvent_Started:
		return map[string]string{"the start": fmt.Sprint(k.Started.GetEpoch())}
	case *dispatchv1.RunEvent_StagePlanned:
		return map[string]string{k.StagePlanned.GetStage() + " plan": k.StagePlanned.GetPlanSha256(), k.StagePlanned.GetStage() + " staleness": "stale"}
	case *dispatchv1.RunEvent_StageUpToDate:
		return map[string]string{k.StageUpToDate.GetStage() + " staleness": "up to date"}
	case *dispatchv1.RunEvent_StageChecking:
		return map[string]string{k.StageChecking.GetStage() + " staged": k.StageChecking.GetStagedSha256(), k.StageChecking.GetStage() + " check": k.StageChecking.GetPlanSha256()}
	case *dispatchv1.RunEvent_StageCommitting:
		return map[string]string{k.StageCommitting.GetStage() + " staged": k.StageCommitting.GetStagedSha256(), k.StageCommitting.GetStage() + " end": "commit"}
	case *dispatchv1.RunEvent_StageCommitted:
		return map[string]string{k.StageCommitted.GetStage() + " commit": fmt.Sprint(k.StageCommitted.GetSnapshots())}
	case *dispatchv1.RunEvent_StageFailed:
		return map[string]string{k.StageFailed.GetStage() + " end": "failure"}
	case *dispatchv1.RunEvent_Finished:
		return map[string]string{"the end": k.Finished.GetState() + fmt.Sprint(k.Finished.GetPublishedVersion())}
	}
	return nil
}
