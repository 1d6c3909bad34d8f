package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/pipelines"
)

// contractHead is a contract up to its columns; each test adds those it needs.
const contractHead = `apiVersion: v3.1.0
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
    properties:
`

// columns is a folder whose only source has these columns, one a line in flow style.
func columns(lines ...string) map[string]string {
	return map[string]string{
		"contracts/sales.odcs.yaml": contractHead + "      - " + strings.Join(lines, "\n      - ") + "\n",
		"silver/sales.sql":          "", "gold/daily.sql": "", "kpis/revenue.sql": "", "checks/positive.sql": "",
	}
}

// ext writes one of Shoplake's properties.
func ext(property, value string) string {
	return "customProperties: [{property: " + property + ", value: " + value + "}]"
}

func pointer[T any](value T) *T { return &value }

func TestContractColumns(t *testing.T) {
	t.Parallel()
	day := pipeline.DateFormat{Text: "YYYY-MM-DD", Order: pipeline.OrderYMD, Separator: "-"}
	local := []pipeline.DateFormat{
		day,
		{Text: "YYYY/MM/DD", Order: pipeline.OrderYMD, Separator: "/"},
		{Text: "DD.MM.YYYY", Order: pipeline.OrderDMY, Separator: "."},
		{Text: "DD/MM/YYYY", Order: pipeline.OrderDMY, Separator: "/"},
	}
	cases := map[string]struct {
		line string
		// others are columns that the line names.
		others []string
		want   pipeline.ContractColumn
		stored string
		rules  string
	}{
		"string": {
			line: "{name: a, logicalType: string, description: A text.}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnString, Description: "A text."}, stored: "VARCHAR", rules: "type:a",
		},
		"required integer": {
			line: "{name: a, logicalType: integer, required: true, logicalTypeOptions: {minimum: 1}}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnInteger, Required: true, Min: pointer("1")}, stored: "BIGINT", rules: "required:a type:a range:a",
		},
		"decimal": {
			line: `{name: a, logicalType: number, physicalType: "decimal(18,4)", logicalTypeOptions: {minimum: 0.10, exclusiveMaximum: 1e3}}`,
			want: pipeline.ContractColumn{
				Name: "a", Type: pipeline.ColumnDecimal, Precision: 18, Scale: 4, Min: pointer("0.1"), Max: pointer("1000"),
				MaxExclusive: true, DecimalSeparator: ".",
			}, stored: "DECIMAL(18,4)", rules: "type:a range:a",
		},
		"double":  {line: "{name: a, logicalType: number, physicalType: double}", want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnDouble, DecimalSeparator: "."}, stored: "DOUBLE", rules: "type:a"},
		"boolean": {line: "{name: a, logicalType: boolean}", want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnBoolean}, stored: "BOOLEAN", rules: "type:a"},
		"object":  {line: "{name: a, logicalType: object}", want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnObject}, stored: "VARCHAR", rules: "type:a"},
		"date":    {line: `{name: a, logicalType: date, logicalTypeOptions: {minimum: "2020-01-01"}}`, want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnDate, Min: pointer("2020-01-01"), DateFormats: []pipeline.DateFormat{day}}, stored: "DATE", rules: "type:a range:a"},
		"instant": {
			line: "{name: a, logicalType: timestamp, logicalTypeOptions: {timezone: true}, " + ext("shoplakeNotAfterIngestion", "24h") + "}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnInstant, NotAfterIngestion: pointer(24 * time.Hour)}, stored: "TIMESTAMP WITH TIME ZONE", rules: "type:a future:a",
		},
		"local time": {
			line: "{name: a, logicalType: timestamp, " + ext("shoplakeDefaultFrom", "b") + "}", others: []string{"{name: b, logicalType: timestamp}"},
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnLocalTime, DefaultColumn: "b", DateFormats: local}, stored: "TIMESTAMP WITH TIME ZONE", rules: "type:a",
		},
		"enumeration": {
			line: "{name: a, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [Paid, shipped, 7]}}]}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnString, Enum: []string{"paid", "shipped", "7"}}, stored: "VARCHAR", rules: "type:a enum:a",
		},
		"code": {
			line: "{name: a, logicalType: string, logicalTypeOptions: {pattern: '^[A-Za-z]{3}$'}, " + ext("shoplakeUpperCase", "true") + "}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnString, Pattern: "^[A-Za-z]{3}$", UpperCase: true}, stored: "VARCHAR", rules: "type:a pattern:a",
		},
		"free text with codes": {
			line: "{name: a, logicalType: string, " + ext("shoplakeUpperCaseWhen", "'^[A-Za-z]{2}$'") + "}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnString, UpperCase: true, UpperCaseWhen: "^[A-Za-z]{2}$"}, stored: "VARCHAR", rules: "type:a",
		},
		"money as written": {
			line: `{name: a, logicalType: number, physicalType: "decimal(18,4)", customProperties: [{property: shoplakeThousandsSeparator, value: "."}, {property: shoplakeDecimalSeparator, value: ","}, {property: shoplakeCurrencySymbols, value: [€, CHF]}]}`,
			want: pipeline.ContractColumn{
				Name: "a", Type: pipeline.ColumnDecimal, Precision: 18, Scale: 4, ThousandsSeparator: ".", DecimalSeparator: ",", CurrencySymbols: []string{"€", "CHF"},
			}, stored: "DECIMAL(18,4)", rules: "type:a",
		},
		"conditional": {
			line:   "{name: a, logicalType: string, " + ext("shoplakeRequiredWhen", "{column: b, in: [Purchase]}") + "}",
			others: []string{"{name: b, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [purchase, view]}}]}"},
			want:   pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnString, RequiredWhen: &pipeline.RequiredWhen{Column: "b", In: []string{"purchase"}}}, stored: "VARCHAR", rules: "required:a type:a",
		},
		"upper bound": {
			line: `{name: a, logicalType: number, physicalType: "decimal(18,4)", customProperties: [{property: shoplakeDefault, value: 0.00}, {property: shoplakeMaximum, value: {expression: b * c, uses: [b, c]}}]}`,
			others: []string{
				"{name: b, logicalType: integer}", `{name: c, logicalType: number, physicalType: "decimal(18,4)"}`,
			},
			want: pipeline.ContractColumn{
				Name: "a", Type: pipeline.ColumnDecimal, Precision: 18, Scale: 4, MaxExpr: "b * c", Uses: []string{"b", "c"}, DefaultValue: pointer("0"), DecimalSeparator: ".",
			}, stored: "DECIMAL(18,4)", rules: "type:a range:a",
		},
		"not after": {
			line: "{name: a, logicalType: date, " + ext("shoplakeNotAfter", "b") + "}", others: []string{"{name: b, logicalType: date}"},
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnDate, NotAfter: "b", DateFormats: []pipeline.DateFormat{day}}, stored: "DATE", rules: "type:a range:a",
		},
		"header names": {
			line: "{name: a, physicalName: InvoiceNo, logicalType: string, classification: PII, " + ext("shoplakeAliases", "[invoice_nr, ' INVOICE Straße ']") + "}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnString, PII: true, Aliases: []string{"invoiceno", "invoice_nr", "invoice strasse"}}, stored: "VARCHAR", rules: "type:a",
		},
		"American dates": {
			line: "{name: a, logicalType: timestamp, logicalTypeOptions: {format: 'M/d/yyyy H:mm'}}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnLocalTime, DateFormats: []pipeline.DateFormat{
				{Text: "M/d/yyyy H:mm", Order: pipeline.OrderMDY, Separator: "/", Loose: true},
			}}, stored: "TIMESTAMP WITH TIME ZONE", rules: "type:a",
		},
		"several formats": {
			line: "{name: a, logicalType: date, " + ext("shoplakeDateFormats", "[dd.MM.yy, yyyyMMdd]") + "}",
			want: pipeline.ContractColumn{Name: "a", Type: pipeline.ColumnDate, DateFormats: []pipeline.DateFormat{
				{Text: "dd.MM.yy", Order: pipeline.OrderDMY, Separator: ".", ShortYear: true}, {Text: "yyyyMMdd", Order: pipeline.OrderYMD},
			}}, stored: "DATE", rules: "type:a",
		},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			p := load(t, changed(columns(append([]string{c.line}, c.others...)...)))
			got := &p.Source("sales").Contract.Columns[0]
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("column (-want +got):\n%s", diff)
			}
			if got.StoredType() != c.stored {
				t.Errorf("stored as %s, want %s", got.StoredType(), c.stored)
			}
			if rules := strings.Join(got.Rules(), " "); rules != c.rules {
				t.Errorf("rules %s, want %s", rules, c.rules)
			}
		})
	}
}

// What a contract says and Shoplake does not do is a fault, never passed over.
func TestContractFaults(t *testing.T) {
	t.Parallel()
	const other = "{name: b, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [x, y]}}]}"
	decimal := func(extension string) string {
		return `{name: a, logicalType: number, physicalType: "decimal(18,4)", ` + extension + `}`
	}
	cases := map[string]struct{ line, want string }{
		"unique":                   {"{name: a, logicalType: string, unique: true}", "unique is not checked"},
		"length":                   {"{name: a, logicalType: string, logicalTypeOptions: {maxLength: 3}}", "maxLength is not checked: use pattern"},
		"multiple":                 {"{name: a, logicalType: integer, logicalTypeOptions: {multipleOf: 3}}", "multipleOf is not checked"},
		"text format":              {"{name: a, logicalType: string, logicalTypeOptions: {format: email}}", "format is not checked: use pattern"},
		"width":                    {"{name: a, logicalType: integer, logicalTypeOptions: {format: i8}}", "integers have 64 bits"},
		"array":                    {"{name: a, logicalType: array}", "array is not read"},
		"time":                     {"{name: a, logicalType: time}", "time is not read"},
		"object of fields":         {"{name: a, logicalType: object, properties: [{name: b, logicalType: string}]}", "an object is kept as it is"},
		"bounds of a timestamp":    {"{name: a, logicalType: timestamp, logicalTypeOptions: {minimum: '2020-01-01T00:00:00Z'}}", "bounds of a timestamp are not checked"},
		"fraction as a bound":      {"{name: a, logicalType: integer, logicalTypeOptions: {minimum: 1.5}}", `"1.5" is no integer`},
		"bound of no date":         {"{name: a, logicalType: date, logicalTypeOptions: {minimum: '2020-02-30'}}", `"2020-02-30" is no date`},
		"bounds crossed":           {"{name: a, logicalType: integer, logicalTypeOptions: {minimum: 10, maximum: 9}}", "the minimum 10 is above the maximum 9"},
		"bound twice":              {"{name: a, logicalType: integer, logicalTypeOptions: {minimum: 1, exclusiveMinimum: 1}}", "has both minimum and exclusiveMinimum"},
		"pattern":                  {"{name: a, logicalType: string, logicalTypeOptions: {pattern: '(?=x)'}}", "the pattern is none (RE2)"},
		"metric":                   {"{name: a, logicalType: string, quality: [{metric: nullValues, mustBe: 0}]}", "this rule is not checked here"},
		"SQL rule":                 {"{name: a, logicalType: string, quality: [{type: sql, query: SELECT 1, mustBe: 0}]}", "this rule is not checked here"},
		"tolerance":                {"{name: a, logicalType: string, quality: [{metric: invalidValues, mustBeLessThan: 5, arguments: {validValues: [x]}}]}", "must say `mustBe: 0`"},
		"values twice":             {"{name: a, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [x, X]}}]}", "each once"},
		"values of an integer":     {"{name: a, logicalType: integer, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [1]}}]}", "only a string has validValues"},
		"unknown extension":        {"{name: a, logicalType: string, " + ext("shoplakeAlias", "[x]") + "}", `"shoplakeAlias" is not known here`},
		"extension twice":          {"{name: a, logicalType: string, customProperties: [{property: shoplakeUpperCase, value: true}, {property: shoplakeUpperCase, value: true}]}", "shoplakeUpperCase stands here twice"},
		"shape of an extension":    {"{name: a, logicalType: string, " + ext("shoplakeAliases", "x") + "}", "shoplakeAliases must be a list of texts"},
		"extension of others":      {"{name: a, logicalType: integer, " + ext("shoplakeUpperCase", "true") + "}", "says nothing about a column of type integer"},
		"upper-case enumeration":   {"{name: a, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [x]}}], " + ext("shoplakeUpperCase", "true") + "}", "stored in lower case"},
		"alias of another":         {"{name: a, logicalType: string, " + ext("shoplakeAliases", "[B]") + "}", `the header name "b" is that of column a too`},
		"condition on itself":      {"{name: a, logicalType: string, " + ext("shoplakeRequiredWhen", "{column: a, in: [x]}") + "}", "names the column itself"},
		"condition on an unknown":  {"{name: a, logicalType: string, " + ext("shoplakeRequiredWhen", "{column: c, in: [x]}") + "}", `names the unknown column "c"`},
		"condition never true":     {"{name: a, logicalType: string, " + ext("shoplakeRequiredWhen", "{column: b, in: [z]}") + "}", `"z" is no valid value of b`},
		"condition misspelt":       {"{name: a, logicalType: string, " + ext("shoplakeRequiredWhen", "{column: b, is: [x]}") + "}", "must be {column: name, in: [value, ...]}"},
		"condition and always":     {"{name: a, logicalType: string, required: true, " + ext("shoplakeRequiredWhen", "{column: b, in: [x]}") + "}", "required anyway"},
		"default of another type":  {"{name: a, logicalType: integer, " + ext("shoplakeDefault", "none") + "}", `"none" is no value of the column (integer)`},
		"default and required":     {"{name: a, logicalType: integer, required: true, " + ext("shoplakeDefault", "0") + "}", "is required and has a default"},
		"default from a text":      {"{name: a, logicalType: integer, " + ext("shoplakeDefaultFrom", "b") + "}", "takes a string for a integer"},
		"not after a text":         {"{name: a, logicalType: date, " + ext("shoplakeNotAfter", "b") + "}", "compares a date with a string"},
		"duration":                 {"{name: a, logicalType: timestamp, " + ext("shoplakeNotAfterIngestion", "1 day") + "}", `"1 day" is no duration`},
		"ambiguous dates":          {"{name: a, logicalType: date, " + ext("shoplakeDateFormats", "[dd/MM/yyyy, MM/dd/yyyy]") + "}", "could be dd/MM/yyyy or MM/dd/yyyy"},
		"loose without separators": {"{name: a, logicalType: date, " + ext("shoplakeDateFormats", "[dMyyyy]") + "}", `"dMyyyy" is no format`},
		"separators":               {decimal(ext("shoplakeThousandsSeparator", "'.'")), "is the decimal separator too"},
		"symbol":                   {decimal(ext("shoplakeCurrencySymbols", "['-']")), "could be a part of the number"},
		"expression":               {decimal(ext("shoplakeMaximum", "{expression: 'c * 2', uses: [d]}")), `names the unknown column "d"`},
		"expression of others":     {decimal(ext("shoplakeMaximum", "{expression: 'length(b) + c', uses: [b]}")), "is no expression over [b]"},
		"expression of a text":     {decimal(ext("shoplakeMaximum", "{expression: 'b', uses: [b]}")), "must be one number"},
		"expression of a query":    {decimal(ext("shoplakeMaximum", "{expression: '(SELECT count(*) FROM bronze.other)', uses: [b]}")), "must be one expression over columns"},
		"two expressions":          {decimal(ext("shoplakeMaximum", "{expression: '1) AS x, (2', uses: [b]}")), "must be one number"},
		"expression and more":      {decimal(ext("shoplakeMaximum", "{expression: '1) FROM bronze.sales; DROP TABLE x; SELECT (1', uses: [b]}")), "is no expression over [b]"},
		"column name":              {"{name: OrderID, logicalType: string}", `"OrderID" is no name of a column`},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			text := faultsOf(t, changed(columns(c.line, other)))
			if !strings.Contains(text, c.want) || strings.Contains(text, "\n") || !strings.HasPrefix(text, "contracts/sales.odcs.yaml:1") {
				t.Errorf("faults:\n%s\nwant %s", text, c.want)
			}
		})
	}
}

func TestContractFormat(t *testing.T) {
	t.Parallel()
	server := func(path, format, custom string) map[string]string {
		files := columns("{name: a, logicalType: string}")
		text := strings.Replace(files["contracts/sales.odcs.yaml"], "path: landing/sales\n    format: csv",
			"path: "+path+"\n    format: "+format+"\n    customProperties: ["+custom+"]", 1)
		files["contracts/sales.odcs.yaml"] = text
		return files
	}
	good := map[string]struct {
		files map[string]string
		glob  string
		want  pipeline.Format
	}{
		"plain": {server("landing/sales", "csv", ""), "", pipeline.Format{
			Kind: pipeline.FormatCSV, Kinds: []pipeline.FormatKind{pipeline.FormatCSV}, Delimiter: ',', Quote: '"', Encoding: pipeline.EncodingUTF8,
		}},
		"European": {server("landing/sales/*.csv", "csv", `{property: shoplakeDelimiter, value: ";"}, {property: shoplakeQuote, value: "'"}, {property: shoplakeEncoding, value: latin-1}, {property: shoplakeSkipRows, value: 3}`), "*.csv", pipeline.Format{
			Kind: pipeline.FormatCSV, Kinds: []pipeline.FormatKind{pipeline.FormatCSV}, Delimiter: ';', Quote: '\'', Encoding: pipeline.EncodingLatin1, SkipRows: 3,
		}},
		"tabs": {server("landing/sales/", "csv", `{property: shoplakeDelimiter, value: "\t"}`), "", pipeline.Format{
			Kind: pipeline.FormatCSV, Kinds: []pipeline.FormatKind{pipeline.FormatCSV}, Delimiter: '\t', Quote: '"', Encoding: pipeline.EncodingUTF8,
		}},
		"workbook or CSV": {server("landing/sales", "xlsx", `{property: shoplakeFormats, value: [csv]}, {property: shoplakeSheet, value: Online Retail}, {property: shoplakeDelimiter, value: ";"}`), "", pipeline.Format{
			Kind: pipeline.FormatXLSX, Kinds: []pipeline.FormatKind{pipeline.FormatXLSX, pipeline.FormatCSV}, Delimiter: ';', Quote: '"', Encoding: pipeline.EncodingUTF8, Sheet: "Online Retail",
		}},
		"JSON": {server("landing/sales", "json", ""), "", pipeline.Format{
			Kind: pipeline.FormatNDJSON, Kinds: []pipeline.FormatKind{pipeline.FormatNDJSON}, Delimiter: ',', Quote: '"', Encoding: pipeline.EncodingUTF8,
		}},
	}
	for name, c := range good {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			contract := load(t, changed(c.files)).Source("sales").Contract
			if diff := cmp.Diff(c.want, contract.Format); diff != "" {
				t.Errorf("format (-want +got):\n%s", diff)
			}
			if contract.Glob != c.glob {
				t.Errorf("glob %q, want %q", contract.Glob, c.glob)
			}
		})
	}
	bad := map[string]struct {
		files map[string]string
		want  string
	}{
		"folder in the pattern": {server("landing/sales/2026/*.csv", "csv", ""), "is no pattern of file names"},
		"other folder":          {server("landing/salesmen", "csv", ""), "the path of the source's files is landing/sales"},
		"way out":               {server("landing/sales/../orders", "csv", ""), "is no pattern of file names"},
		"delimiter":             {server("landing/sales", "csv", `{property: shoplakeDelimiter, value: ";;"}`), "must be one character"},
		"the same":              {server("landing/sales", "csv", `{property: shoplakeQuote, value: ","}`), "delimiter and quote must differ"},
		"encoding":              {server("landing/sales", "csv", `{property: shoplakeEncoding, value: ebcdic}`), `"ebcdic" is unknown`},
		"sheet of CSV":          {server("landing/sales", "csv", `{property: shoplakeSheet, value: x}`), "says nothing about the format csv"},
		"rows to skip":          {server("landing/sales", "csv", `{property: shoplakeSkipRows, value: -1}`), "must be between 0 and 1000"},
		"no text":               {server("landing/sales", "csv", `{property: shoplakeDelimiter, value: null}`), "must be text"},
	}
	for name, c := range bad {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if text := faultsOf(t, changed(c.files)); !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
				t.Errorf("faults:\n%s\nwant %s", text, c.want)
			}
		})
	}
}

func TestSelects(t *testing.T) {
	t.Parallel()
	c := &pipeline.Contract{Glob: "olist_orders*.csv"}
	for file, want := range map[string]bool{"olist_orders_dataset.csv": true, "2026/olist_orders.csv": true, "olist_items.csv": false} {
		if c.Selects(file) != want {
			t.Errorf("%s: %t", file, !want)
		}
	}
	if !(&pipeline.Contract{}).Selects("any/thing") {
		t.Error("without a pattern every file is the source's")
	}
}

// The hash changes with what decides which rows come out, and with nothing else.
func TestContractHash(t *testing.T) {
	t.Parallel()
	hash := func(lines ...string) string {
		return load(t, changed(columns(lines...))).Source("sales").Contract.Hash
	}
	base := hash("{name: a, logicalType: string}")
	if base != hash("{name: a, logicalType: string, description: said otherwise, classification: pii}") {
		t.Error("a description changes the hash")
	}
	if base == hash("{name: a, logicalType: string, required: true}") {
		t.Error("a rule does not change the hash")
	}
	if base == hash("{name: a, logicalType: string}", "{name: b, logicalType: string}") {
		t.Error("a column does not change the hash")
	}
}

// The shipped contracts say what the sources of the e-commerce pipeline are documented to be.
func TestEcommerceContracts(t *testing.T) {
	t.Parallel()
	p := load(t, pipelines.Ecommerce)
	describe := func(source string) string {
		c := p.Source(source).Contract
		var b strings.Builder
		for i := range c.Columns {
			column := &c.Columns[i]
			b.WriteString(column.Name + " " + string(column.Type))
			for _, rule := range column.Rules() {
				if check := strings.TrimSuffix(rule, ":"+column.Name); check != "type" {
					b.WriteString(" " + check)
				}
			}
			b.WriteString("\n")
		}
		return b.String() + "key " + strings.Join(c.Key, " ") + "\nday " + c.BusinessDay.Column + " of " + c.BusinessDay.Of
	}
	for source, want := range map[string]string{
		"orders": `order_id string required
line_number integer required range
order_time local_time required
updated_at local_time
customer_id string
customer_email string
country string
payment_method string
city string
product_id string required
quantity integer required range
unit_price decimal required range
discount decimal range
currency string required pattern
status string required enum
key order_id line_number
day order_date of order_time`,
		"inventory": `snapshot_date date required
product_id string required
sku string required
product_name string required
category string required
subcategory string
brand string
unit_cost decimal required range
list_price decimal required range
stock_on_hand integer required range
reorder_level integer required range
warehouse string required
last_restocked date range
key snapshot_date product_id warehouse
day snapshot_date of `,
		"user_activity": `event_id string required
event_time instant required future
user_id string
session_id string required
event_type string required enum
product_id string required
order_id string required
country string pattern
page_url string
referrer string
device string
search_query string
properties object
key event_id
day event_date of event_time`,
	} {
		if diff := cmp.Diff(want, describe(source)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", source, diff)
		}
	}
	if email := p.Source("orders").Contract.Column("customer_email"); !email.PII {
		t.Error("customer_email is personal data")
	}
	if names := columnNames(pipeline.BronzeColumns(p.Source("inventory").Contract)); strings.Count(names, "snapshot_date") != 1 ||
		!strings.HasSuffix(names, "last_restocked _source_file _row_number _ingested_at _run_id _contract_version _extra") {
		t.Errorf("bronze.inventory has %s", names)
	}
	if names := columnNames(pipeline.BronzeColumns(p.Source("orders").Contract)); !strings.Contains(names, " status order_date _source_file ") {
		t.Errorf("bronze.orders has %s", names)
	}
}

func columnNames(columns []pipeline.Column) string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.Name
	}
	return strings.Join(names, " ")
}
