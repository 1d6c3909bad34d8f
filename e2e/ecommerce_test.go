package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/sample"
	"github.com/shoplake/shoplake/pipelines"
)

// smallShop is a quarter of sample data that every kind of row is in.
func smallShop(seed uint64) sample.Config {
	return sample.Config{Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Days: 75, Orders: 2500, Events: 15000, Products: 120, Seed: seed, Dirt: 0.02}
}

// generate makes sample data in the shop's landing folders.
func (s *shop) generate(c sample.Config) *sample.Manifest {
	s.t.Helper()
	c.Out = s.dir
	manifest, err := sample.Generate(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return manifest
}

// ask answers a KPI as a table of texts: the cells in the order of the columns.
func (s *shop) ask(kpi, from, to string, params map[string]string) [][]string {
	s.t.Helper()
	answer, err := s.kpis.QueryKpi(s.t.Context(), &shoplakev1.QueryKpiRequest{Name: "kpis/" + kpi, StartDate: from, EndDate: to, Parameters: params})
	if err != nil {
		s.t.Fatalf("%s: %v", kpi, err)
	}
	table := [][]string{{}}
	for _, c := range answer.GetRowSet().GetColumns() {
		table[0] = append(table[0], c.GetName())
	}
	for _, row := range answer.GetRowSet().GetRows() {
		var cells []string
		for _, name := range table[0] {
			cells = append(cells, text(row.GetFields()[name].AsInterface()))
		}
		table = append(table, cells)
	}
	return table
}

func text(cell any) string {
	if cell == nil {
		return "null"
	}
	return fmt.Sprint(cell)
}

// reference computes the KPIs by tools/reference, which shares no code with the program, in another language.
func reference(ctx context.Context, t *testing.T, landing, from, to string) map[string][][]string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is needed for the independent computation of the KPIs")
	}
	args := []string{"../tools/reference/reference.py", landing}
	if from != "" {
		args = append(args, "--from", from, "--to", to)
	}
	out, err := exec.CommandContext(ctx, python, args...).Output()
	if err != nil {
		t.Fatalf("reference: %v", err)
	}
	var found struct {
		KPIs map[string][]json.RawMessage
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	tables := map[string][][]string{}
	for name, rows := range found.KPIs {
		tables[name] = [][]string{}
		for _, row := range rows {
			tables[name] = append(tables[name], cells(t, row))
		}
	}
	return tables
}

// cells are the values of a JSON object in its order, with the digits it has.
func cells(t *testing.T, object json.RawMessage) []string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber()
	var values []string
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	for decoder.More() {
		if _, err := decoder.Token(); err != nil {
			t.Fatal(err)
		}
		var value any
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
		values = append(values, text(value))
	}
	return values
}

func TestShippedPipelineToTheCent(t *testing.T) {
	t.Parallel()
	s := setup(t, pipelines.Ecommerce, 2)
	s.generate(smallShop(7))
	s.daily()
	for _, interval := range [][2]string{{"", ""}, {"2026-01-20", "2026-02-11"}} {
		want := reference(t.Context(), t, s.path("landing"), interval[0], interval[1])
		if len(want) != 10 {
			t.Fatalf("the reference has %d KPIs, want 10", len(want))
		}
		for _, kpi := range slices.Sorted(maps.Keys(want)) {
			got := s.ask(kpi, interval[0], interval[1], nil)[1:]
			if diff := cmp.Diff(want[kpi], got); diff != "" {
				t.Errorf("%s of %v (-reference +shoplake):\n%s", kpi, interval, diff)
			}
		}
	}
}

// TestEveryPlantedFaultIsAccountedFor holds quarantine, row by row and rule by rule, against what the generator planted.
func TestEveryPlantedFaultIsAccountedFor(t *testing.T) {
	t.Parallel()
	s := setup(t, pipelines.Ecommerce, 2)
	manifest := s.generate(smallShop(11))
	run, _ := s.daily()
	var rows int
	for name, source := range manifest.Sources {
		rows += source.Rows
		want, got := map[string][]string{}, map[string][]string{}
		for _, file := range source.Files {
			for _, bad := range file.Bad {
				want[fmt.Sprintf("%s row %d", file.Path, bad.Row)] = slices.Sorted(slices.Values(bad.Rules))
			}
		}
		for token := ""; ; {
			page, err := s.rows.ListQuarantinedRows(t.Context(), &shoplakev1.ListQuarantinedRowsRequest{Parent: "sources/" + name, PageSize: 1000, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page.GetQuarantinedRows() {
				got[fmt.Sprintf("%s row %d", row.GetSourceFile(), row.GetRowNumber())] = slices.Sorted(slices.Values(row.GetRules()))
				if len(row.GetRaw()) == 0 {
					t.Errorf("%s row %d has no raw bytes", row.GetSourceFile(), row.GetRowNumber())
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("quarantine of %s (-planted +found):\n%s", name, diff)
		}
		if len(want) == 0 {
			t.Errorf("nothing was planted in %s", name)
		}
	}
	if got := run.GetCounts().GetRowsRead(); got != int64(rows) {
		t.Errorf("%d rows were read, %d were written", got, rows)
	}
}

// TestOneNewDayComputesOnlyWhatChanged drops one day after the others: what the second run builds, and that it gives what a
// full refresh of the same files gives.
func TestOneNewDayComputesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	s := setup(t, pipelines.Ecommerce, 2)
	c := smallShop(3)
	c.Days, c.Orders, c.Events = 60, 1500, 8000
	s.generate(c)
	held := s.hold("2026-03-01")
	s.daily()
	for from, to := range held {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	_, stages := s.daily()
	if n := stages["silver.user_activity"].GetPartitions(); n == 0 || n > 5 {
		t.Errorf("one day came, %d days of events were built", n)
	}
	for _, table := range []string{"bronze.inventory", "silver.inventory", "gold.fact_inventory"} {
		if state := stages[table].GetState(); state != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
			t.Errorf("no workbook came, but %s is %v: %s", table, state, stages[table].GetReason())
		}
	}
	incremental := s.everything()
	run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("full refresh: %v", run.GetError())
	}
	if diff := cmp.Diff(s.everything(), incremental); diff != "" {
		t.Errorf("incremental is not what a full refresh gives (-full +incremental):\n%s", diff)
	}
}

// hold takes files of a day out of landing; it returns from where to where each must be moved to bring it back.
func (s *shop) hold(day string) map[string]string {
	s.t.Helper()
	back := map[string]string{}
	for _, source := range []string{"orders", "user_activity"} {
		matches, err := filepath.Glob(s.path("landing", source, day+"*"))
		if err != nil || len(matches) == 0 {
			s.t.Fatalf("%s has no files of %s: %v", source, day, err)
		}
		for _, path := range matches {
			aside := filepath.Join(s.dir, source+"-"+filepath.Base(path))
			if err := os.Rename(path, aside); err != nil {
				s.t.Fatal(err)
			}
			back[aside] = path
		}
	}
	return back
}

// everything is every silver and gold table as a hash of its rows, and every KPI.
func (s *shop) everything() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	list, err := s.tables.ListTables(s.t.Context(), &shoplakev1.ListTablesRequest{PageSize: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, table := range list.GetTables() {
		if table.GetLayer() != "silver" && table.GetLayer() != "gold" {
			continue
		}
		name := table.GetName()[len("tables/"):]
		answer, err := s.tables.QueryTables(s.t.Context(), &shoplakev1.QueryTablesRequest{
			Sql: "SELECT count(*) || ' rows ' || coalesce(md5(string_agg(h, '' ORDER BY h)), '') AS hash FROM (SELECT md5(CAST(to_json(t) AS VARCHAR)) AS h FROM " + name + " AS t)",
		})
		if err != nil {
			s.t.Fatal(err)
		}
		all[name] = answer.GetRowSet().GetRows()[0].GetFields()["hash"].GetStringValue()
	}
	kpis, err := s.kpis.ListKpis(s.t.Context(), &shoplakev1.ListKpisRequest{PageSize: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, kpi := range kpis.GetKpis() {
		name := kpi.GetName()[len("kpis/"):]
		all["kpi "+name] = fmt.Sprint(s.ask(name, "", "", nil))
	}
	return all
}
