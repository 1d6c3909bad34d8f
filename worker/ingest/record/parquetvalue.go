package record

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// valueKind says how a value's text stands in JSON and in a cell.
type valueKind int

const (
	valueNull valueKind = iota
	valueText
	valueNumber    // digits, without quotes in JSON
	valueBool      // true or false
	valueComposite // JSON text
	valueDate      // a timestamp without a zone, as a date cell
)

// appendValue appends the text of value i: decimals exact, floats in their
// shortest form without an exponent, timestamps as RFC 3339 (or without a zone
// where they have none), bytes that are no text in base64, lists, structs and
// maps as JSON.
func appendValue(buf []byte, column arrow.Array, i int) ([]byte, valueKind) {
	if column.IsNull(i) {
		return buf, valueNull
	}
	switch a := column.(type) {
	case *array.String:
		return appendString(buf, a.Value(i)), valueText
	case *array.LargeString:
		return appendString(buf, a.Value(i)), valueText
	case *array.Binary:
		return appendText(buf, a.Value(i))
	case *array.LargeBinary:
		return appendText(buf, a.Value(i))
	case *array.FixedSizeBinary:
		return appendText(buf, a.Value(i))
	case *array.Boolean:
		return strconv.AppendBool(buf, a.Value(i)), valueBool
	case *array.Int8:
		return strconv.AppendInt(buf, int64(a.Value(i)), 10), valueNumber
	case *array.Int16:
		return strconv.AppendInt(buf, int64(a.Value(i)), 10), valueNumber
	case *array.Int32:
		return strconv.AppendInt(buf, int64(a.Value(i)), 10), valueNumber
	case *array.Int64:
		return strconv.AppendInt(buf, a.Value(i), 10), valueNumber
	case *array.Uint8:
		return strconv.AppendUint(buf, uint64(a.Value(i)), 10), valueNumber
	case *array.Uint16:
		return strconv.AppendUint(buf, uint64(a.Value(i)), 10), valueNumber
	case *array.Uint32:
		return strconv.AppendUint(buf, uint64(a.Value(i)), 10), valueNumber
	case *array.Uint64:
		return strconv.AppendUint(buf, a.Value(i), 10), valueNumber
	case *array.Float16:
		return appendFloat(buf, float64(a.Value(i).Float32()), 32)
	case *array.Float32:
		return appendFloat(buf, float64(a.Value(i)), 32)
	case *array.Float64:
		return appendFloat(buf, a.Value(i), 64)
	case *array.Decimal32:
		return append(buf, a.Value(i).ToString(a.DataType().(*arrow.Decimal32Type).Scale)...), valueNumber
	case *array.Decimal64:
		return append(buf, a.Value(i).ToString(a.DataType().(*arrow.Decimal64Type).Scale)...), valueNumber
	case *array.Decimal128:
		return append(buf, a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)...), valueNumber
	case *array.Decimal256:
		return append(buf, a.Value(i).ToString(a.DataType().(*arrow.Decimal256Type).Scale)...), valueNumber
	case *array.Date32:
		return a.Value(i).ToTime().AppendFormat(buf, time.DateOnly), valueText
	case *array.Date64:
		return a.Value(i).ToTime().AppendFormat(buf, time.DateOnly), valueText
	case *array.Timestamp:
		return appendTimestamp(buf, a.Value(i), a.DataType().(*arrow.TimestampType))
	case *array.Time32:
		return a.Value(i).ToTime(a.DataType().(*arrow.Time32Type).Unit).AppendFormat(buf, "15:04:05.999"), valueText
	case *array.Time64:
		return a.Value(i).ToTime(a.DataType().(*arrow.Time64Type).Unit).AppendFormat(buf, "15:04:05.999999999"), valueText
	case *array.Dictionary:
		return appendValue(buf, a.Dictionary(), a.GetValueIndex(i))
	case *array.Struct:
		return appendStruct(buf, a, i), valueComposite
	case *array.Map:
		return appendMap(buf, a, i), valueComposite
	case array.ListLike:
		return appendList(buf, a, i), valueComposite
	case array.ExtensionArray:
		if a.ExtensionType().ExtensionName() == "arrow.uuid" {
			return append(buf, a.ValueStr(i)...), valueText
		}
		return appendValue(buf, a.Storage(), i)
	}
	return append(buf, toValidUTF8([]byte(column.ValueStr(i)))...), valueText
}

// appendString appends text; what is not UTF-8, which a file may claim to be
// text all the same, in base64.
func appendString(buf []byte, text string) []byte {
	if utf8.ValidString(text) {
		return append(buf, text...)
	}
	return base64.StdEncoding.AppendEncode(buf, []byte(text))
}

// appendText appends text as it is, other bytes in base64.
func appendText(buf, value []byte) ([]byte, valueKind) {
	if utf8.Valid(value) {
		return append(buf, value...), valueText
	}
	return base64.StdEncoding.AppendEncode(buf, value), valueText
}

func appendFloat(buf []byte, f float64, bits int) ([]byte, valueKind) {
	switch {
	case math.IsNaN(f):
		return append(buf, "NaN"...), valueText
	case math.IsInf(f, 0):
		if f < 0 {
			buf = append(buf, '-')
		}
		return append(buf, "Infinity"...), valueText
	case f == 0:
		f = 0 // not -0
	}
	return strconv.AppendFloat(buf, f, 'f', -1, bits), valueNumber
}

func appendTimestamp(buf []byte, value arrow.Timestamp, of *arrow.TimestampType) ([]byte, valueKind) {
	t := value.ToTime(of.Unit)
	if of.TimeZone != "" {
		return t.AppendFormat(buf, "2006-01-02T15:04:05.999999999Z07:00"), valueText
	}
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return t.AppendFormat(buf, time.DateOnly), valueDate
	}
	return t.AppendFormat(buf, "2006-01-02T15:04:05.999999999"), valueDate
}

// appendAsJSON appends a value's text as JSON.
func appendAsJSON(buf, value []byte, kind valueKind) []byte {
	switch kind {
	case valueNull:
		return append(buf, "null"...)
	case valueNumber, valueBool, valueComposite:
		return append(buf, value...)
	}
	return appendJSONString(buf, value)
}

// appendJSON appends value i as JSON.
func appendJSON(buf []byte, column arrow.Array, i int) []byte {
	from := len(buf)
	buf, kind := appendValue(buf, column, i)
	if kind == valueText || kind == valueDate {
		return appendJSONString(buf[:from], bytes.Clone(buf[from:]))
	}
	if kind == valueNull {
		return append(buf, "null"...)
	}
	return buf
}

func appendStruct(buf []byte, a *array.Struct, i int) []byte {
	buf = append(buf, '{')
	for f, field := range a.DataType().(*arrow.StructType).Fields() {
		if f > 0 {
			buf = append(buf, ',')
		}
		buf = appendJSONString(buf, toValidUTF8([]byte(field.Name)))
		buf = append(buf, ':')
		buf = appendJSON(buf, a.Field(f), i)
	}
	return append(buf, '}')
}

// appendMap appends an object; a key that isn't text is written as its text.
func appendMap(buf []byte, a *array.Map, i int) []byte {
	start, end := a.ValueOffsets(i)
	buf = append(buf, '{')
	for j := start; j < end; j++ {
		if j > start {
			buf = append(buf, ',')
		}
		key, _ := appendValue(nil, a.Keys(), int(j))
		buf = appendJSONString(buf, key)
		buf = append(buf, ':')
		buf = appendJSON(buf, a.Items(), int(j))
	}
	return append(buf, '}')
}

func appendList(buf []byte, a array.ListLike, i int) []byte {
	start, end := a.ValueOffsets(i)
	buf = append(buf, '[')
	for j := start; j < end; j++ {
		if j > start {
			buf = append(buf, ',')
		}
		buf = appendJSON(buf, a.ListValues(), int(j))
	}
	return append(buf, ']')
}

func toValidUTF8(s []byte) []byte { return bytes.ToValidUTF8(s, []byte("\uFFFD")) }
