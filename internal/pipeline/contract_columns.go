package pipeline

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"
)

// Extensions of a property.
const (
	extAliases            = "shoplakeAliases"            // [product_lenght]: other header names
	extRequiredWhen       = "shoplakeRequiredWhen"       // {column: event_type, in: [purchase]}
	extMaximum            = "shoplakeMaximum"            // {expression: "quantity * unit_price", uses: [quantity, unit_price]}
	extNotAfter           = "shoplakeNotAfter"           // snapshot_date
	extNotAfterIngestion  = "shoplakeNotAfterIngestion"  // 24h
	extDefault            = "shoplakeDefault"            // 0
	extDefaultFrom        = "shoplakeDefaultFrom"        // order_time
	extUpperCase          = "shoplakeUpperCase"          // true
	extUpperCaseWhen      = "shoplakeUpperCaseWhen"      // "^[A-Za-z]{2}$"
	extThousandsSeparator = "shoplakeThousandsSeparator" // ","
	extDecimalSeparator   = "shoplakeDecimalSeparator"   // ","
	extCurrencySymbols    = "shoplakeCurrencySymbols"    // ["$", "€"]
	extDateFormats        = "shoplakeDateFormats"        // [dd.MM.yyyy, M/d/yyyy]
)

var columnExtensions = []string{
	extAliases, extRequiredWhen, extMaximum, extNotAfter, extNotAfterIngestion, extDefault, extDefaultFrom, extUpperCase,
	extUpperCaseWhen, extThousandsSeparator, extDecimalSeparator, extCurrencySymbols, extDateFormats,
}

type (
	odcsProperty struct {
		Name               string          `json:"name"`
		PhysicalName       string          `json:"physicalName"`
		PhysicalType       string          `json:"physicalType"`
		LogicalType        string          `json:"logicalType"`
		Options            odcsOptions     `json:"logicalTypeOptions"`
		Description        string          `json:"description"`
		Required           bool            `json:"required"`
		Unique             bool            `json:"unique"`
		PrimaryKey         bool            `json:"primaryKey"`
		PrimaryKeyPosition int             `json:"primaryKeyPosition"`
		Classification     string          `json:"classification"`
		Properties         []any           `json:"properties"`
		Items              map[string]any  `json:"items"`
		Quality            []odcsQuality   `json:"quality"`
		CustomProperties   []odcsExtension `json:"customProperties"`
	}
	// Bounds are numbers or texts, by the logical type.
	odcsOptions struct {
		Minimum          any    `json:"minimum"`
		Maximum          any    `json:"maximum"`
		ExclusiveMinimum any    `json:"exclusiveMinimum"`
		ExclusiveMaximum any    `json:"exclusiveMaximum"`
		Pattern          string `json:"pattern"`
		Format           string `json:"format"`
		Timezone         bool   `json:"timezone"`
		DefaultTimezone  string `json:"defaultTimezone"`
		// What Shoplake does not check is refused rather than passed over.
		MinLength     any `json:"minLength"`
		MaxLength     any `json:"maxLength"`
		MultipleOf    any `json:"multipleOf"`
		MinProperties any `json:"minProperties"`
		MaxProperties any `json:"maxProperties"`
		Required      any `json:"required"`
	}
	odcsQuality struct {
		Type      string `json:"type"`
		Metric    string `json:"metric"`
		Arguments struct {
			ValidValues []any  `json:"validValues"`
			Pattern     string `json:"pattern"`
		} `json:"arguments"`
		MustBe any `json:"mustBe"`
	}
)

// columnReader reads one property.
type columnReader struct {
	*contractReader
	raw    *odcsProperty
	column *ContractColumn
	at     []string
	ext    map[string]*extension
}

// within returns the path of a key of the property.
func (r *columnReader) within(keys ...string) []string {
	return append(slices.Clone(r.at), keys...)
}

func (r *contractReader) readColumns(object odcsObject) {
	c := r.contract
	if len(object.Properties) > maxColumns {
		r.fault([]string{"schema", "0", "properties"}, "has more than %d columns", maxColumns)
		return
	}
	for i := range object.Quality {
		if object.Quality[i].Type != "text" {
			r.fault([]string{"schema", "0", "quality", strconv.Itoa(i)}, "rules over the whole source are not checked here: write a check (checks/<name>.sql)")
		}
	}
	readers := make([]*columnReader, len(object.Properties))
	names := map[string]string{}
	for i := range object.Properties {
		readers[i] = r.readColumn(&object.Properties[i], []string{"schema", "0", "properties", strconv.Itoa(i)}, names)
		c.Columns = append(c.Columns, *readers[i].column)
	}
	r.readKey(readers)
	for i, reader := range readers {
		reader.column = &c.Columns[i]
		reader.readReferences()
	}
	r.readBusinessDay(object)
}

// maxColumns is the largest number of columns of a contract.
const maxColumns = 1000

// readColumn reads what concerns the column alone. names are the header names so far, and whose they are.
func (r *contractReader) readColumn(raw *odcsProperty, at []string, names map[string]string) *columnReader {
	column := &ContractColumn{Name: raw.Name, Description: raw.Description, Required: raw.Required}
	cr := &columnReader{contractReader: r, raw: raw, column: column, at: at}
	cr.ext = r.extensions(raw.CustomProperties, at, columnExtensions...)
	if !namePattern.MatchString(raw.Name) {
		r.fault(cr.within("name"), "%s is no name of a column: use %s; the name in the files is physicalName", shorten(raw.Name), nameRule)
	}
	headers := []string{raw.Name}
	if raw.PhysicalName != "" {
		headers = append(headers, raw.PhysicalName)
	}
	if aliases := cr.ext[extAliases]; aliases != nil {
		headers = append(headers, aliases.texts()...)
	}
	for _, header := range headers {
		folded := FoldHeader(header)
		switch owner, taken := names[folded]; {
		case taken && owner == raw.Name && folded == FoldHeader(raw.Name) && header != raw.Name:
			// A physical name that differs in case only.
		case taken && owner == raw.Name && header == raw.Name:
			r.fault(cr.within("name"), "column %s stands here twice", raw.Name)
		case taken && owner == raw.Name:
		case taken:
			r.fault(cr.within("name"), "column %s: the header name %s is that of column %s too", raw.Name, shorten(header), owner)
		default:
			names[folded] = raw.Name
			if folded != raw.Name {
				column.Aliases = append(column.Aliases, folded)
			}
		}
	}
	switch strings.ToLower(raw.Classification) {
	case "pii", "personal", "personal data":
		column.PII = true
	}
	if !cr.readType() {
		return cr
	}
	cr.readOptions()
	cr.readQuality()
	cr.readText()
	cr.readNumber()
	cr.readDates()
	return cr
}

var decimalPhysical = regexp.MustCompile(`(?i)^(?:decimal|numeric)\s*\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$`)

func (r *columnReader) readType() bool {
	raw, column := r.raw, r.column
	switch raw.LogicalType {
	case "string":
		column.Type = ColumnString
	case "integer":
		column.Type = ColumnInteger
	case "boolean":
		column.Type = ColumnBoolean
	case "date":
		column.Type = ColumnDate
	case "object":
		column.Type = ColumnObject
	case "timestamp":
		column.Type = ColumnLocalTime
		if raw.Options.Timezone {
			column.Type = ColumnInstant
		}
	case "number":
		return r.readNumberType()
	default:
		r.fault(r.within("logicalType"), "column %s: %s is not read: use string, integer, number, boolean, date, timestamp or object", raw.Name, raw.LogicalType)
		return false
	}
	return true
}

func (r *columnReader) readNumberType() bool {
	raw, column := r.raw, r.column
	if match := decimalPhysical.FindStringSubmatch(raw.PhysicalType); match != nil {
		column.Type = ColumnDecimal
		column.Precision, _ = strconv.Atoi(match[1])
		column.Scale, _ = strconv.Atoi(match[2])
		if column.Precision < 1 || column.Precision > 38 || column.Scale > column.Precision {
			r.fault(r.within("physicalType"), "column %s: a decimal has 1 to 38 digits, and no more after the point than in all", raw.Name)
			return false
		}
		return true
	}
	switch strings.ToLower(raw.PhysicalType) {
	case "double", "double precision", "float8", "float64":
		column.Type = ColumnDouble
		return true
	}
	r.fault(r.within("physicalType"), "column %s: a number needs the physicalType decimal(18,4) (digits in all, digits after the point), or double where it may be inexact", raw.Name)
	return false
}

// readOptions reads logicalTypeOptions.
func (r *columnReader) readOptions() {
	column, options := r.column, r.raw.Options
	refuse := func(there bool, key, advice string) {
		if there {
			r.fault(r.within("logicalTypeOptions", key), "column %s: %s is not checked: %s", column.Name, key, advice)
		}
	}
	refuse(options.MinLength != nil, "minLength", "use pattern, for example ^.{1,20}$")
	refuse(options.MaxLength != nil, "maxLength", "use pattern, for example ^.{1,20}$")
	refuse(options.MultipleOf != nil, "multipleOf", "write a check (checks/<name>.sql)")
	refuse(options.MinProperties != nil, "minProperties", "an object is kept as it is")
	refuse(options.MaxProperties != nil, "maxProperties", "an object is kept as it is")
	refuse(options.Required != nil, "required", "an object is kept as it is")
	refuse(len(r.raw.Properties) > 0, "properties", "an object is kept as it is")
	refuse(options.DefaultTimezone != "", "defaultTimezone", "the zone is time_zone in pipeline.yaml")
	refuse(r.raw.Unique, "unique", "use primaryKey, or write a check (checks/<name>.sql)")
	switch column.Type {
	case ColumnString:
		refuse(options.Format != "", "format", "use pattern")
	case ColumnInteger:
		refuse(options.Format != "" && options.Format != "i64", "format", "integers have 64 bits (i64); use minimum and maximum")
	case ColumnDecimal, ColumnDouble:
		refuse(options.Format != "" && (options.Format != "f64" || column.Type == ColumnDecimal), "format", "the physicalType says it")
	}
	if options.Pattern != "" {
		r.setPattern(options.Pattern, r.within("logicalTypeOptions", "pattern"))
	}
	column.Min, column.MinExclusive = r.bound("minimum", options.Minimum, "exclusiveMinimum", options.ExclusiveMinimum)
	column.Max, column.MaxExclusive = r.bound("maximum", options.Maximum, "exclusiveMaximum", options.ExclusiveMaximum)
	if column.Min != nil && column.Max != nil && exceeds(*column.Min, *column.Max) {
		r.fault(r.within("logicalTypeOptions"), "column %s: the minimum %s is above the maximum %s", column.Name, *column.Min, *column.Max)
	}
}

func (r *columnReader) setPattern(pattern string, at []string) {
	if _, err := regexp.Compile(pattern); err != nil {
		r.fault(at, "column %s: the pattern is none (RE2): %v", r.column.Name, err)
		return
	}
	if r.column.Pattern != "" {
		r.fault(at, "column %s has two patterns", r.column.Name)
		return
	}
	r.column.Pattern = pattern
}

// bound returns an inclusive or exclusive bound as text; nil where there is none.
func (r *columnReader) bound(key string, value any, exclusiveKey string, exclusive any) (*string, bool) {
	if value != nil && exclusive != nil {
		r.fault(r.within("logicalTypeOptions", exclusiveKey), "column %s has both %s and %s", r.column.Name, key, exclusiveKey)
		return nil, false
	}
	isExclusive := exclusive != nil
	if isExclusive {
		key, value = exclusiveKey, exclusive
	}
	if value == nil {
		return nil, false
	}
	at := r.within("logicalTypeOptions", key)
	var text string
	switch v := value.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	plain, ok := r.column.canonical(text)
	switch {
	case r.column.Type == ColumnInstant || r.column.Type == ColumnLocalTime:
		r.fault(at, "column %s: bounds of a timestamp are not checked: write a check (checks/<name>.sql)", r.column.Name)
		return nil, false
	case !ok:
		r.fault(at, "column %s: %s is no %s", r.column.Name, shorten(text), r.column.Type)
		return nil, false
	}
	return &plain, isExclusive
}

// canonical returns a value of the contract (a bound, a default) in one form, false where it is none of the column's type.
func (c *ContractColumn) canonical(text string) (string, bool) {
	switch c.Type {
	case ColumnString:
		return text, text != ""
	case ColumnInteger, ColumnDecimal:
		number, _, err := apd.NewFromString(text)
		if err != nil || number.Form != apd.Finite || number.Exponent < -100 || number.Exponent > 100 {
			return "", false
		}
		scale := int32(0)
		if c.Type == ColumnDecimal {
			scale = int32(c.Scale)
		}
		number.Reduce(number)
		if number.Exponent < -scale || number.NumDigits()+int64(number.Exponent) > 38 {
			return "", false
		}
		if c.Type == ColumnInteger {
			if _, err := strconv.ParseInt(number.Text('f'), 10, 64); err != nil {
				return "", false
			}
		}
		return number.Text('f'), true
	case ColumnDouble:
		_, err := strconv.ParseFloat(text, 64)
		return text, err == nil && jsonNumber.MatchString(text)
	case ColumnBoolean:
		return text, text == "true" || text == "false"
	case ColumnDate:
		_, err := time.Parse(time.DateOnly, text)
		return text, err == nil
	case ColumnInstant, ColumnLocalTime:
		at, err := time.Parse(time.RFC3339, text)
		return at.UTC().Format(time.RFC3339Nano), err == nil
	}
	return "", false
}

// exceeds compares two canonical bounds.
func exceeds(low, high string) bool {
	a, _, errA := apd.NewFromString(low)
	b, _, errB := apd.NewFromString(high)
	if errA != nil || errB != nil {
		return low > high // dates order as text
	}
	return a.Cmp(b) > 0
}

// readQuality reads the rules that the standard's library has for values.
func (r *columnReader) readQuality() {
	column := r.column
	for i, quality := range r.raw.Quality {
		at := r.within("quality", strconv.Itoa(i))
		if quality.Type == "text" {
			continue
		}
		if quality.Metric != "invalidValues" {
			r.fault(at, "column %s: this rule is not checked here: use required, primaryKey, the metric invalidValues, or write a check (checks/<name>.sql)", column.Name)
			continue
		}
		if number, ok := quality.MustBe.(json.Number); !ok || number != "0" {
			r.fault(at, "column %s: invalidValues must say `mustBe: 0`: every invalid value is quarantined", column.Name)
		}
		if quality.Arguments.Pattern != "" {
			if column.Type == ColumnString {
				r.setPattern(quality.Arguments.Pattern, at)
			} else {
				r.fault(at, "column %s: only a string has a pattern", column.Name)
			}
		}
		switch {
		case len(quality.Arguments.ValidValues) == 0:
			if quality.Arguments.Pattern == "" {
				r.fault(at, "column %s: invalidValues needs arguments.validValues or arguments.pattern", column.Name)
			}
		case column.Type != ColumnString:
			r.fault(at, "column %s: only a string has validValues", column.Name)
		case len(column.Enum) > 0:
			r.fault(at, "column %s has validValues twice", column.Name)
		default:
			r.readEnum(quality.Arguments.ValidValues, at)
		}
	}
}

func (r *columnReader) readEnum(values []any, at []string) {
	for i, value := range values {
		text := ""
		switch v := value.(type) {
		case string:
			text = strings.ToLower(strings.TrimSpace(v))
		case json.Number:
			text = v.String()
		case bool:
			text = strconv.FormatBool(v)
		}
		if text == "" || slices.Contains(r.column.Enum, text) {
			r.fault(append(slices.Clone(at), "arguments", "validValues", strconv.Itoa(i)), "column %s: valid values are texts, each once (case does not count)", r.column.Name)
			continue
		}
		r.column.Enum = append(r.column.Enum, text)
	}
}
