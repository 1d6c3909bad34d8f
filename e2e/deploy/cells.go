//go:build unix

package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// perRun are the columns that say when and by which run a row came: they differ between two shops with the same data.
var perRun = []string{"_run_id", "_ingested_at", "run_id", "ingested_at"}

// latest is what counts of a table that keeps what was before: of a file that was read twice, its latest fate.
var latest = map[string]string{"ops.ingested": " QUALIFY row_number() OVER (PARTITION BY source, path ORDER BY ingested_at DESC) = 1"}

// Cells is every cell that readers see: the rows of each table of all layers, sorted, and the answer of each KPI.
func Cells(ctx context.Context, conn grpc.ClientConnInterface) (map[string][]string, error) {
	tables, kpis := shoplakev1.NewTableServiceClient(conn), shoplakev1.NewKpiServiceClient(conn)
	list, err := tables.ListTables(ctx, &shoplakev1.ListTablesRequest{PageSize: 1000})
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, table := range list.GetTables() {
		if table.GetName() == "tables/"+pipeline.RunsTable {
			continue // what was run is no data of the shop
		}
		var columns []string
		for _, c := range table.GetColumns() {
			if !slices.Contains(perRun, c.GetName()) {
				columns = append(columns, `"`+c.GetName()+`"`)
			}
		}
		name := strings.TrimPrefix(table.GetName(), "tables/")
		answer, err := tables.QueryTables(ctx, &shoplakev1.QueryTablesRequest{PageSize: 10_000,
			Sql: "SELECT CAST(to_json(cells) AS VARCHAR) AS line FROM (SELECT " + strings.Join(columns, ", ") + " FROM " + name + latest[name] + ") AS cells ORDER BY line"})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if answer.GetTruncated() {
			return nil, fmt.Errorf("%s has too many rows to compare", name)
		}
		all[name] = []string{}
		for _, row := range answer.GetRowSet().GetRows() {
			all[name] = append(all[name], row.GetFields()["line"].GetStringValue())
		}
	}
	answers, err := kpis.ListKpis(ctx, &shoplakev1.ListKpisRequest{PageSize: 1000})
	if err != nil {
		return nil, err
	}
	for _, kpi := range answers.GetKpis() {
		answer, err := kpis.QueryKpi(ctx, &shoplakev1.QueryKpiRequest{Name: kpi.GetName()})
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", kpi.GetName(), err)
		}
		name := "kpi " + strings.TrimPrefix(kpi.GetName(), "kpis/")
		for _, row := range Rows(answer.GetRowSet()) {
			all[name] = append(all[name], strings.Join(row, "|"))
		}
	}
	return all, nil
}

// Rows are the cells of an answer as text, in the order of its columns.
func Rows(set *shoplakev1.RowSet) [][]string {
	var rows [][]string
	for _, row := range set.GetRows() {
		var cells []string
		for _, column := range set.GetColumns() {
			cells = append(cells, fmt.Sprint(row.GetFields()[column.GetName()].AsInterface()))
		}
		rows = append(rows, cells)
	}
	return rows
}

// Differences tells where cells are not as wanted, the first row of each table or KPI; nothing where they are.
func Differences(got, want map[string][]string) []string {
	var found []string
	if names, all := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(names, all) {
		found = append(found, fmt.Sprintf("there are %v, want %v", names, all))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		lines := want[name]
		if slices.Equal(got[name], lines) {
			continue
		}
		found = append(found, fmt.Sprintf("%s has %d rows, want %d", name, len(got[name]), len(lines)))
		for i := range max(len(got[name]), len(lines)) {
			if i >= len(lines) || i >= len(got[name]) || got[name][i] != lines[i] {
				found = append(found, fmt.Sprintf("%s, row %d:\n got %v\nwant %v", name, i, at(got[name], i), at(lines, i)))
				break
			}
		}
	}
	return found
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}
