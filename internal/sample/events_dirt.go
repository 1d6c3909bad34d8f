package sample

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// eventDirt is one way for an event to break rules: in its values, or in the text of its line.
type eventDirt struct {
	rules []string
	value func(row *eventRow, r *rand.Rand)
	line  func(b []byte) []byte
}

func eventValue(key int, json ...string) func(*eventRow, *rand.Rand) {
	return func(row *eventRow, r *rand.Rand) { row.raw(key, json[r.IntN(len(json))]) }
}

// nulls are ways to say nothing; the empty one leaves the key out.
var nulls = []string{"", "null", `""`, `"N/A"`, `" "`}

// eventDirts are taken in turn, so that even little data has each. What depends on the type of event sets the type first.
var eventDirts = []eventDirt{
	{rules: []string{"type:event_time"}, value: eventValue(eTime, `"yesterday"`, `"2026-01-15T10:00:00"`, `-5`, `"2026-02-30T10:00:00Z"`, `[1767225600]`)},
	{rules: []string{"malformed"}, line: func(b []byte) []byte { return b[:len(b)*2/3] }},
	{rules: []string{"enum:event_type"}, value: eventValue(eType, `"pageview"`, `"click"`, `"add-to-cart"`)},
	{rules: []string{"required:session_id"}, value: eventValue(eSession, nulls...)},
	{rules: []string{"future:event_time"}, value: eventValue(eTime, `"2099-12-31T23:59:59Z"`, `4102444800`, `4102444800000`, `"4102444800"`)},
	{rules: []string{"required:product_id"}, value: func(row *eventRow, r *rand.Rand) {
		row.text(eType, []string{"product_view", "add_to_cart", "remove_from_cart"}[r.IntN(3)])
		row.raw(eProduct, nulls[r.IntN(len(nulls))])
	}},
	{rules: []string{"required:event_id"}, value: eventValue(eID, nulls...)},
	{rules: []string{"malformed"}, line: func(b []byte) []byte {
		// The same key twice, once in capitals.
		return append(b[:len(b)-1], `,"EVENT_ID":"again"}`...)
	}},
	{rules: []string{"pattern:country"}, value: eventValue(eCountry, `"DEU"`, `"D1"`, `"Germany"`, `"x"`)},
	{rules: []string{"required:order_id"}, value: func(row *eventRow, r *rand.Rand) {
		row.text(eType, "purchase")
		row.raw(eOrder, nulls[r.IntN(len(nulls))])
	}},
	{rules: []string{"type:user_id"}, value: eventValue(eUser, `["C-000001"]`, `{"id":"C-000001"}`)},
	{rules: []string{"malformed"}, line: func(b []byte) []byte {
		return append(b[:0], "2026-01-15 10:00:00 ERROR collector: upstream timed out"...)
	}},
	{rules: []string{"required:event_time"}, value: eventValue(eTime, nulls...)},
	{rules: []string{"type:properties"}, value: eventValue(eProperties, `"wide"`, `7`)},
	{rules: []string{"malformed"}, line: func(b []byte) []byte { return append(b[:len(b)-1], ",}"...) }},
	{rules: []string{"required:event_type"}, value: eventValue(eType, nulls...)},
	{rules: []string{"type:session_id"}, value: eventValue(eSession, `{}`, `[]`)},
	{rules: []string{"malformed"}, line: func(b []byte) []byte {
		// Half a surrogate pair.
		return append(b[:len(b)-1], `,"note":"\ud83d"}`...)
	}},
	{rules: []string{"enum:event_type", "pattern:country"}, value: func(row *eventRow, _ *rand.Rand) {
		row.raw(eType, `"tap"`)
		row.raw(eCountry, `"Deutschland"`)
	}},
}

// dirtyEvent appends the event, broken in the way that its number in the series of all broken events stands for.
func dirtyEvent(number int, b []byte, row *eventRow, r *rand.Rand) ([]byte, []string) {
	d := eventDirts[number%len(eventDirts)]
	if d.line != nil {
		return d.line(row.line(b)), d.rules
	}
	d.value(row, r)
	return row.line(b), d.rules
}

// varyEvent writes an event in an unusual, allowed way.
func varyEvent(out *output, b []byte, row *eventRow, kind string, r *rand.Rand) []byte {
	switch r.IntN(11) {
	case 0:
		row.raw(eTime, strconv.FormatInt(row.at.Unix(), 10))
		out.variety("epoch_seconds")
	case 1:
		row.raw(eTime, strconv.FormatInt(row.at.UnixMilli(), 10))
		out.variety("epoch_milliseconds")
	case 2:
		row.text(eTime, strconv.FormatInt(row.at.UnixMilli(), 10))
		out.variety("epoch_as_text")
	case 3:
		row.text(eTime, row.at.In(time.FixedZone("", 2*3600)).Format(time.RFC3339))
		out.variety("time_with_offset")
	case 4:
		row.text(eType, strings.ToUpper(kind))
		out.variety("event_type_in_capitals")
	case 5:
		row.text(eCountry, strings.ToLower(string(bytes.Trim(row.values[eCountry], `"`))))
		out.variety("country_in_lower_case")
	case 6:
		row.raw(eReferrer, `null`)
		row.raw(eSearch, `2026`)
		out.variety("number_as_text")
	case 7:
		b = row.line(b)
		out.variety("key_in_capitals")
		return bytes.Replace(b, []byte(`"device":`), []byte(`"Device" : `), 1)
	case 8:
		b = row.line(b)
		out.variety("unknown_key")
		return append(b[:len(b)-1], `,"app_version":"4.`+strconv.Itoa(r.IntN(20))+`"}`...)
	case 9:
		row.raw(eSearch, `"caf\u00e9 cr\u00e8me \ud83d\ude00"`)
		row.raw(eProperties, `{"ab":{"test":"B","weights":[0.5,1e3]},"note":null}`)
		out.variety("escapes_and_nested_properties")
	case 10:
		row.raw(eUser, []string{`null`, `""`, `"-"`}[r.IntN(3)])
		out.variety("no_user")
	}
	return row.line(b)
}

// plantEventFiles adds whole files that are odd: an upload that broke off, and an empty one.
func (g *generator) plantEventFiles(d *day, folder string) error {
	if g.shop.Dirt == 0 || d.index%60 != 20 {
		return nil
	}
	if err := g.plantFile("user_activity", folder+"maintenance.ndjson", nil, false); err != nil {
		return err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(`{"event_id":"e-cut","event_time":"` + d.date.Format(time.RFC3339) + `","session_id":"s-cut","event_type":"page_view"}` + "\n")); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return g.plantFile("user_activity", folder+"late.ndjson.gz", b.Bytes()[:b.Len()-5], true)
}
