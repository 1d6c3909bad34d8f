package pipeline_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

var sharedBinder = sync.OnceValues(func() (pipeline.Engine, error) {
	return engine.NewBinder(context.Background())
})

// binder is the engine that the program loads pipelines with.
func binder(t testing.TB) pipeline.Engine {
	t.Helper()
	b, err := sharedBinder()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// small is a pipeline without faults, to be changed by tests.
var small = map[string]string{
	"pipeline.yaml": `name: small
time_zone: Europe/Berlin
currency: EUR
flows:
  daily:
    select: ["*"]
`,
	"contracts/sales.odcs.yaml": `apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
servers:
  - server: landing
    type: local
    path: landing/sales
    format: csv
schema:
  - name: sales
    customProperties:
      - {property: shoplakeBusinessDay, value: {column: sale_date, of: sold_at}}
    properties:
      - {name: sale_id, logicalType: string, required: true, primaryKey: true}
      - {name: sold_at, logicalType: timestamp, required: true, logicalTypeOptions: {timezone: false}}
      - {name: product_id, logicalType: string}
      - {name: quantity, logicalType: integer}
      - {name: price, logicalType: number, physicalType: "decimal(18,4)"}
`,
	"silver/sales.sql": `-- description: Sales, each once.
-- partition: month(sale_date)
-- key: sale_id
-- reach: any

SELECT sale_id, sale_date, product_id, quantity, price
FROM bronze.sales
QUALIFY row_number() OVER (PARTITION BY sale_id ORDER BY sold_at DESC) = 1
`,
	"gold/daily.sql": `-- partition: sale_date
-- key: sale_date
SELECT sale_date, sum(quantity)::BIGINT AS quantity, sum(quantity * price) AS revenue
FROM silver.sales
GROUP BY sale_date
`,
	"kpis/revenue.sql": `-- title: Revenue
-- chart: line
-- param least: decimal = 0.5
-- unit revenue: currency
SELECT sale_date, revenue
FROM gold.daily
WHERE revenue >= $least AND sale_date >= $from
`,
	"checks/positive.sql": `-- table: silver.sales
-- severity: warn
SELECT * FROM silver.sales WHERE price < 0
`,
}

// changed is the small pipeline with other files; an empty text removes a file.
func changed(files map[string]string) fs.FS {
	all := maps.Clone(small)
	maps.Copy(all, files)
	folder := fstest.MapFS{}
	for name, text := range all {
		if text != "" {
			folder[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return folder
}

// edited is the small pipeline with a text in one file replaced.
func edited(t testing.TB, file, before, after string) map[string]string {
	t.Helper()
	if strings.Count(small[file], before) != 1 {
		t.Fatalf("%q stands %d times in %s", before, strings.Count(small[file], before), file)
	}
	return map[string]string{file: strings.Replace(small[file], before, after, 1)}
}

func load(t testing.TB, folder fs.FS) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Load(t.Context(), folder, binder(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// faultsOf returns the faults of a folder, one line each.
func faultsOf(t testing.TB, folder fs.FS) string {
	t.Helper()
	_, err := pipeline.Load(t.Context(), folder, binder(t))
	if err == nil {
		t.Fatal("the folder has no faults")
	}
	var faults pipeline.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("not faults: %v", err)
	}
	return faults.Text()
}
