package e2e

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/controlplane"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/sample"
	"github.com/shoplake/shoplake/pipelines"
)

const salesHeader = "sale_id,sale_date,version,amount\n"

// runUntil submits a run, does something when a stage is in a state, and watches the run to its end.
func (s *shop) runUntil(table string, state shoplakev1.StageState, do func()) (*shoplakev1.Run, map[string]*shoplakev1.Stage) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	run, err := s.runs.SubmitRun(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := s.runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: run.GetName()})
	if err != nil {
		s.t.Fatal(err)
	}
	stages := map[string]*shoplakev1.Stage{}
	for run.GetEndTime() == nil {
		change, err := stream.Recv()
		if err != nil {
			s.t.Fatal(err)
		}
		run = change.GetRun()
		for _, stage := range change.GetStages() {
			stages[stage.GetTable()] = stage
			if do != nil && stage.GetTable() == table && stage.GetState() == state {
				do()
				do = nil
			}
		}
	}
	if do != nil {
		s.t.Fatalf("%s was never %v", table, state)
	}
	return run, stages
}

// setupPatient is setup with a control plane that lets files rest for as long as the program does by default.
func setupPatient(t *testing.T, pipeline fs.FS, workers int) *shop {
	t.Helper()
	return setupWith(t, pipeline, workers, func(c *controlplane.Config) { c.Settle = controlplane.Settle })
}

// keepWriting has a program append to a landing file all the time: blank lines, which are no rows. It stops when told, or when
// the test ends.
func (s *shop) keepWriting(source, name string) (stop func()) {
	s.t.Helper()
	file, err := os.OpenFile(s.path("landing", source, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		defer file.Close()
		for ctx.Err() == nil {
			if _, err := file.WriteString("\n"); err != nil {
				s.t.Errorf("write on %s: %v", name, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	stop = func() {
		cancel()
		writing.Wait()
	}
	s.t.Cleanup(stop)
	return stop
}

// A file that is another by the time it is read was perhaps not complete: its reading is planned again. So it is when it went away.
func TestFilesThatChangeBetweenPlanningAndReading(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change         func(s *shop, path string)
		sales, revenue string
	}{
		"written on": {func(s *shop, _ string) {
			s.drop("sales", "b.csv", salesHeader+"b,2026-01-06,1,10\nc,2026-01-06,1,1\n")
			s.keepWriting("sales", "b.csv")
		}, "1", "1.0000"},
		"replaced": {func(s *shop, path string) {
			s.drop("sales", ".b", salesHeader+"b,2026-01-06,1,20\n")
			if err := os.Rename(s.path("landing", "sales", ".b"), path); err != nil {
				s.t.Fatal(err)
			}
		}, "2", "21.0000"},
		"gone": {func(s *shop, path string) {
			if err := os.Remove(path); err != nil {
				s.t.Fatal(err)
			}
		}, "1", "1.0000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupPatient(t, os.DirFS("testdata/tiny"), 0)
			s.drop("sales", "a.csv", salesHeader+"a,2026-01-05,1,1\n")
			s.drop("sales", "b.csv", salesHeader+"b,2026-01-06,1,10\n")
			run, _ := s.runUntil("bronze.sales", shoplakev1.StageState_STAGE_STATE_RUNNING, func() {
				c.change(s, s.path("landing", "sales", "b.csv"))
				s.startWorker()
			})
			if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
				t.Fatalf("run ended as %v: %v", run.GetState(), run.GetError())
			}
			s.wantRevenue("", "", c.sales, c.revenue)
			if lost := s.conservedOf("sales"); lost != "" {
				t.Error(lost)
			}
		})
	}
}

// A file that is replaced after it was read is read again by the next run.
func TestFileReplacedInTheMiddleOfARun(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "a.csv", salesHeader+"a,2026-01-05,1,1\n")
	s.runUntil("bronze.sales", shoplakev1.StageState_STAGE_STATE_SUCCEEDED, func() {
		s.drop("sales", "a.csv", salesHeader+"a,2026-02-05,1,2\n")
	})
	s.wantRevenue("", "", "1", "1.0000")
	_, stages := s.daily()
	s.wantRevenue("", "", "1", "2.0000")
	if got := stages["bronze.sales"].GetPlanned(); len(got) != 1 || got[0].GetReason() != "its content changed" {
		t.Errorf("a.csv was read again because %v", got)
	}
}

// A file that went away and comes back as it was is nothing new; but where the contract is another by then, it is read by that.
func TestFileThatComesBack(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	const content = salesHeader + "a,2026-01-05,1,1\nb,2026-01-05,1,50\n"
	s.drop("sales", "a.csv", content)
	s.drop("sales", "b.csv", salesHeader+"c,2026-01-05,1,1000\n")
	s.daily()
	if err := os.Remove(s.path("landing", "sales", "a.csv")); err != nil {
		t.Fatal(err)
	}
	run, _ := s.daily()
	if notices := strings.Join(run.GetNotices(), "\n"); !strings.Contains(notices, "1 files are gone from landing: their rows are kept") {
		t.Errorf("the run says: %s", notices)
	}
	s.wantRevenue("", "", "3", "1051.0000")
	s.drop("sales", "a.csv", content)
	_, stages := s.daily()
	if state := stages["bronze.sales"].GetState(); state != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
		t.Errorf("a file that came back as it was is read again: %v", stages["bronze.sales"].GetPlanned())
	}
	if err := os.Remove(s.path("landing", "sales", "a.csv")); err != nil {
		t.Fatal(err)
	}
	s.activateEdited(os.DirFS("testdata/tiny"), "contracts/sales.odcs.yaml", "minimum: 0", "minimum: 10")
	s.daily() // b.csv is read by the new contract; a.csv cannot be
	s.wantRevenue("", "", "3", "1051.0000")
	s.drop("sales", "a.csv", content)
	_, stages = s.daily()
	s.wantRevenue("", "", "2", "1050.0000")
	if got := stages["bronze.sales"].GetPlanned(); len(got) != 1 || got[0].GetReason() != "the contract changed" {
		t.Errorf("a.csv was read again because %v", got)
	}
}

// The same content under a second name is read too, and said; its rows count once where a model takes each key once. An empty
// file under one of the names takes that one's rows out.
func TestSameContentUnderTwoNames(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	const content = salesHeader + "a,2026-01-05,1,1\nb,2026-01-05,1,50\n"
	s.drop("sales", "a.csv", content)
	run, _ := s.daily()
	if len(run.GetNotices()) > 0 {
		t.Errorf("the run says: %q", run.GetNotices())
	}
	s.drop("sales", "again.csv", content)
	s.drop("sales", "more.csv", content)
	run, _ = s.daily()
	if notices := strings.Join(run.GetNotices(), "\n"); !strings.Contains(notices, `2 files have the content of another one ("again.csv" is "a.csv" again, "more.csv" is "a.csv" again)`) {
		t.Errorf("the run says: %s", notices)
	}
	s.wantRevenue("", "", "2", "51.0000")
	const rows = "SELECT CAST(count(*) AS VARCHAR) AS line FROM bronze.sales"
	if got := s.lines(rows); got[0] != "6" {
		t.Errorf("bronze holds %s rows, want those of all three files", got[0])
	}
	for _, name := range []string{"again.csv", "more.csv"} {
		s.drop("sales", name, "")
	}
	run, _ = s.daily()
	if got := s.lines(rows); got[0] != "2" || len(run.GetNotices()) > 0 {
		t.Errorf("bronze holds %s rows, want those of one file; the run says %q", got[0], run.GetNotices())
	}
	s.wantRevenue("", "", "2", "51.0000")
}

// Every file of the shipped pipeline may come twice: no KPI counts anything double.
func TestShippedPipelineCountsFilesOnceThatComeTwice(t *testing.T) {
	t.Parallel()
	s := setup(t, pipelines.Ecommerce, 2)
	s.generate(sample.Config{Start: time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC), Days: 15, Orders: 300, Events: 1500, Products: 30, Seed: 3, Dirt: 0.02})
	s.daily()
	kpis := func() map[string]string {
		all := s.everything()
		maps.DeleteFunc(all, func(name, _ string) bool {
			return !strings.HasPrefix(name, "kpi ") && !strings.HasPrefix(name, "gold.")
		})
		return all
	}
	once := kpis()
	for _, source := range []string{"orders", "user_activity", "inventory"} {
		var files []string
		err := filepath.WalkDir(s.path("landing", source), func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Before and after the other by name: whichever of two equal rows is taken, it is the same.
			s.drop(source, []string{"0-again-", "zz-again-"}[i%2]+filepath.Base(file), string(content))
		}
	}
	run, _ := s.daily()
	if notices := strings.Join(run.GetNotices(), "\n"); strings.Count(notices, "have the content of another one") != 3 {
		t.Errorf("the run says: %s", notices)
	}
	if diff := cmp.Diff(once, kpis()); diff != "" {
		t.Errorf("files that came twice changed tables and KPIs (-once +twice):\n%s", diff)
	}
}

// A run of an interval builds a part. What was moved into it, and away again before the rest was built, is taken out of it.
func TestIntervalThatSawAChangeTakenBack(t *testing.T) {
	t.Parallel()
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	delete(folder, "checks/sales_key.sql") // while only a part is built a sale may stand twice
	january := salesHeader + "a,2026-01-05,1,1\n"
	t.Run("by other rows", func(t *testing.T) {
		t.Parallel()
		s := setup(t, folder, 1)
		s.drop("sales", "a.csv", january)
		s.daily()
		s.drop("sales", "a.csv", salesHeader+"a,2026-02-05,1,10\n")
		s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-02-01", EndDate: "2026-03-01"})
		s.wantRevenue("2026-02-01", "2026-03-01", "1", "10.0000")
		s.drop("sales", "a.csv", january)
		s.daily()
		s.wantRevenue("", "", "1", "1.0000")
	})
	t.Run("by other SQL", func(t *testing.T) {
		t.Parallel()
		s := setup(t, folder, 1)
		s.drop("sales", "a.csv", salesHeader+"a,2026-01-05,1,1\nb,2026-02-05,1,10\n")
		s.daily()
		edited := maps.Clone(folder)
		edited["gold/daily_sales.sql"] = &fstest.MapFile{Data: []byte(strings.Replace(string(folder["gold/daily_sales.sql"].Data), "sum(amount)", "sum(amount * 2)", 1))}
		s.activate(edited)
		s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-02-01"})
		s.wantRevenue("", "", "2", "21.0000")
		s.activate(folder)
		_, stages := s.daily()
		s.wantRevenue("", "", "2", "11.0000")
		if reason := stages["gold.daily_sales"].GetReason(); !strings.Contains(reason, "a run of an interval built partitions by other SQL") {
			t.Errorf("gold.daily_sales was built because: %s", reason)
		}
	})
}

// A check that was edited is made of tables that did not change, too: a full refresh would make it.
func TestEditedCheckIsMade(t *testing.T) {
	t.Parallel()
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	small := "-- table: silver.sales\n-- severity: error\n-- description: No sale is that large.\n\nSELECT sale_id FROM silver.sales WHERE amount > 100\n"
	folder["checks/small.sql"] = &fstest.MapFile{Data: []byte(small)}
	s := setup(t, folder, 1)
	s.drop("sales", "a.csv", salesHeader+"a,2026-01-05,1,50\n")
	s.daily()
	state := func() shoplakev1.StageState {
		_, stages := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
		return stages["silver.sales"].GetState()
	}
	edited := maps.Clone(folder)
	edited["checks/small.sql"] = &fstest.MapFile{Data: []byte(strings.Replace(small, "100", "10", 1))}
	s.activate(edited)
	for range 2 {
		if got := state(); got != shoplakev1.StageState_STAGE_STATE_FAILED {
			t.Errorf("a check that fails by now: silver.sales is %v", got)
		}
	}
	edited["checks/small.sql"] = &fstest.MapFile{Data: []byte(strings.Replace(small, "100", "60", 1))}
	s.activate(edited)
	run, stages := s.daily()
	if stage := stages["silver.sales"]; stage.GetState() != shoplakev1.StageState_STAGE_STATE_SUCCEEDED || !strings.HasPrefix(stage.GetReason(), "its checks changed") || len(stage.GetPlanned()) > 0 {
		t.Errorf("a check that passes: silver.sales is %v, %s, planned %v; %v", stage.GetState(), stage.GetReason(), stage.GetPlanned(), run.GetNotices())
	}
	if got := state(); got != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
		t.Errorf("nothing changed, but silver.sales is %v", got)
	}
	s.wantRevenue("", "", "1", "50.0000")
}

// conservedOf says which files' rows are not all in bronze or quarantine.
func (s *shop) conservedOf(sources ...string) string {
	s.t.Helper()
	var kept []string
	for _, source := range slices.Sorted(slices.Values(sources)) {
		kept = append(kept, "SELECT '"+source+"' AS source, _source_file AS path, 1 AS good, 0 AS bad FROM bronze."+source)
	}
	lost := s.lines(`WITH kept AS (SELECT source, path, sum(good) AS good, sum(bad) AS bad FROM (` + strings.Join(kept, " UNION ALL ") + `
			UNION ALL SELECT source, source_file, 0, 1 FROM ops.quarantine) GROUP BY ALL),
		latest AS (SELECT * FROM ops.ingested QUALIFY row_number() OVER (PARTITION BY source, path ORDER BY ingested_at DESC) = 1)
		SELECT source || '/' || path || ': ' || coalesce(rows_read, 0) || ' rows were read, ' || coalesce(good, 0) || ' are in bronze, ' || coalesce(bad, 0) || ' in quarantine' AS line
		FROM latest FULL JOIN kept USING (source, path)
		WHERE rows_read <> rows_bronze + rows_quarantined OR coalesce(rows_bronze, 0) <> coalesce(good, 0) OR coalesce(rows_quarantined, 0) <> coalesce(bad, 0)`)
	return strings.Join(lost, "\n")
}

// A commit that found bronze moved by another program has left its rows in quarantine: who reads the file again puts its own in
// their place.
func TestFileThatWasHalfIngested(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "01.csv", salesHeader+"a,2026-01-05,1,10\nb,2026-01-05,1,minus\n")
	s.daily()
	s.drop("sales", "02.csv", salesHeader+"c,2026-01-06,1,20\nd,2026-01-06,1,plus\n")
	s.daily()
	want := s.contents()
	s.forgetLast("bronze.sales", "ops.ingested")
	if _, stages := s.daily(); len(stages["bronze.sales"].GetPlanned()) != 1 {
		t.Fatalf("02.csv is not read again: %v", stages["bronze.sales"])
	}
	if diff := cmp.Diff(want, s.contents()); diff != "" {
		t.Errorf("as it was read at once (-) and by halves (+):\n%s", diff)
	}
	if lost := s.conservedOf("sales"); lost != "" {
		t.Error(lost)
	}
}

// forgetLast takes the data files that were committed last out of tables again.
func (s *shop) forgetLast(tables ...string) {
	s.t.Helper()
	l := s.openLake()
	epoch, err := l.HighestEpoch(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, table := range tables {
		snapshots, err := l.Snapshots(s.t.Context(), table)
		if err != nil {
			s.t.Fatal(err)
		}
		last, _, err := l.Changes(s.t.Context(), table, snapshots[0].ParentID, snapshots[0].ID)
		if err != nil {
			s.t.Fatal(err)
		}
		c := lake.Commit{Table: table, Epoch: epoch}
		for _, f := range last {
			c.Remove = append(c.Remove, f.Path)
		}
		if _, err := l.Commit(s.t.Context(), c); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A column that a contract gives up and takes back is as it was, also of rows whose file is gone and whose data file was written
// anew meanwhile.
func TestColumnThatComesBack(t *testing.T) {
	t.Parallel()
	folder := inMemory(t, os.DirFS("testdata/tiny"))
	with := maps.Clone(folder)
	contract := string(folder["contracts/sales.odcs.yaml"].Data)
	with["contracts/sales.odcs.yaml"] = &fstest.MapFile{Data: []byte(contract + "      - {name: coupon, logicalType: string}\n")}
	s := setup(t, with, 1)
	const header = "sale_id,sale_date,version,amount,coupon\n"
	s.drop("sales", "gone.csv", header+"a,2026-01-05,1,10,SPRING\n")
	s.drop("sales", "stays.csv", header+"b,2026-01-05,1,20,SUMMER\n")
	s.daily()
	if err := os.Remove(s.path("landing", "sales", "gone.csv")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []fstest.MapFS{folder, with} {
		s.activate(p)
		s.daily()
	}
	got := s.lines("SELECT sale_id || ' ' || coupon AS line FROM bronze.sales")
	if want := []string{"a SPRING", "b SUMMER"}; !slices.Equal(got, want) {
		t.Errorf("bronze has %q, want %q", got, want)
	}
}

// What a run read before it failed is conserved too, in what another run of other sources publishes.
func TestRunOfOtherSourcesPublishes(t *testing.T) {
	t.Parallel()
	folder := inMemory(t, os.DirFS("testdata/histories"))
	folder["pipeline.yaml"] = &fstest.MapFile{Data: append(folder["pipeline.yaml"].Data, "  sales:\n    title: Sales\n    select: [\"silver.sale\"]\n  names:\n    title: Names\n    select: [\"silver.name\"]\n"...)}
	s := setup(t, folder, 1)
	s.drop("names", "names.csv", "product,title\np0,Zero\n")
	s.drop("sales", "1.csv", "sale_id,sold_at,version,due_date,customer,product,region,amount\ns1,2026-01-05T10:00:00,1,,an,p0,north,5000\ns2,soon,1,,an,p0,north,5\n")
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/sales"}); run.GetState() != shoplakev1.RunState_RUN_STATE_FAILED || run.GetError().GetStage() != "silver.sale" {
		t.Fatalf("a sale that is too large: the run is %v: %v", run.GetState(), run.GetError())
	}
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/names"}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("the other run is %v: %v", run.GetState(), run.GetError())
	}
	if lost := s.conservedOf("sales", "names"); lost != "" {
		t.Error(lost)
	}
}

// A run that reads no files may be beside one that is half-way in reading some: what that wrote stays unseen.
func TestRunWithoutSourcesPublishesItsTablesAlone(t *testing.T) {
	t.Parallel()
	s := setup(t, tinyWith(t, map[string]string{
		"gold/calendar.sql": "-- description: Days.\nSELECT CAST(moment AS DATE) AS day FROM range(DATE '2026-01-01', DATE '2026-02-01', INTERVAL 1 DAY) AS moments(moment)\n",
		"pipeline.yaml":     "name: tiny\ntime_zone: UTC\ncurrency: EUR\nflows:\n  daily:\n    select: [\"*\"]\n  calendar:\n    select: [gold.calendar]\n",
	}), 1)
	s.drop("sales", "01.csv", salesHeader+"a,2026-01-05,1,10\nb,2026-01-05,1,minus\n")
	before, _ := s.daily()
	want := s.contents()
	s.forgetLast("bronze.sales", "ops.ingested") // as between the commit of quarantine and that of bronze
	run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/calendar", FullRefresh: true})
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED || run.GetPublishedVersion() == before.GetPublishedVersion() {
		t.Fatalf("the run of the calendar ended as %v: %v, and published version %d", run.GetState(), run.GetError(), run.GetPublishedVersion())
	}
	if diff := cmp.Diff(want, s.contents()); diff != "" {
		t.Errorf("before (-) and after (+) a run that reads no file:\n%s", diff)
	}
}
