package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/e2e/deploy"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
)

// openLake opens the shop's lake beside the control plane.
func (s *shop) openLake() *lake.Lake {
	s.t.Helper()
	l, err := lake.Open(s.t.Context(), lake.Config{Warehouse: s.path("lake")})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	return l
}

// wantNamed holds the folder of each table against the catalog: the files on the disk are those that metadata names.
func wantNamed(t *testing.T, l *lake.Lake) {
	t.Helper()
	tables, err := l.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		named, err := l.NamedFiles(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := l.StoredFiles(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(named, stored) {
			t.Errorf("%s: stored but not named are %q; named but not stored are %q", table, lacking(stored, named), lacking(named, stored))
		}
	}
}

func lacking(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func (s *shop) maintain() (*shoplakev1.Run, map[string]*shoplakev1.Stage) {
	s.t.Helper()
	run, stages := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/maintenance"})
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED || len(run.GetNotices()) > 0 {
		s.t.Fatalf("maintenance ended as %v: %v, %q", run.GetState(), run.GetError(), run.GetNotices())
	}
	return run, stages
}

// wantUpToDate sees that stages had nothing to do.
func wantUpToDate(t *testing.T, stages map[string]*shoplakev1.Stage) {
	t.Helper()
	for table, stage := range stages {
		if stage.GetState() != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
			t.Errorf("nothing changed, but the stage %s is %v: %s", table, stage.GetState(), stage.GetReason())
		}
	}
}

// wantSame holds every cell against those of before.
func (s *shop) wantSame(want map[string][]string) {
	s.t.Helper()
	for _, difference := range deploy.Differences(s.cells(), want) {
		s.t.Error(difference)
	}
}

func (s *shop) cells() map[string][]string {
	s.t.Helper()
	cells, err := deploy.Cells(s.t.Context(), s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return cells
}

// dropDay lands a day of the tiny shop: two sales, in a month of their own, and a line that is bad.
func (s *shop) dropDay(n int) {
	s.t.Helper()
	s.drop("sales", fmt.Sprintf("%02d.csv", n), fmt.Sprintf("sale_id,sale_date,version,amount\ns%d,2026-%02d-05,1,%d\nt%d,2026-%02d-06,1,0.5\nbad%d,2026-01-06,1,-1\n", n, n, n, n, n, n))
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	s := setup(t, tinyWith(t, map[string]string{
		"checks/amount_small.sql": "-- table: silver.sales\n-- severity: error\n-- description: No sale is that large.\n\nSELECT sale_id, amount FROM silver.sales WHERE amount > 1000\n",
	}), 2)
	l := s.openLake()
	const days = 5
	var third *timestamppb.Timestamp
	var firstRun string
	for n := 1; n <= days; n++ {
		s.dropDay(n)
		run, _ := s.daily()
		switch n {
		case 1:
			firstRun = run.GetName()
		case 3:
			third = timestamppb.Now()
		}
	}
	// A run that fails commits bronze and publishes nothing; one that mends it follows.
	s.drop("sales", "06.csv", "sale_id,sale_date,version,amount\nu,2026-06-05,1,5000\n")
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"}); run.GetState() != shoplakev1.RunState_RUN_STATE_FAILED {
		t.Fatalf("run ended as %v", run.GetState())
	}

	// Maintenance after a failed run publishes nothing of it.
	before := s.cells()
	_, stages := s.maintain()
	if m := stages["bronze.sales"].GetMaintenance(); m.GetFilesCompacted() != days+1 || m.GetFilesWritten() != 1 {
		t.Errorf("bronze was maintained: %v (%s)", m, stages["bronze.sales"].GetReason())
	}
	if len(stages) != 6 || stages["silver.sales"].GetMaintenance().GetOrphansRemoved() == 0 {
		t.Errorf("stages %v", stages)
	}
	s.wantSame(before)
	wantNamed(t, l)

	s.drop("sales", "07.csv", "sale_id,sale_date,version,amount\nu,2026-06-05,2,50\n")
	_, stages = s.daily()
	if got := stages["silver.sales"].GetPlanned(); len(got) != 1 || got[0].GetPartition() != "2026-06" {
		t.Errorf("June alone came since, but planned is %v", got)
	}

	// Now that all is published, maintenance moves readers to the compacted files, and they see no difference.
	before = s.cells()
	run, stages := s.maintain()
	if m := stages["bronze.sales"].GetMaintenance(); m.GetFilesCompacted() != 2 || m.GetSnapshotsExpired() != 2 {
		t.Errorf("what the failed run committed, and its compaction, are needed by nobody, but maintenance did %v", m)
	}
	if stages["bronze.sales"].GetRowsIn() != 12 || run.GetCounts().GetRowsRead() != 0 {
		t.Errorf("maintenance read %d rows, and says that it ingested %d", stages["bronze.sales"].GetRowsIn(), run.GetCounts().GetRowsRead())
	}
	s.wantSame(before)
	wantNamed(t, l)
	published := run.GetPublishedVersion()
	snapshot := stages["bronze.sales"].GetSnapshotId()
	if history, err := s.tables.ListSnapshots(t.Context(), &shoplakev1.ListSnapshotsRequest{Parent: "tables/bronze.sales"}); err != nil ||
		history.GetSnapshots()[0].GetSnapshotId() != snapshot || !history.GetSnapshots()[0].GetPublished() || history.GetSnapshots()[0].GetOperation() != "replace" {
		t.Errorf("the compaction is not what readers see: %v, %v", history, err)
	}

	// What maintenance touched is built from as before: nothing is stale, neither for it nor for the daily flow.
	run, stages = s.daily()
	wantUpToDate(t, stages)
	if run.GetPublishedVersion() != published {
		t.Errorf("a run that changed nothing published version %d after %d", run.GetPublishedVersion(), published)
	}
	_, stages = s.maintain()
	wantUpToDate(t, stages)

	// A correction moves a sale of March to April: these are built, and no other.
	s.drop("sales", "08.csv", "sale_id,sale_date,version,amount\ns3,2026-04-20,2,30\n")
	_, stages = s.daily()
	var built []string
	for _, p := range stages["silver.sales"].GetPlanned() {
		built = append(built, p.GetPartition())
	}
	if !slices.Equal(built, []string{"2026-03", "2026-04"}) {
		t.Errorf("built are %v, want March and April: %v", built, stages["silver.sales"].GetPlanned())
	}
	// A compacted file of all days is replaced because one of them comes again: the others only move.
	s.maintain()
	s.drop("sales", "02.csv", "sale_id,sale_date,version,amount\ns2,2026-02-07,1,22\n")
	_, stages = s.daily()
	for _, p := range stages["silver.sales"].GetPlanned() {
		if p.GetPartition() != "2026-02" {
			t.Errorf("%s did not change, but is built: %s", p.GetPartition(), p.GetReason())
		}
	}
	before = s.cells()
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
	s.wantSame(before)

	// Back in time.
	answer, err := s.kpis.QueryKpi(t.Context(), &shoplakev1.QueryKpiRequest{Name: "kpis/revenue", AsOf: third})
	if err != nil || answer.GetRowSet().GetRows()[0].GetFields()["revenue"].GetStringValue() != "7.5000" {
		t.Errorf("after the third day the revenue was 7.5: %v, %v", answer, err)
	}
	// The plans of runs that ended are gone; what the run did is still told.
	tasks, err := s.runs.ListTasks(t.Context(), &shoplakev1.ListTasksRequest{Parent: firstRun + "/stages/silver.sales"})
	if err != nil || len(tasks.GetTasks()) == 0 {
		t.Errorf("tasks of the first run: %v, %v", tasks, err)
	}
	s.maintain()
	wantNamed(t, l)
	_, stages = s.daily()
	wantUpToDate(t, stages)
	// Of what maintenance wrote down of its own, the last alone is left.
	if folders, err := os.ReadDir(s.path("lake", lake.MaintenanceFolder)); err != nil || len(folders) != 1 {
		t.Errorf("there are %v, %v", folders, err)
	}
}

// TestChangesThroughCompactions lets changes and compactions follow each other, unseen by the models, which then have to find
// out what changed: a file that was added, compacted with others, and replaced for the sake of one of these is a change all the same.
func TestChangesThroughCompactions(t *testing.T) {
	t.Parallel()
	s := setup(t, tinyWith(t, map[string]string{
		"pipeline.yaml": "name: tiny\ntime_zone: UTC\ncurrency: EUR\nflows:\n  daily:\n    select: [\"*\"]\n  read:\n    select: [bronze.sales]\n" +
			"  maintenance:\n    maintenance: {keep_snapshots: 0, keep_last: 0, keep_orphans: 0}\n",
	}), 1)
	read := func() {
		t.Helper()
		if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/read"}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
			t.Fatalf("run ended as %v: %v", run.GetState(), run.GetError())
		}
	}
	s.dropDay(1)
	s.dropDay(2)
	s.daily()
	s.dropDay(3)
	read()
	s.maintain()
	s.dropDay(4)
	read()
	s.maintain()
	s.drop("sales", "01.csv", "sale_id,sale_date,version,amount\ns1,2026-01-05,1,100\n")
	read()
	s.maintain()
	_, stages := s.daily()
	var built []string
	for _, p := range stages["silver.sales"].GetPlanned() {
		built = append(built, p.GetPartition())
	}
	if !slices.Equal(built, []string{"2026-01", "2026-03", "2026-04"}) {
		t.Errorf("built are %v: %s", stages["silver.sales"].GetPlanned(), stages["silver.sales"].GetReason())
	}
	s.wantRevenue("", "", "7", "110.5000")
	before := s.cells()
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
	s.wantSame(before)
}

// TestExpiredHistoryIsBuiltAnew takes the history away by which a model finds out what changed.
func TestExpiredHistoryIsBuiltAnew(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	l := s.openLake()
	s.dropDay(1)
	s.daily()
	s.dropDay(2)
	s.daily()
	s.dropDay(3)
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-03-01", EndDate: "2026-04-01"}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatal(run.GetError())
	}
	s.drop("sales", "01.csv", "sale_id,sale_date,version,amount\ns1,2026-01-05,1,100\n")
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-03-01", EndDate: "2026-04-01"}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatal(run.GetError())
	}
	history, err := l.Snapshots(t.Context(), "bronze.sales")
	if err != nil {
		t.Fatal(err)
	}
	var old []int64
	for _, snapshot := range history[1:] {
		old = append(old, snapshot.ID)
	}
	if _, err := l.Expire(t.Context(), "bronze.sales", old, 1<<60); err != nil {
		t.Fatal(err)
	}
	_, stages := s.daily()
	if reason := stages["silver.sales"].GetReason(); !strings.Contains(reason, "no longer known") {
		t.Errorf("silver.sales was built because: %s", reason)
	}
	s.wantRevenue("", "", "5", "106.0000")
}

func TestMaintenanceHasNoInterval(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 0)
	for _, r := range []*shoplakev1.SubmitRunRequest{{StartDate: "2026-01-01"}, {FullRefresh: true}} {
		r.Flow = "flows/maintenance"
		if _, err := s.runs.SubmitRun(t.Context(), r); err == nil || !strings.Contains(err.Error(), "leave out") {
			t.Errorf("%v: %v", r, err)
		}
	}
	run, stages := s.maintain() // of tables that were never built
	wantUpToDate(t, stages)
	if run.GetPublishedVersion() != 0 {
		t.Errorf("published version %d", run.GetPublishedVersion())
	}
}
