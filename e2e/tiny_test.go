package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// revenue asks the tiny pipeline's KPI.
func (s *shop) revenue(from, to string) (sales, revenue string) {
	s.t.Helper()
	answer, err := s.kpis.QueryKpi(s.t.Context(), &shoplakev1.QueryKpiRequest{Name: "kpis/revenue", StartDate: from, EndDate: to})
	if err != nil {
		s.t.Fatal(err)
	}
	fields := answer.GetRowSet().GetRows()[0].GetFields()
	return fields["sales"].GetStringValue(), fields["revenue"].GetStringValue()
}

func (s *shop) daily() (*shoplakev1.Run, map[string]*shoplakev1.Stage) {
	s.t.Helper()
	run, stages := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		s.t.Fatalf("run ended as %v: %v", run.GetState(), run.GetError())
	}
	return run, stages
}

func (s *shop) wantRevenue(from, to, sales, revenue string) {
	s.t.Helper()
	if gotSales, gotRevenue := s.revenue(from, to); gotSales != sales || gotRevenue != revenue {
		s.t.Errorf("revenue of [%s, %s) is %s sales, %s; want %s, %s", from, to, gotSales, gotRevenue, sales, revenue)
	}
}

func TestFileBecomesKPI(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 2)
	s.drop("sales", "2026/01.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,10.50\nb,2026-01-06,1,2.25\nbad,2026-01-06,1,-1\n")
	s.drop("sales", "2026/00.csv", "sale_id,sale_date,version,amount\nmarch,2026-03-09,1,0\n")
	run, stages := s.daily()
	s.wantRevenue("", "", "3", "12.7500")
	s.wantRevenue("2026-01-06", "2026-01-07", "1", "2.2500")
	if c := run.GetCounts(); c.GetRowsRead() != 4 || c.GetRowsBronze() != 3 || c.GetRowsQuarantined() != 1 {
		t.Errorf("4 rows were read, 3 good and 1 bad; the run says %v", c)
	}
	if got := stages["silver.sales"].GetPlanned(); len(got) != 2 || got[0].GetPartition() != "2026-01" {
		t.Errorf("planned %v, want the months 2026-01 and 2026-03", got)
	}

	run, stages = s.daily()
	for table, stage := range stages {
		if stage.GetState() != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
			t.Errorf("nothing changed, but the stage %s is %v: %s", table, stage.GetState(), stage.GetReason())
		}
	}
	if run.GetPublishedVersion() != 1 {
		t.Errorf("a run that changed nothing published version %d", run.GetPublishedVersion())
	}

	// A correction moves a sale to another month; a new one comes in a third.
	s.drop("sales", "2026/02.csv", "sale_id,sale_date,version,amount\na,2026-02-01,2,11\nc,2026-03-01,1,1\n")
	_, stages = s.daily()
	s.wantRevenue("", "", "4", "14.2500")
	s.wantRevenue("2026-01-01", "2026-02-01", "1", "2.2500")
	if got := stages["silver.sales"].GetPlanned(); len(got) != 3 {
		t.Errorf("planned %v, want three months: the one the sale left among them", got)
	}

	// The first file comes again with other content: its old rows go. What shares a data file with it stays as it is.
	s.drop("sales", "2026/01.csv", "sale_id,sale_date,version,amount\nb,2026-01-06,1,100\n")
	_, stages = s.daily()
	for _, p := range stages["silver.sales"].GetPlanned() {
		if p.GetPartition() == "2026-03" {
			t.Errorf("nothing of March changed, but it is built: %s", p.GetReason())
		}
	}
	s.wantRevenue("", "", "4", "112.0000")
}

func TestFilesThatAreBeingWrittenWait(t *testing.T) {
	t.Parallel()
	s := setupPatient(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\n")
	s.daily()
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,2,2\n")
	s.drop("sales", "b.csv", "sale_id,sale_date,version,amount\nb,2026-01-05,1,5\n")
	var stops []func()
	for _, name := range []string{"a.csv", "b.csv"} {
		stops = append(stops, s.keepWriting("sales", name))
	}
	run, _ := s.daily()
	s.wantRevenue("", "", "1", "1.0000")
	notices := strings.Join(run.GetNotices(), "\n")
	if !strings.Contains(notices, "2 files are still being written") || strings.Contains(notices, "gone") {
		t.Errorf("the run says: %s", notices)
	}
	for _, stop := range stops {
		stop()
	}
	s.daily() // what was written last has not rested yet: the run waits for that
	s.wantRevenue("", "", "2", "7.0000")
}

func TestIntervalRunSwallowsNothing(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\nb,2026-02-05,1,10\nc,2026-03-05,1,100\n")
	run, stages := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-02-01", EndDate: "2026-03-01"})
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("run ended as %v: %v", run.GetState(), run.GetError())
	}
	s.wantRevenue("", "", "1", "10.0000")
	if got := stages["silver.sales"].GetPlanned(); len(got) != 1 || got[0].GetPartition() != "2026-02" {
		t.Errorf("built %v, want February alone", got)
	}
	if notices := strings.Join(run.GetNotices(), "\n"); !strings.Contains(notices, "2 stale partitions lie outside the interval") {
		t.Errorf("the run does not say what stays stale: %s", notices)
	}
	s.daily()
	s.wantRevenue("", "", "3", "111.0000")
	// A change inside an interval and one outside: the second is built when its time comes.
	s.drop("sales", "b.csv", "sale_id,sale_date,version,amount\na,2026-01-05,2,2\nc,2026-03-05,2,200\n")
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-03-01", EndDate: "2026-04-01"})
	s.wantRevenue("", "", "3", "211.0000")
	s.daily()
	s.wantRevenue("", "", "3", "212.0000")
}

func TestEditedModelIsBuiltAgain(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\nb,2026-02-05,1,10\n")
	s.daily()
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	for _, file := range folder {
		file.Data = bytes.ReplaceAll(file.Data, []byte("sum(amount)"), []byte("sum(amount * 2)"))
	}
	s.activate(folder)
	_, stages := s.daily()
	s.wantRevenue("", "", "2", "22.0000")
	if state := stages["silver.sales"].GetState(); state != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
		t.Errorf("silver.sales was not edited, but is %v: %s", state, stages["silver.sales"].GetReason())
	}
	if reason := stages["gold.daily_sales"].GetReason(); !strings.Contains(reason, "its SQL") {
		t.Errorf("gold.daily_sales was edited, but was built because: %s", reason)
	}
}

// tinyWith is the tiny pipeline with files added or replaced.
func tinyWith(t *testing.T, files map[string]string) fs.FS {
	t.Helper()
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	for path, content := range files {
		folder[path] = &fstest.MapFile{Data: []byte(content)}
	}
	return folder
}

// inMemory is a copy of a folder whose files can be changed.
func inMemory(t *testing.T, from fs.FS) fstest.MapFS {
	t.Helper()
	folder := fstest.MapFS{}
	err := fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, path)
		folder[path] = &fstest.MapFile{Data: content}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestFailedCheckStopsWhatDependsOnIt(t *testing.T) {
	t.Parallel()
	s := setup(t, tinyWith(t, map[string]string{
		"checks/amount_small.sql": "-- table: silver.sales\n-- severity: error\n-- description: No sale is that large.\n\nSELECT sale_id, amount FROM silver.sales WHERE amount > 1000\n",
		"checks/amount_round.sql": "-- table: silver.sales\n-- severity: warn\n-- description: Amounts are whole.\n\nSELECT sale_id FROM silver.sales WHERE amount <> floor(amount)\n",
	}), 1)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1.5\n")
	run, _ := s.daily()
	if notices := strings.Join(run.GetNotices(), "\n"); !strings.Contains(notices, "amount_round found 1 rows") {
		t.Errorf("a warning is not told: %q", notices)
	}
	s.drop("sales", "b.csv", "sale_id,sale_date,version,amount\nb,2026-01-06,1,5000\n")
	run, stages := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if run.GetState() != shoplakev1.RunState_RUN_STATE_FAILED || run.GetError().GetClass() != shoplakev1.ErrorClass_ERROR_CLASS_BAD_DATA ||
		run.GetError().GetStage() != "silver.sales" || !strings.Contains(run.GetError().GetMessage(), "amount_small found 1 rows") {
		t.Errorf("run ended as %v: %v", run.GetState(), run.GetError())
	}
	if state := stages["gold.daily_sales"].GetState(); state != shoplakev1.StageState_STAGE_STATE_BLOCKED {
		t.Errorf("gold.daily_sales is %v", state)
	}
	s.wantRevenue("", "", "1", "1.5000") // readers see what was published before
	health, err := s.health.GetHealth(t.Context(), &shoplakev1.GetHealthRequest{})
	if err != nil || health.GetStatus() != shoplakev1.HealthStatus_HEALTH_STATUS_DEGRADED || len(health.GetReasons()) != 1 {
		t.Errorf("health: %v, %v", health, err)
	}
	// The data is mended by a correction; the rows that were read before are not lost.
	s.drop("sales", "c.csv", "sale_id,sale_date,version,amount\nb,2026-01-06,2,50\n")
	s.daily()
	s.wantRevenue("", "", "2", "51.5000")
}
