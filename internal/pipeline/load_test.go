package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	p := load(t, changed(nil))
	if got, want := p.Tables(), []string{"bronze.sales", "silver.sales", "gold.daily"}; !cmp.Equal(got, want) {
		t.Errorf("tables %v, want %v", got, want)
	}
	if p.Name != "small" || p.Title != "small" || p.TimeZone != "Europe/Berlin" || p.Currency != "EUR" {
		t.Errorf("settings: %+v", p)
	}
	model := p.Model("silver.sales")
	want := &pipeline.Model{
		Table: "silver.sales", Description: "Sales, each once.", File: "silver/sales.sql", HeaderLines: 4, SQL: model.SQL,
		Partition: pipeline.Partition{Transform: pipeline.TransformMonth, Column: "sale_date"}, Key: []string{"sale_id"},
		Reach:  pipeline.Reach{Kind: pipeline.ReachAny, By: []string{"sale_id"}},
		Inputs: []pipeline.Input{{Table: "bronze.sales", Relation: pipeline.RelationSame, Column: "sale_date"}},
		Build:  pipeline.BuildReplace,
		Columns: []pipeline.Column{
			{Name: "sale_id", Type: "VARCHAR"}, {Name: "sale_date", Type: "DATE"}, {Name: "product_id", Type: "VARCHAR"},
			{Name: "quantity", Type: "BIGINT"}, {Name: "price", Type: "DECIMAL(18,4)"},
		},
	}
	if diff := cmp.Diff(want, model); diff != "" {
		t.Errorf("model (-want +got):\n%s", diff)
	}
	if strings.Contains(model.SQL, "-- key") || !strings.Contains(model.SQL, "FROM bronze.sales") {
		t.Errorf("the SQL is %q", model.SQL)
	}
	daily := p.Model("gold.daily")
	if diff := cmp.Diff([]pipeline.Input{{Table: "silver.sales", Relation: pipeline.RelationSame, Column: "sale_date"}}, daily.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if daily.Partition.Transform != pipeline.TransformDay {
		t.Errorf("partition %+v: a date alone is a day", daily.Partition)
	}
	kpi := p.KPI("revenue")
	least := "0.5"
	if diff := cmp.Diff([]pipeline.Param{{Name: "least", Type: pipeline.ParamDecimal, Default: &least}}, kpi.Params); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	if kpi.Columns[1].Unit != "currency" || kpi.Columns[0].Unit != "" || kpi.Columns[0].Type != pipeline.TypeDate {
		t.Errorf("columns %+v", kpi.Columns)
	}
	if check := p.ChecksOf("silver.sales")[0]; check.Name != "positive" || check.Severity != pipeline.SeverityWarn {
		t.Errorf("check %+v", check)
	}
	if got, want := p.Upstream("gold.daily"), []string{"bronze.sales", "silver.sales"}; !cmp.Equal(got, want) {
		t.Errorf("upstream %v, want %v", got, want)
	}
	if got, want := p.Downstream("bronze.sales"), []string{"silver.sales", "gold.daily"}; !cmp.Equal(got, want) {
		t.Errorf("downstream %v, want %v", got, want)
	}
	if got := p.TablesOf(&pipeline.Flow{Select: []string{"silver.*"}}); !cmp.Equal(got, []string{"bronze.sales", "silver.sales"}) {
		t.Errorf("flow %v", got)
	}
}

// Every fault has its place. A case changes the small pipeline by replacing a text of a file, or adds a file.
func TestFaults(t *testing.T) {
	t.Parallel()
	const (
		config   = "pipeline.yaml"
		contract = "contracts/sales.odcs.yaml"
		silver   = "silver/sales.sql"
		gold     = "gold/daily.sql"
		kpi      = "kpis/revenue.sql"
		check    = "checks/positive.sql"
	)
	cases := []struct {
		name, file, before, after string
		want                      []string
	}{
		// The folder.
		{"no configuration", config, small[config], "", []string{"pipeline.yaml: is missing"}},
		{"stray folder", "models/x.sql", "", "SELECT 1 AS x", []string{"models: a pipeline has no such folder"}},
		{"nested folder", "silver/more/x.sql", "", "SELECT 1 AS x", []string{"silver/more: a pipeline has no such folder"}},
		{"stray file", "orders.csv", "", "a,b", []string{"orders.csv: is no file of a pipeline"}},
		{"unknown kind", "silver/x.py", "", "print()", []string{"silver/x.py: is of an unknown kind: files in silver end in .sql"}},
		{"contract of another ending", "contracts/x.yaml", "", "a: b", []string{"contracts/x.yaml: is of an unknown kind: files in contracts end in .odcs.yaml"}},
		{"name", "silver/Sales.sql", "", "SELECT 1 AS x", []string{`silver/Sales.sql: "Sales" is no name`}},
		{"not text", "silver/x.sql", "", "SELECT '\xff' AS x", []string{"silver/x.sql: is not UTF-8 text"}},
		{"empty", "silver/x.sql", "", "-- description: none\n\n", []string{"silver/x.sql:2:1: has no SQL"}},

		// pipeline.yaml
		{"bad YAML", config, "currency: EUR", "currency: [EUR", []string{"pipeline.yaml:3: is not YAML"}},
		{"key twice", config, "currency: EUR", "currency: EUR\ncurrency: EUR", []string{"pipeline.yaml:4:1: the key currency stands here twice"}},
		{"two documents", config, "currency: EUR", "currency: EUR\n---\na: b", []string{"pipeline.yaml:4:1: is a second document"}},
		{"unknown key", config, "currency: EUR", "currency: EUR\ncolour: red", []string{`pipeline.yaml:4:1: unknown key "colour"`}},
		{"missing key", config, "name: small\n", "", []string{"pipeline.yaml:1:1: name is missing"}},
		{"number for a text", config, "name: small", "name: 3", []string{"pipeline.yaml:1:7: name must be text"}},
		{"time zone", config, "Europe/Berlin", "Europe/Atlantis", []string{`pipeline.yaml:2:12: "Europe/Atlantis" is no time zone`}},
		{"local time zone", config, "Europe/Berlin", "Local", []string{`pipeline.yaml:2:12: "Local" is no time zone`}},
		{"currency", config, "EUR", "EURO", []string{`pipeline.yaml:3:11: "EURO" is no currency`}},
		{"lower-case currency", config, "EUR", "eur", []string{`pipeline.yaml:3:11: "eur" is no currency`}},
		{"flow of nothing", config, `["*"]`, `["*", platinum.*]`, []string{`pipeline.yaml:6:19: flow daily: "platinum.*" selects no table`}},
		{"flow without a list", config, `["*"]`, `[]`, []string{`pipeline.yaml:6:13: flow daily selects nothing`}},
		{"bad pattern", config, `["*"]`, `["[a"]`, []string{`pipeline.yaml:6:14: "[a" is no pattern`}},
		{"flow name", config, "daily:", "Daily:", []string{`pipeline.yaml:5:3: "Daily" is no name of a flow`}},
		{"unknown key in flow", config, `select: ["*"]`, "select: [\"*\"]\n    cron: x", []string{`pipeline.yaml:7:5: unknown key "cron"`}},

		{"maintenance and select", config, `select: ["*"]`, "select: [\"*\"]\n    maintenance: {}", []string{`pipeline.yaml:6:13: flow daily has select and maintenance`}},
		{"maintenance that is no mapping", config, `select: ["*"]`, "maintenance: yes", []string{`pipeline.yaml:6:18: maintenance is a mapping`}},
		{"unknown key in maintenance", config, `select: ["*"]`, "maintenance:\n      keep: 3", []string{`pipeline.yaml:7:7: unknown key "keep": known are tables, keep_snapshots`}},
		{"maintenance of nothing", config, `select: ["*"]`, "maintenance:\n      tables: [ops.*, platinum.*]", []string{`pipeline.yaml:7:23: flow daily: "platinum.*" selects no table`}},
		{"maintenance of a text", config, `select: ["*"]`, "maintenance: {tables: ops}", []string{`pipeline.yaml:6:27: tables is a list of tables`}},
		{"ages and sizes", config, `select: ["*"]`, "maintenance:\n      keep_snapshots: 7 days\n      keep_last: -1\n      target_file_size: 0\n      keep_orphans: [1h]",
			[]string{`pipeline.yaml:7:23: "7 days" is no duration such as 7d`, `pipeline.yaml:8:18: "-1" is no number of snapshots`, `pipeline.yaml:9:25: "0" is no size of a file such as 128MiB`, `pipeline.yaml:10:21: "" is no duration`}},

		// Headers.
		{"unknown key in header", silver, "-- key:", "-- keys:", []string{`silver/sales.sql:3:4: unknown key "keys" in the header`, "silver/sales.sql:4:11: no column of the key is in bronze.sales"}},
		{"no header line", silver, "-- reach: any", "-- latest wins", []string{"silver/sales.sql:4:1: is no header line"}},
		{"key twice in header", silver, "-- reach: any", "-- key: sale_id\n-- reach: any", []string{"silver/sales.sql:4:4: key stands in the header twice"}},
		{"key without value", silver, "-- key: sale_id", "-- key:", []string{"silver/sales.sql:3:4: key has no value", "silver/sales.sql:4:11: no column"}},
		{"bad partition", silver, "month(sale_date)", "month sale_date", []string{"silver/sales.sql:2:15: partition is a column, or month(column)"}},
		{"unknown partition", silver, "month(sale_date)", "year(sale_date)", []string{"silver/sales.sql:2:15: unknown partition year(...)"}},
		{"partition column", silver, "month(sale_date)", "month(sold_on)", []string{"silver/sales.sql:2:15: partition column sold_on is not in the output: it has sale_id, sale_date"}},
		{"month of a text", silver, "month(sale_date)", "month(sale_id)", []string{"silver/sales.sql:2:15: partition column sale_id is VARCHAR: only a DATE has a month"}},
		{"partition that no input tells", gold, "-- key: sale_date", "-- input silver.sales: all", []string{"gold/daily.sql:1:15: no input tells which partitions gold.daily has"}},
		{"partition by decimal", silver, "month(sale_date)", "price", []string{"silver/sales.sql:2:15: partition column price is DECIMAL(18,4)"}},
		{"key column", silver, "-- key: sale_id", "-- key: sale_id, line", []string{"silver/sales.sql:3:9: key column line is not in the output"}},
		{"bad reach", silver, "any", "far", []string{"silver/sales.sql:4:11: reach is none, any or a number of days"}},
		{"reach column", silver, "any", "3 days by sale_id, customer_id", []string{"silver/sales.sql:4:11: reach column customer_id is not in the input bronze.sales"}},
		{"reach too far", silver, "any", "100000 days", []string{"silver/sales.sql:4:11: reach is between 1 and 3660 days"}},
		{"reach of one partition", silver, "-- partition: month(sale_date)\n", "", []string{"silver/sales.sql:3:11: reach says how far a change goes beyond its partition"}},
		{"unknown relation", silver, "-- reach: any", "-- input bronze.sales: near", []string{"silver/sales.sql:4:24: an input is same, asof, all or lookup"}},
		{"input not read", silver, "-- reach: any", "-- input bronze.other: all", []string{"silver/sales.sql:4:4: input bronze.other: the SELECT does not read this table"}},
		{"asof column", silver, "-- reach: any", "-- input bronze.sales: asof(day)", []string{"silver/sales.sql:4:24: input bronze.sales: asof column day is not in it"}},
		{"asof of a text", silver, "-- reach: any", "-- input bronze.sales: asof(sale_id)", []string{"silver/sales.sql:4:24: input bronze.sales: asof column sale_id is VARCHAR, not DATE"}},
		{"column of all", silver, "-- reach: any", "-- input bronze.sales: all(sale_date)", []string{"silver/sales.sql:4:24: all has no column"}},
		{"build", silver, "-- reach: any", "-- build: merge", []string{"silver/sales.sql:4:11: build is replace or append"}},
		{"append without key", gold, "-- key: sale_date", "-- build: append", []string{"gold/daily.sql:2:4: a table that only grows needs a key"}},

		// SQL.
		{"syntax", silver, "FROM bronze.sales", "FORM bronze.sales", []string{"silver/sales.sql:7:6: syntax error"}},
		{"two statements", silver, "SELECT sale_id", "SELECT 1; SELECT sale_id", []string{"silver/sales.sql:5: there are 2 statements"}},
		{"not a SELECT", "silver/x.sql", "", "-- description: x\nDROP TABLE silver.sales", []string{"silver/x.sql:2"}},
		{"reads a file", "silver/x.sql", "", "SELECT * FROM read_csv('/etc/passwd')", []string{"silver/x.sql:1:15: "}},
		{"unknown column", silver, "product_id, quantity", "product, quantity", []string{"silver/sales.sql:6:28: "}},
		{"unknown bronze table", silver, "FROM bronze.sales", "FROM bronze.sale", []string{"silver/sales.sql:7:6: unknown table bronze.sale: there is no contracts/sale.odcs.yaml"}},
		{"unknown silver table", gold, "FROM silver.sales", "FROM silver.sale", []string{"gold/daily.sql:4:6: unknown table silver.sale: there is no silver/sale.sql"}},
		{"table of no layer", gold, "FROM silver.sales", "FROM sales", []string{"gold/daily.sql:4:6: "}},
		{"circle of one", silver, "FROM bronze.sales", "FROM silver.sales", []string{"silver/sales.sql:7:6: tables depend on each other: silver.sales -> silver.sales"}},
		{"circle of two", silver, "FROM bronze.sales", "FROM bronze.sales, gold.daily", []string{"gold/daily.sql:4:6: tables depend on each other: gold.daily -> silver.sales -> gold.daily"}},
		{"parameter in a table", silver, "FROM bronze.sales", "FROM bronze.sales WHERE sale_date > $from", []string{"silver/sales.sql:7:37: undeclared parameter $from: a table has no parameters"}},
		{"nested type", gold, "sum(quantity)::BIGINT", "{'a': 1}", []string{"gold/daily.sql:3: column quantity is STRUCT"}},
		{"column twice", gold, "AS revenue", "AS quantity", []string{"gold/daily.sql:3: the SELECT yields two columns named quantity"}},
		{"column without a name", gold, " AS revenue", "", []string{"gold/daily.sql:3: the SELECT yields a column named \"sum((quantity * price))\""}},

		// KPIs.
		{"undeclared parameter", kpi, "$least", "$most", []string{"kpis/revenue.sql:3:4: parameter least is not used", "kpis/revenue.sql:7:18: undeclared parameter $most"}},
		{"type of a parameter", kpi, "decimal = 0.5", "money = 0.5", []string{`kpis/revenue.sql:3:17: unknown type "money" of a parameter`, "kpis/revenue.sql:7:18: undeclared"}},
		{"default of a parameter", kpi, "decimal = 0.5", "decimal = half", []string{`kpis/revenue.sql:3:17: the default of least "half" is no decimal number`}},
		{"declared from", kpi, "-- chart: line", "-- param from: date", []string{"kpis/revenue.sql:2:4: every KPI has the parameter $from"}},
		{"chart", kpi, "line", "pie", []string{`kpis/revenue.sql:2:11: unknown chart "pie"`}},
		{"unit", kpi, "unit revenue", "unit profit", []string{"kpis/revenue.sql:4:4: unit: column profit is not in the output"}},
		{"silver in a KPI", kpi, "FROM gold.daily", "FROM silver.sales", []string{"kpis/revenue.sql:6:6: a KPI reads gold tables, not silver.sales"}},

		// Checks.
		{"check of an unknown table", check, "-- table: silver.sales", "-- table: silver.sale", []string{`checks/positive.sql:1:11: unknown table "silver.sale"`}},
		{"check of no table", check, "-- table: silver.sales\n", "", []string{"checks/positive.sql:1:1: does not say which table it checks"}},
		{"check of another table", check, "-- table: silver.sales", "-- table: gold.daily", []string{"checks/positive.sql:1:11: the SELECT does not read gold.daily"}},
		{"check of the future", check, "WHERE price < 0", "WHERE sale_date NOT IN (SELECT sale_date FROM gold.daily)", []string{"checks/positive.sql:3:74: the check of silver.sales may not read gold.daily"}},
		{"severity", check, "warn", "fatal", []string{`checks/positive.sql:2:14: severity is error or warn, not "fatal"`}},

		// Contracts: the place is that of the value.
		{"contract not YAML", contract, "kind: DataContract", "kind: \"DataContract", []string{"contracts/sales.odcs.yaml:"}},
		{"unknown key in contract", contract, "status: active", "status: active\nstate: x", []string{`contracts/sales.odcs.yaml:6:1: the document: the standard has no key "state" here`}},
		{"missing key in contract", contract, "status: active\n", "", []string{"contracts/sales.odcs.yaml:1:1: the document: status is missing"}},
		{"version of the standard", contract, "v3.1.0", "v2.2.2", []string{"contracts/sales.odcs.yaml:1:13: apiVersion: value must be 'v3.1.0'"}},
		{"logical type", contract, "quantity, logicalType: integer", "quantity, logicalType: int", []string{"contracts/sales.odcs.yaml:19:39: schema.0.properties.3.logicalType: value must be one of"}},
		{"option of another type", contract, "logicalTypeOptions: {timezone: false}", "logicalTypeOptions: {pattern: x}", []string{`contracts/sales.odcs.yaml:17:86: schema.0.properties.1.logicalTypeOptions: the standard has no key "pattern" here`}},
		{"number without digits", contract, `, physicalType: "decimal(18,4)"`, "", []string{"contracts/sales.odcs.yaml:20:9: column price: a number needs the physicalType decimal(18,4)"}},
		{"too many digits", contract, "decimal(18,4)", "decimal(39,4)", []string{"contracts/sales.odcs.yaml:20:58: column price: a decimal has 1 to 38 digits"}},
		{"schema name", contract, "- name: sales\n", "- name: sale\n", []string{`contracts/sales.odcs.yaml:12:11: schema name "sale" is not that of the file: name it sales`}},
		{"business day", contract, "of: sold_at", "of: sale_id", []string{`contracts/sales.odcs.yaml:14:48: shoplakeBusinessDay is the day of a timestamp, which "sale_id" is not`}},
		{"landing folder", contract, "path: landing/sales", "path: landing/sale", []string{"contracts/sales.odcs.yaml:9:11: the path of the source's files is landing/sales"}},
		{"format", contract, "format: csv", "format: xml", []string{`contracts/sales.odcs.yaml:10:13: unknown format "xml"`}},
		{"column twice in contract", contract, "name: quantity", "name: product_id", []string{"contracts/sales.odcs.yaml:19:16: column product_id stands here twice"}},
		{"key not required", contract, "required: true, primaryKey: true", "primaryKey: true", []string{"contracts/sales.odcs.yaml:16:58: column sale_id is part of the key and must be required"}},
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			files := map[string]string{c.file: c.after}
			if c.before != "" {
				files = edited(t, c.file, c.before, c.after)
			}
			lines := strings.Split(faultsOf(t, changed(files)), "\n")
			matched := len(lines) == len(c.want)
			for i := 0; matched && i < len(lines); i++ {
				matched = strings.HasPrefix(lines[i], c.want[i])
			}
			if !matched {
				t.Errorf("faults:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// All faults come at once, ordered by place, and one does not bring others with it.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	folder := changed(map[string]string{
		"pipeline.yaml":             strings.Replace(small["pipeline.yaml"], "EUR", "XYZ1", 1),
		"contracts/sales.odcs.yaml": strings.Replace(small["contracts/sales.odcs.yaml"], "decimal(18,4)", "money", 1),
		"silver/more.sql":           "-- color: red\nSELECT 1 AS one; SELECT 2",
		"kpis/revenue.sql":          strings.Replace(small["kpis/revenue.sql"], "line", "pie", 1),
		"checks/lost.sql":           "-- table: gold.none\nSELECT 1 AS one",
	})
	text := faultsOf(t, folder)
	var places []string
	for _, line := range strings.Split(text, "\n") {
		places = append(places, line[:strings.Index(line, ": ")])
	}
	want := []string{"checks/lost.sql:1:11", "contracts/sales.odcs.yaml:20:58", "kpis/revenue.sql:2:11", "pipeline.yaml:3:11", "silver/more.sql:1:4"}
	if len(places) != 6 || !cmp.Equal(places[:5], want) || !strings.HasPrefix(places[5], "silver/more.sql:2") {
		t.Errorf("faults:\n%s", text)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	t.Run("large file", func(t *testing.T) {
		t.Parallel()
		text := faultsOf(t, changed(map[string]string{"README.md": strings.Repeat("x", pipeline.MaxFileBytes+1)}))
		if text != "README.md: is larger than 1 MiB" {
			t.Error(text)
		}
		load(t, changed(map[string]string{"README.md": strings.Repeat("x", pipeline.MaxFileBytes)}))
	})
	t.Run("many files", func(t *testing.T) {
		t.Parallel()
		files := map[string]string{}
		for i := range pipeline.MaxFiles {
			files[fmt.Sprintf("silver/n%d.md", i)] = "x"
		}
		if text := faultsOf(t, changed(files)); !strings.Contains(text, "the folder has more than 2000 files") {
			t.Error(text)
		}
	})
	t.Run("much in all", func(t *testing.T) {
		t.Parallel()
		files := map[string]string{}
		for i := range 17 {
			files[fmt.Sprintf("n%d.md", i)] = strings.Repeat("x", pipeline.MaxFileBytes)
		}
		if text := faultsOf(t, changed(files)); !strings.Contains(text, "larger than 16 MiB together") {
			t.Error(text)
		}
	})
	t.Run("alias bomb", func(t *testing.T) {
		t.Parallel()
		var bomb strings.Builder
		bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
		for i := range 12 {
			fmt.Fprintf(&bomb, "a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
		}
		if text := faultsOf(t, changed(map[string]string{"pipeline.yaml": bomb.String()})); !strings.Contains(text, "more than 100000 values, those of aliases counted") {
			t.Error(text)
		}
	})
	t.Run("deep nesting", func(t *testing.T) {
		t.Parallel()
		deep := "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
		if text := faultsOf(t, changed(map[string]string{"pipeline.yaml": deep})); !strings.Contains(text, "is nested deeper than 64 levels") {
			t.Error(text)
		}
	})
}

func TestHiddenFilesAreNoPart(t *testing.T) {
	t.Parallel()
	plain := load(t, changed(nil))
	hidden := load(t, changed(map[string]string{".git/config": "x", "silver/.sales.sql.swp": "x", ".DS_Store": "x"}))
	if plain.Digest != hidden.Digest {
		t.Error("hidden files change the digest")
	}
	other := load(t, changed(map[string]string{"README.md": "x"}))
	if plain.Digest == other.Digest || len(other.Files) != len(plain.Files)+1 {
		t.Error("texts are part of the pipeline")
	}
}

func TestDigestTellsPathFromContent(t *testing.T) {
	t.Parallel()
	a := pipeline.Digest(map[string][]byte{"ab": []byte("c")})
	b := pipeline.Digest(map[string][]byte{"a": []byte("bc")})
	c := pipeline.Digest(map[string][]byte{"ab": []byte("c"), "d": nil})
	if a == b || a == c || len(a) != 64 {
		t.Errorf("%s %s %s", a, b, c)
	}
}

// failing is an engine that cannot be asked.
type failing struct{}

var errBroken = errors.New("the engine is gone")

func (failing) Parse(context.Context, string) (*pipeline.ParsedSQL, error) { return nil, errBroken }

func (failing) Describe(context.Context, string, map[string][]pipeline.Column, map[string]string) ([]pipeline.Column, error) {
	return nil, errBroken
}

func TestEngineErrorIsNoFault(t *testing.T) {
	t.Parallel()
	_, err := pipeline.Load(t.Context(), changed(nil), failing{})
	var faults pipeline.Faults
	if !errors.Is(err, errBroken) || errors.As(err, &faults) {
		t.Errorf("got %v", err)
	}
}

func TestCancelledLoad(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pipeline.Load(ctx, fstest.MapFS{"pipeline.yaml": {}}, binder(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
