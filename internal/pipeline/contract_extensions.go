package pipeline

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// onlyFor faults an extension on a column of another type; it says whether the extension is there and fits.
func (r *columnReader) onlyFor(name string, types ...ColumnType) bool {
	e := r.ext[name]
	if e == nil {
		return false
	}
	if !slices.Contains(types, r.column.Type) {
		words := make([]string, len(types))
		for i, t := range types {
			words[i] = string(t)
		}
		e.fault("says nothing about a column of type %s (only %s)", r.column.Type, strings.Join(words, ", "))
		return false
	}
	return true
}

// readText reads in which case a text is stored.
func (r *columnReader) readText() {
	column := r.column
	if r.onlyFor(extUpperCase, ColumnString) {
		r.ext[extUpperCase].decode(&column.UpperCase, "true or false")
	}
	if r.onlyFor(extUpperCaseWhen, ColumnString) {
		e := r.ext[extUpperCaseWhen]
		column.UpperCase = true
		column.UpperCaseWhen = e.text()
		if _, err := regexp.Compile(column.UpperCaseWhen); err != nil {
			e.fault("is no pattern (RE2): %v", err)
		}
	}
	if column.UpperCase && len(column.Enum) > 0 {
		r.fault(r.at, "column %s: values of an enumeration are stored in lower case, not in upper case", column.Name)
	}
}

// readNumber reads how a decimal may be written.
func (r *columnReader) readNumber() {
	column := r.column
	if column.Type == ColumnDecimal || column.Type == ColumnDouble {
		column.DecimalSeparator = "."
	}
	if r.onlyFor(extDecimalSeparator, ColumnDecimal) {
		e := r.ext[extDecimalSeparator]
		if text := e.text(); text == "." || text == "," {
			column.DecimalSeparator = text
		} else {
			e.fault("must be a point or a comma")
		}
	}
	if r.onlyFor(extThousandsSeparator, ColumnDecimal) {
		e := r.ext[extThousandsSeparator]
		switch text := e.text(); {
		case !slices.Contains([]string{",", ".", " ", "'", "\u00a0", "\u202f"}, text):
			e.fault("must be a comma, a point, an apostrophe or a space")
		case text == column.DecimalSeparator:
			e.fault("is the decimal separator too")
		default:
			column.ThousandsSeparator = text
		}
	}
	if r.onlyFor(extCurrencySymbols, ColumnDecimal) {
		e := r.ext[extCurrencySymbols]
		column.CurrencySymbols = e.texts()
		for _, symbol := range column.CurrencySymbols {
			if strings.ContainsAny(symbol, "0123456789+-.,' \t") {
				e.fault("%s could be a part of the number", shorten(symbol))
			}
		}
	}
}

// readDates reads how a date may be written.
func (r *columnReader) readDates() {
	column := r.column
	formats, at := []string(nil), r.within("logicalTypeOptions", "format")
	switch column.Type {
	case ColumnDate, ColumnLocalTime, ColumnInstant:
		if r.raw.Options.Format != "" {
			formats = []string{r.raw.Options.Format}
		}
	}
	if r.onlyFor(extDateFormats, ColumnDate, ColumnLocalTime) {
		e := r.ext[extDateFormats]
		if len(formats) > 0 {
			e.fault("and logicalTypeOptions.format say the same thing: keep one")
		}
		formats, at = e.texts(), e.at
	}
	switch {
	case column.Type == ColumnInstant:
		if len(formats) > 0 {
			r.fault(at, "column %s: a timestamp with a zone is RFC 3339 or epoch; it has no format", column.Name)
		}
		return
	case len(formats) == 0 && column.Type == ColumnDate:
		formats = []string{"YYYY-MM-DD"}
	case len(formats) == 0 && column.Type == ColumnLocalTime:
		formats = []string{"YYYY-MM-DD", "YYYY/MM/DD", "DD.MM.YYYY", "DD/MM/YYYY"}
	}
	for _, text := range formats {
		format, ok := ParseDateFormat(text)
		if !ok {
			r.fault(at, "column %s: %s is no format of a date: use yyyy (or yy), MM (or M) and dd (or d) in the order YMD, DMY or MDY, with one of - / . between them", column.Name, shorten(text))
			continue
		}
		for _, other := range column.DateFormats {
			if other.Separator == format.Separator && other.Order != format.Order && other.Order != OrderYMD && format.Order != OrderYMD {
				r.fault(at, "column %s: a date such as 01%s02%s2026 could be %s or %s: keep one", column.Name, format.Separator, format.Separator, other.Text, format.Text)
			}
		}
		column.DateFormats = append(column.DateFormats, format)
	}
}

var dateFormatShape = regexp.MustCompile(`^(yyyy|yy|MM|M|dd|d)([-/.]?)(yyyy|yy|MM|M|dd|d)([-/.]?)(yyyy|yy|MM|M|dd|d)(?:(?:'?T'?| )(HH|H):mm(?::ss)?)?$`)

// ParseDateFormat reads a format such as yyyy-MM-dd, DD.MM.YYYY, M/d/yyyy or M/d/yyyy H:mm. The time behind it says only
// whether the hour may have one digit: a time may always be there or not.
func ParseDateFormat(text string) (DateFormat, bool) {
	match := dateFormatShape.FindStringSubmatch(strings.NewReplacer("Y", "y", "D", "d").Replace(text))
	if match == nil || match[2] != match[4] {
		return DateFormat{}, false
	}
	format := DateFormat{Text: text, Separator: match[2], Loose: match[6] == "H"}
	order := ""
	for _, part := range []string{match[1], match[3], match[5]} {
		order += strings.ToUpper(part[:1])
		switch part {
		case "yy":
			format.ShortYear = true
		case "M", "d":
			format.Loose = true
		}
	}
	format.Order = DateOrder(order)
	switch format.Order {
	case OrderYMD, OrderDMY, OrderMDY:
	default:
		return DateFormat{}, false
	}
	// Without separators only fixed widths can be told apart.
	return format, format.Separator != "" || !format.Loose
}

// readKey collects the primary key.
func (r *contractReader) readKey(readers []*columnReader) {
	var keys []*columnReader
	for _, reader := range readers {
		if !reader.raw.PrimaryKey {
			continue
		}
		if !reader.raw.Required {
			r.fault(reader.within("primaryKey"), "column %s is part of the key and must be required", reader.raw.Name)
		}
		keys = append(keys, reader)
	}
	slices.SortStableFunc(keys, func(a, b *columnReader) int {
		return cmp.Compare(a.raw.PrimaryKeyPosition, b.raw.PrimaryKeyPosition)
	})
	for i, reader := range keys {
		if len(keys) > 1 && reader.raw.PrimaryKeyPosition != i+1 {
			r.fault(reader.within("primaryKey"), "column %s: the columns of the key have the primaryKeyPosition 1 to %d", reader.raw.Name, len(keys))
		}
		r.contract.Key = append(r.contract.Key, reader.raw.Name)
	}
}

// readReferences reads what concerns other columns too; all columns are known.
func (r *columnReader) readReferences() {
	if r.column.Type == "" {
		return
	}
	r.readRequiredWhen()
	r.readUpperBounds()
	r.readDefault()
}

// other returns a column that an extension names.
func (r *columnReader) other(e *extension, name string) *ContractColumn {
	switch other := r.contract.Column(name); {
	case other == nil:
		e.fault("names the unknown column %s", shorten(name))
		return nil
	case name == r.column.Name:
		e.fault("names the column itself")
		return nil
	default:
		return other
	}
}

func (r *columnReader) readRequiredWhen() {
	e := r.ext[extRequiredWhen]
	if e == nil {
		return
	}
	var value struct {
		Column string   `json:"column"`
		In     []string `json:"in"`
	}
	if !e.decode(&value, "{column: name, in: [value, ...]}") {
		return
	}
	if r.column.Required {
		e.fault("says nothing: the column is required anyway")
	}
	other := r.other(e, value.Column)
	if other == nil {
		return
	}
	if len(value.In) == 0 || other.Type != ColumnString {
		e.fault("needs the values of a column of type string")
		return
	}
	for i, text := range value.In {
		if len(other.Enum) > 0 {
			text = strings.ToLower(text)
			value.In[i] = text
			if !slices.Contains(other.Enum, text) {
				e.fault("%s is no valid value of %s", shorten(text), other.Name)
			}
		}
	}
	r.column.RequiredWhen = &RequiredWhen{Column: value.Column, In: value.In}
}

func (r *columnReader) readUpperBounds() {
	column := r.column
	if r.onlyFor(extMaximum, ColumnInteger, ColumnDecimal, ColumnDouble) {
		e := r.ext[extMaximum]
		var value struct {
			Expression string   `json:"expression"`
			Uses       []string `json:"uses"`
		}
		if e.decode(&value, "{expression: SQL, uses: [column, ...]}") {
			if strings.TrimSpace(value.Expression) == "" || len(value.Uses) == 0 {
				e.fault("needs an expression and the columns that it uses")
			}
			for i, name := range value.Uses {
				if r.other(e, name) != nil && slices.Contains(value.Uses[:i], name) {
					e.fault("names %s twice", name)
				}
			}
			column.MaxExpr, column.Uses = strings.TrimSpace(value.Expression), value.Uses
		}
	}
	if r.onlyFor(extNotAfter, ColumnDate, ColumnInstant, ColumnLocalTime) {
		e := r.ext[extNotAfter]
		if name := e.text(); name != "" {
			if other := r.other(e, name); other != nil {
				column.NotAfter = name
				if other.StoredType() != column.StoredType() {
					e.fault("compares a %s with a %s", column.Type, other.Type)
				}
			}
		}
	}
	if r.onlyFor(extNotAfterIngestion, ColumnInstant, ColumnLocalTime) {
		e := r.ext[extNotAfterIngestion]
		if text := e.text(); text != "" {
			if delay, err := time.ParseDuration(text); err != nil || delay < 0 {
				e.fault("%s is no duration such as 24h", shorten(text))
			} else {
				column.NotAfterIngestion = &delay
			}
		}
	}
}

func (r *columnReader) readDefault() {
	column := r.column
	constant, from := r.ext[extDefault], r.ext[extDefaultFrom]
	if constant == nil && from == nil {
		return
	}
	if column.Required || column.RequiredWhen != nil {
		r.fault(r.at, "column %s is required and has a default: keep one", column.Name)
	}
	if constant != nil && from != nil {
		from.fault("and %s say the same thing: keep one", extDefault)
	}
	if from != nil {
		if name := from.text(); name != "" {
			if other := r.other(from, name); other != nil {
				column.DefaultColumn = name
				if other.StoredType() != column.StoredType() || other.Type == ColumnObject != (column.Type == ColumnObject) {
					from.fault("takes a %s for a %s", other.Type, column.Type)
				}
			}
		}
	}
	if constant != nil {
		r.readConstant(constant)
	}
}

func (r *columnReader) readConstant(e *extension) {
	var value any
	if !e.decode(&value, "a value") {
		return
	}
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = strconv.FormatBool(v)
	}
	column := r.column
	plain, ok := column.canonical(text)
	if len(column.Enum) > 0 {
		plain = strings.ToLower(plain)
		ok = slices.Contains(column.Enum, plain)
	}
	if !ok {
		e.fault("%s is no value of the column (%s)", shorten(text), column.Type)
		return
	}
	column.DefaultValue = &plain
}

func (r *contractReader) readBusinessDay(object odcsObject) {
	e := r.extensions(object.CustomProperties, []string{"schema", "0"}, extBusinessDay)[extBusinessDay]
	if e == nil {
		return
	}
	var value struct {
		Column string `json:"column"`
		Of     string `json:"of"`
	}
	if !e.decode(&value, "{column: name, of: timestamp}") {
		return
	}
	own := r.contract.Column(value.Column)
	switch {
	case value.Of == "":
		if own == nil || own.Type != ColumnDate {
			e.fault("without `of` needs a column of type date, which %s is not", shorten(value.Column))
			return
		}
	case own != nil:
		e.fault("makes the column %s, which the contract has already", value.Column)
		return
	case !namePattern.MatchString(value.Column):
		e.fault("%s is no name of a column: use %s", shorten(value.Column), nameRule)
		return
	default:
		of := r.contract.Column(value.Of)
		if of == nil || of.Type != ColumnInstant && of.Type != ColumnLocalTime {
			e.fault("is the day of a timestamp, which %s is not", shorten(value.Of))
			return
		}
	}
	r.contract.BusinessDay = &BusinessDay{Column: value.Column, Of: value.Of}
}
