package e2e

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const dayKPI = `-- title: Day
-- chart: line
-- unit revenue: currency
SELECT day, revenue FROM gold.daily_sales
WHERE ($from IS NULL OR day >= $from) AND ($to IS NULL OR day < $to)
ORDER BY day
`

// TestPageAsksForMore checks what the API has for the page: ranges compared, parts of a range, moving averages, what each
// run read, and what it takes to show a quarantined row.
func TestPageAsksForMore(t *testing.T) {
	t.Parallel()
	pipeline := inMemory(t, os.DirFS("testdata/tiny"))
	pipeline["kpis/day.sql"] = &fstest.MapFile{Data: []byte(dayKPI)}
	s := setup(t, pipeline, 1)
	s.drop("sales", "2026/01.csv", "Amount,sale_id,sale_date,version\n10,a,2026-01-05,1\n30,b,2026-01-06,1\n-1,bad,2026-01-06,1\n-2,worse,,1\n")
	first, _ := s.daily()
	s.drop("sales", "2026/02.csv", "sale_id,sale_date,version,amount\nc,2026-01-07,1,5\n")
	second, _ := s.daily()

	t.Run("KPI", s.comparedKPI)
	t.Run("ingests", func(t *testing.T) {
		answer, err := s.sources.ListIngests(t.Context(), &shoplakev1.ListIngestsRequest{Parent: "sources/-", PageSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		rest, err := s.sources.ListIngests(t.Context(), &shoplakev1.ListIngestsRequest{Parent: "sources/-", PageSize: 1, PageToken: answer.GetNextPageToken()})
		if err != nil {
			t.Fatal(err)
		}
		if rest.GetNextPageToken() != "" {
			t.Error("two runs read something, but there is a third page")
		}
		got := [][5]any{}
		for _, i := range slices.Concat(answer.GetIngests(), rest.GetIngests()) {
			got = append(got, [5]any{i.GetRun(), i.GetFiles(), i.GetRowsRead(), i.GetRowsBronze(), i.GetRowsQuarantined()})
		}
		want := [][5]any{{second.GetName(), int32(1), int64(1), int64(1), int64(0)}, {first.GetName(), int32(1), int64(4), int64(2), int64(2)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("run, files, rows read, bronze, quarantined (-want +got):\n%s", diff)
		}
	})
	t.Run("quarantine", func(t *testing.T) {
		summary, err := s.rows.SummarizeQuarantine(t.Context(), &shoplakev1.SummarizeQuarantineRequest{Parent: "sources/sales"})
		if err != nil {
			t.Fatal(err)
		}
		columns := map[string]int64{}
		for _, c := range summary.GetColumns() {
			columns[c.GetColumn()] = c.GetRows()
		}
		if diff := cmp.Diff(map[string]int64{"amount": 2, "sale_date": 1}, columns); diff != "" {
			t.Errorf("rows by column (-want +got):\n%s", diff)
		}
		listed, err := s.rows.ListQuarantinedRows(t.Context(), &shoplakev1.ListQuarantinedRowsRequest{Parent: "sources/sales"})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range listed.GetQuarantinedRows() {
			if diff := cmp.Diff([]string{"amount", "sale_id", "sale_date", "version"}, row.GetColumns()); diff != "" {
				t.Errorf("the columns of a listed row are those of its file (-want +got):\n%s", diff)
			}
		}
		row, err := s.rows.GetQuarantinedRow(t.Context(), &shoplakev1.GetQuarantinedRowRequest{Name: listed.GetQuarantinedRows()[0].GetName()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"amount", "sale_id", "sale_date", "version"}, row.GetColumns()); diff != "" {
			t.Errorf("the columns are those of the file, in its order (-want +got):\n%s", diff)
		}
		if err := os.Remove(s.path("landing", "sales", "2026", "01.csv")); err != nil {
			t.Fatal(err)
		}
		row, err = s.rows.GetQuarantinedRow(t.Context(), &shoplakev1.GetQuarantinedRowRequest{Name: row.GetName()})
		if err != nil || len(row.GetColumns()) != 0 {
			t.Errorf("the file is gone, its columns are %v (%v), want none", row.GetColumns(), err)
		}
	})
}

func (s *shop) comparedKPI(t *testing.T) {
	ctx := t.Context()
	listed, err := s.kpis.ListKpis(ctx, &shoplakev1.ListKpisRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if listed.GetFirstDate() != "2026-01-05" || listed.GetLastDate() != "2026-01-07" {
		t.Errorf("there are days from %s to %s, want 2026-01-05 to 2026-01-07", listed.GetFirstDate(), listed.GetLastDate())
	}
	ask := func(r *shoplakev1.QueryKpiRequest) *shoplakev1.QueryKpiResponse {
		t.Helper()
		answer, err := s.kpis.QueryKpi(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	revenue := &shoplakev1.QueryKpiRequest{
		Name: "kpis/revenue", StartDate: "2026-01-06", EndDate: "2026-01-08", CompareStartDate: "2026-01-05", CompareEndDate: "2026-01-06", TrendPoints: 2,
	}
	answer := ask(revenue)
	if got := answer.GetChanges()[0].AsMap(); got["revenue"] != "2.500000" || got["sales"] != "1.000000" {
		t.Errorf("from 10 to 35, and from 1 sale to 2: the changes are %v, want 2.5 and 1", got)
	}
	before := ask(&shoplakev1.QueryKpiRequest{Name: "kpis/revenue", StartDate: "2026-01-05", EndDate: "2026-01-06"})
	if diff := cmp.Diff(before.GetRowSet().GetRows()[0].AsMap(), answer.GetCompared().GetRows()[0].AsMap()); diff != "" {
		t.Errorf("the range compared with is another one than asked alone (-alone +compared):\n%s", diff)
	}
	var parts []any
	for _, p := range answer.GetTrend() {
		parts = append(parts, p.GetStartDate(), p.GetRowSet().GetRows()[0].AsMap()["revenue"])
	}
	if diff := cmp.Diff([]any{"2026-01-06", "30.0000", "2026-01-07", "5.0000"}, parts); diff != "" {
		t.Errorf("parts of the range (-want +got):\n%s", diff)
	}
	if again := ask(revenue); !proto.Equal(again, answer) {
		t.Error("the same question has another answer, though nothing was published")
	}
	day := ask(&shoplakev1.QueryKpiRequest{Name: "kpis/day", AverageRows: 2})
	var means []any
	for _, m := range day.GetAverages() {
		means = append(means, m.AsMap()["revenue"])
	}
	if diff := cmp.Diff([]any{nil, "20.000000", "17.500000"}, means); diff != "" {
		t.Errorf("mean of each day and the one before (-want +got):\n%s", diff)
	}
}
