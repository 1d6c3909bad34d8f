package e2e

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/pipelines"
)

// dry asks what a request would build.
func (s *shop) dry(request *shoplakev1.SubmitRunRequest) (*shoplakev1.Run, map[string]*shoplakev1.Stage) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	request.ValidateOnly = true
	run, err := s.runs.SubmitRun(ctx, request)
	request.ValidateOnly = false
	if err != nil {
		s.t.Fatal(err)
	}
	if !run.GetDryRun() {
		s.t.Error("a dry run does not say that it is one")
	}
	stages := map[string]*shoplakev1.Stage{}
	for _, stage := range run.GetPlannedStages() {
		stages[stage.GetTable()] = stage
	}
	return run, stages
}

// lakeFiles are all data files and all files of tables' metadata, but those of the runs' table, which grows by itself: no table is
// made, changed or read anew without another of them.
func (s *shop) lakeFiles() []string {
	s.t.Helper()
	var files []string
	runs := s.path(append([]string{"lake"}, strings.Split(pipeline.RunsTable, ".")...)...)
	err := filepath.WalkDir(s.path("lake"), func(path string, entry fs.DirEntry, err error) error {
		if path == runs {
			return fs.SkipDir
		}
		if err == nil && !entry.IsDir() && !strings.Contains(path, "/plans/") && !strings.Contains(filepath.Base(path), "catalog.db") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

func (s *shop) publishedVersion() int64 {
	s.t.Helper()
	health, err := s.health.GetHealth(s.t.Context(), &shoplakev1.GetHealthRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	return health.GetPublishedVersion()
}

// planOf is what a stage builds and why, as text.
func planOf(stage *shoplakev1.Stage) map[string]string {
	plan := map[string]string{}
	for _, p := range stage.GetPlanned() {
		plan[p.GetPartition()] = p.GetReason()
	}
	return plan
}

// foretold holds a dry run against the run after it: each stage builds the partitions that were told, for the reasons that were
// told; more only where the dry run said that there may be more. It gives what the dry run said.
func (s *shop) foretold(request *shoplakev1.SubmitRunRequest) (*shoplakev1.Run, map[string]*shoplakev1.Stage) {
	s.t.Helper()
	files, version := s.lakeFiles(), s.publishedVersion()
	told, toldStages := s.dry(request)
	if told.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		s.t.Fatalf("the dry run ended as %v: %v", told.GetState(), told.GetError())
	}
	if diff := cmp.Diff(files, s.lakeFiles()); diff != "" {
		s.t.Errorf("the dry run changed the lake (-before +after):\n%s", diff)
	}
	if after := s.publishedVersion(); after != version || told.GetPublishedVersion() != 0 {
		s.t.Errorf("the dry run moved what is published from version %d to %d", version, after)
	}
	run, stages := s.run(request)
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		s.t.Fatalf("run ended as %v: %v", run.GetState(), run.GetError())
	}
	for _, table := range slices.Sorted(maps.Keys(stages)) {
		foreseen, built := toldStages[table], stages[table]
		want, got := planOf(foreseen), planOf(built)
		if more := foreseen.GetPlannedMore(); more != "" {
			s.t.Logf("%s: besides %s", table, more)
			for partition := range got {
				if _, ok := want[partition]; !ok {
					delete(got, partition)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.t.Errorf("%s (-told +built):\n%s", table, diff)
		}
		upToDate := shoplakev1.StageState_STAGE_STATE_UP_TO_DATE
		if (foreseen.GetState() == upToDate) != (built.GetState() == upToDate) && foreseen.GetPlannedMore() == "" {
			s.t.Errorf("%s was told to be %v (%s), and is %v (%s)", table, foreseen.GetState(), foreseen.GetReason(), built.GetState(), built.GetReason())
		}
		if strings.HasPrefix(table, "bronze.") && (foreseen.GetRowsIn() != built.GetRowsIn() || foreseen.GetRowsQuarantined() != built.GetRowsQuarantined()) {
			s.t.Errorf("%s: of %d rows %d were told to be quarantined, of %d are %d", table, foreseen.GetRowsIn(), foreseen.GetRowsQuarantined(), built.GetRowsIn(), built.GetRowsQuarantined())
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(run.GetNotices())), slices.Sorted(slices.Values(told.GetNotices()))); diff != "" {
		s.t.Errorf("the notices differ (-run +dry run):\n%s", diff)
	}
	return told, toldStages
}

func everything() *shoplakev1.SubmitRunRequest {
	return &shoplakev1.SubmitRunRequest{Flow: "flows/daily"}
}

func TestDryRunTellsWhatTheRunBuilds(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 2)
	const header = "sale_id,sale_date,version,amount\n"
	wants := func(stages map[string]*shoplakev1.Stage, table string, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, planOf(stages[table])); diff != "" {
			t.Errorf("%s (-want +told):\n%s", table, diff)
		}
	}

	// Nothing was ever built: there is not even a table.
	s.drop("sales", "01.csv", header+"a,2026-01-05,1,10.50\nb,2026-02-06,1,2.25\nbad,2026-01-06,1,-1\n")
	s.drop("sales", "03.csv", header+"march,2026-03-09,1,0\n")
	_, stages := s.foretold(everything())
	wants(stages, "bronze.sales", map[string]string{"01.csv": "new file", "03.csv": "new file"})
	wants(stages, "silver.sales", map[string]string{"2026-01": "the table was never built as a whole", "2026-02": "the table was never built as a whole", "2026-03": "the table was never built as a whole"})

	// A new file corrects a sale, which leaves its month, and brings another one.
	s.drop("sales", "04.csv", header+"a,2026-02-01,2,11\nc,2026-04-01,1,1\nworse,2026-04-01,1,-1\n")
	_, stages = s.foretold(everything())
	if b := stages["bronze.sales"]; b.GetRowsIn() != 3 || b.GetRowsQuarantined() != 1 {
		t.Errorf("of %d rows %d would be quarantined; want 1 of 3", b.GetRowsIn(), b.GetRowsQuarantined())
	}
	wants(stages, "silver.sales", map[string]string{
		"2026-01": "bronze.sales changed in keys that stand here too (sale_id): sales/04.csv (new file)",
		"2026-02": "bronze.sales changed: sales/04.csv (new file)",
		"2026-04": "bronze.sales changed: sales/04.csv (new file)",
	})
	by := "silver.sales changed, by sales/04.csv"
	wants(stages, "gold.daily_sales", map[string]string{"2026-01": by, "2026-02": by, "2026-04": by})

	// A file comes again with other content, a late one beside it; a third is gone.
	s.drop("sales", "03.csv", header+"march,2026-03-10,2,5\n")
	s.drop("sales", "02-late.csv", header+"late,2026-03-02,1,7\n")
	if err := os.Remove(s.path("landing", "sales", "01.csv")); err != nil {
		t.Fatal(err)
	}
	told, stages := s.foretold(everything())
	wants(stages, "silver.sales", map[string]string{"2026-03": "bronze.sales changed: sales/02-late.csv (new file) and 1 more"})
	wants(stages, "gold.daily_sales", map[string]string{"2026-03": "silver.sales changed, by sales/02-late.csv and sales/03.csv"})
	if notices := strings.Join(told.GetNotices(), "\n"); !strings.Contains(notices, "gone from landing") {
		t.Errorf("the dry run says: %s", notices)
	}

	// An interval, what stays stale outside it, and what the next run makes of that.
	s.drop("sales", "05.csv", header+"d,2026-01-15,1,1\ne,2026-05-01,1,1\n")
	told, stages = s.foretold(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-05-01"})
	wants(stages, "silver.sales", map[string]string{"2026-05": "bronze.sales changed: sales/05.csv (new file)"})
	if notices := strings.Join(told.GetNotices(), "\n"); !strings.Contains(notices, "1 stale partitions lie outside the interval") {
		t.Errorf("the dry run says: %s", notices)
	}
	s.drop("sales", "06.csv", header+"f,2026-05-02,1,1\n")
	_, stages = s.foretold(everything())
	wants(stages, "gold.daily_sales", map[string]string{"2026-01": "silver.sales changed, by sales/05.csv", "2026-05": "silver.sales changed, by sales/05.csv and sales/06.csv"})

	// Nothing; and everything.
	_, stages = s.foretold(everything())
	for table, stage := range stages {
		if stage.GetState() != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
			t.Errorf("nothing changed, but %s is %v", table, stage.GetState())
		}
	}
	if err := os.WriteFile(s.path("landing", "sales", "01.csv"), []byte(header+"a,2026-01-05,1,10.50\nb,2026-02-06,1,2.25\nbad,2026-01-06,1,-1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.foretold(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
}

// TestDryRunTellsThatARunWouldFail edits a model so that its table cannot become what the header asks for.
func TestDryRunTellsThatARunWouldFail(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "01.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,10.50\n")
	s.daily()
	s.activateEdited(os.DirFS("testdata/tiny"), "silver/sales.sql", "version, amount", "CAST(version AS VARCHAR) AS version, amount")
	files := s.lakeFiles()
	told, stages := s.dry(everything())
	if diff := cmp.Diff(files, s.lakeFiles()); diff != "" {
		t.Errorf("the dry run changed the lake (-before +after):\n%s", diff)
	}
	run, _ := s.run(everything())
	if told.GetState() != shoplakev1.RunState_RUN_STATE_FAILED || told.GetError().GetStage() != run.GetError().GetStage() || told.GetError().GetClass() != run.GetError().GetClass() {
		t.Errorf("the dry run is %v: %v; the run is %v: %v", told.GetState(), told.GetError(), run.GetState(), run.GetError())
	}
	if state := stages["gold.daily_sales"].GetState(); state != shoplakev1.StageState_STAGE_STATE_BLOCKED {
		t.Errorf("gold.daily_sales is %v", state)
	}
}

// TestDryRunOfTheShippedPipeline holds back a day of orders, one of events and a workbook, and drops them one after the other.
func TestDryRunOfTheShippedPipeline(t *testing.T) {
	t.Parallel()
	s := setup(t, pipelines.Ecommerce, 2)
	c := smallShop(5)
	c.Days, c.Orders, c.Events = 60, 1200, 6000
	s.generate(c)
	held := map[string]string{} // from source to what was taken out of its landing folder
	for source, name := range map[string]string{"orders": "2026-02-03.csv", "user_activity": "2026-02-10", "inventory": "2026-W06.xlsx"} {
		held[source] = name
		if err := os.Rename(s.path("landing", source, name), s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(source string) {
		t.Helper()
		if err := os.Rename(s.path(held[source]), s.path("landing", source, held[source])); err != nil {
			t.Fatal(err)
		}
	}
	_, stages := s.foretold(everything())
	if b := stages["bronze.orders"]; b.GetRowsQuarantined() == 0 || b.GetRowsIn() < 1000 {
		t.Errorf("of %d order lines %d would be quarantined, but bad ones were planted", b.GetRowsIn(), b.GetRowsQuarantined())
	}

	// A late workbook: the costs of later orders change with it.
	drop("inventory")
	_, stages = s.foretold(everything())
	by := ", by inventory/2026-W06.xlsx"
	if plan := planOf(stages["gold.fact_order_line"]); len(plan) == 0 || !strings.HasPrefix(plan["2026-02"], "silver.inventory changed from 2026-02-") || !strings.HasSuffix(plan["2026-02"], by) || plan["2026-01"] != "" {
		t.Errorf("gold.fact_order_line would be built: %v", plan)
	}
	if reason := planOf(stages["gold.dim_product"])["all"]; reason != "silver.inventory changed"+by {
		t.Errorf("gold.dim_product would be built, since %q", reason)
	}
	if reason := planOf(stages["gold.kpi_daily_sales"])["2026-02"]; reason != "gold.fact_order_line changed"+by {
		t.Errorf("gold.kpi_daily_sales 2026-02 would be built, since %q", reason)
	}

	// A late day of orders and of events: which other days hold the same visits is known by the run alone.
	drop("orders")
	drop("user_activity")
	_, stages = s.foretold(everything())
	if reason := planOf(stages["silver.orders"])["2026-02"]; reason != "bronze.orders changed: orders/2026-02-03.csv (new file)" {
		t.Errorf("silver.orders 2026-02 would be built, since %q", reason)
	}
	if reason := planOf(stages["silver.user_activity"])["2026-02-10"]; !strings.HasPrefix(reason, "bronze.user_activity changed: user_activity/2026-02-10/") {
		t.Errorf("silver.user_activity 2026-02-10 would be built, since %q", reason)
	}
	for table, stage := range stages {
		if more := stage.GetPlannedMore(); (more != "") != (table == "gold.fact_session") {
			t.Errorf("%s may be built besides: %q", table, more)
		}
	}

	// An edited model, and an interval that leaves the rest of it stale.
	s.activateEdited(pipelines.Ecommerce, "gold/customer_month.sql", "date_trunc('month', order_date)::DATE", "date_trunc('month', order_date + INTERVAL 0 DAY)::DATE")
	told, stages := s.foretold(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-02-01"})
	if plan := planOf(stages["gold.customer_month"]); plan["2026-02"] != "its SQL, its header, the time zone, a contract or the engine changed" || plan["2026-01"] != "" {
		t.Errorf("gold.customer_month would be built: %v", plan)
	}
	if reason := planOf(stages["gold.dim_customer"])["all"]; reason != "gold.customer_month changed, by the new definition of gold.customer_month" {
		t.Errorf("gold.dim_customer would be built, since %q", reason)
	}
	if notices := strings.Join(told.GetNotices(), "\n"); !strings.Contains(notices, "gold.customer_month: 1 stale partitions lie outside the interval") {
		t.Errorf("the dry run says: %s", notices)
	}
	s.foretold(everything())
}

// activateEdited makes an edited copy of a pipeline the active one.
func (s *shop) activateEdited(folder fs.FS, file, old, replacement string) {
	s.t.Helper()
	edited := inMemory(s.t, folder)
	before := string(edited[file].Data)
	after := strings.Replace(before, old, replacement, 1)
	if after == before {
		s.t.Fatalf("%s does not hold %q", file, old)
	}
	edited[file] = &fstest.MapFile{Data: []byte(after)}
	s.activate(edited)
}

// TestDryRunOfTablesThatArePartitionedOtherwise has models that are partitioned by another column than what they read, reach over
// days, look back, and look up.
func TestDryRunOfTablesThatArePartitionedOtherwise(t *testing.T) {
	t.Parallel()
	contract, err := os.ReadFile("testdata/tiny/contracts/sales.odcs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := setup(t, tinyWith(t, map[string]string{
		"contracts/sales.odcs.yaml": string(contract) + "      - name: ship_date\n        logicalType: date\n",
		"silver/sales.sql":          "-- description: Sales.\n-- partition: month(sale_date)\n-- key: sale_id, version\n-- input bronze.sales: same(sale_date)\nSELECT sale_id, sale_date, version, amount, ship_date FROM bronze.sales\n",
		"gold/shipped.sql":          "-- description: What left the house.\n-- partition: month(ship_date)\n-- key: sale_id, version\n-- input silver.sales: same(ship_date)\nSELECT sale_id, version, ship_date FROM silver.sales\n",
		"gold/raw_shipped.sql":      "-- description: What left the house, as it came.\n-- partition: ship_date\n-- key: sale_id, version\n-- reach: 1 days\n-- input bronze.sales: same(ship_date)\nSELECT sale_id, version, ship_date FROM bronze.sales\n",
		"gold/latest.sql":           "-- description: The price as of a day.\n-- partition: ship_date\n-- key: sale_id, version\n-- input bronze.sales: same(ship_date)\n-- input silver.sales: asof(sale_date)\nSELECT b.sale_id, b.version, b.ship_date, max(s.amount) AS amount FROM bronze.sales b LEFT JOIN silver.sales s ON s.sale_date <= b.ship_date GROUP BY ALL\n",
		"gold/named.sql":            "-- description: Looks up.\n-- partition: month(sale_date)\n-- key: sale_id, version\n-- input silver.sales: same(sale_date)\n-- input gold.shipped: lookup\nSELECT silver.sales.sale_id, silver.sales.version, sale_date, count(*) AS n FROM silver.sales LEFT JOIN gold.shipped USING (sale_id) GROUP BY ALL\n",
	}), 1)
	const header = "sale_id,sale_date,version,amount,ship_date\n"
	s.drop("sales", "01.csv", header+"a,2026-01-05,1,1,2026-01-07\nb,2026-02-05,1,2,2026-03-01\nc,2026-03-05,1,3,\nd,2026-05-01,1,3,2026-05-01\n")
	_, stages := s.foretold(everything())
	const unknown = "the partitions that the new rows of silver.sales fall into"
	if more := stages["gold.shipped"].GetPlannedMore(); more != unknown {
		t.Errorf("gold.shipped may be built besides: %q", more)
	}
	s.drop("sales", "02.csv", header+"e,2026-02-07,1,4,2026-04-01\n")
	s.drop("sales", "03.csv", header+"f,2026-02-08,1,4,\n")
	_, stages = s.foretold(everything())
	for table, want := range map[string]map[string]string{
		// What was in February before is known, not what comes.
		"gold.shipped":     {"2026-03": "silver.sales changed, by sales/02.csv and sales/03.csv"},
		"gold.raw_shipped": {"2026-03-31": "bronze.sales changed within 1 days: sales/02.csv (new file)", "2026-04-01": "bronze.sales changed: sales/02.csv (new file)", "2026-04-02": "bronze.sales changed within 1 days: sales/02.csv (new file)", "__null__": "bronze.sales changed: sales/03.csv (new file)"},
		"gold.named":       {"2026-02": "silver.sales changed, by sales/02.csv and sales/03.csv"},
		"gold.latest": {
			"2026-03-01": "silver.sales changed from 2026-02 on, by sales/02.csv and sales/03.csv", "2026-04-01": "bronze.sales changed: sales/02.csv (new file); silver.sales changed from 2026-02 on, by sales/02.csv and sales/03.csv",
			"2026-05-01": "silver.sales changed from 2026-02 on, by sales/02.csv and sales/03.csv",
			"__null__":   "bronze.sales changed: sales/03.csv (new file); silver.sales changed from 2026-02 on, by sales/02.csv and sales/03.csv",
		},
	} {
		if diff := cmp.Diff(want, planOf(stages[table])); diff != "" {
			t.Errorf("%s (-want +told):\n%s", table, diff)
		}
	}
	s.drop("sales", "01.csv", header+"a,2026-01-05,2,1,2026-01-08\n")
	s.foretold(everything())
}
