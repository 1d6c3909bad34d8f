package record

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// appendNumber appends the number that s writes in the shortest decimal form
// without an exponent: 19.99 for 19.989999999999998, 536365 for 536365.0.
func appendNumber(buf, s []byte) ([]byte, bool) {
	if plainNumber(s) {
		return append(buf, s...), true
	}
	f, ok := parseNumber(s)
	if !ok {
		return buf, false
	}
	if f == 0 {
		f = 0 // not -0
	}
	return strconv.AppendFloat(buf, f, 'f', -1, 64), true
}

// plainNumber tells a number that is its own shortest form: at most 15
// significant digits, no superfluous zero.
func plainNumber(s []byte) bool {
	digits := bytes.TrimPrefix(s, []byte("-"))
	whole, fraction, point := bytes.Cut(digits, []byte("."))
	if len(digits) > 16 || len(whole)+len(fraction) > 15 || len(whole) == 0 {
		return false
	}
	if whole[0] == '0' && (len(whole) > 1 || !point && len(digits) != len(s)) {
		return false
	}
	if point && (len(fraction) == 0 || fraction[len(fraction)-1] == '0') {
		return false
	}
	for _, part := range [2][]byte{whole, fraction} {
		for _, c := range part {
			if c < '0' || c > '9' {
				return false
			}
		}
	}
	return true
}

func parseNumber(s []byte) (float64, bool) {
	for _, c := range s {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c|0x20 != 'e' {
			return 0, false // strconv also knows inf, nan, hexadecimal and underscores
		}
	}
	f, err := strconv.ParseFloat(string(s), 64)
	return f, err == nil
}

// appendSerial appends the date of a date cell's serial: YYYY-MM-DD, with
// THH:MM:SS[.fff] where it has a time; or HH:MM:SS[.fff] for a time without a
// date, which onlyTime tells. It is false for what no calendar has.
//
// In the 1900 system serial 1 is 1900-01-01, and serial 60, a day that never
// was, is taken for 1900-02-28.
func appendSerial(buf []byte, serial float64, epoch04 bool) (text []byte, onlyTime, ok bool) {
	const msPerDay = 24 * 60 * 60 * 1000
	if !(serial >= 0 && serial < 2958466) {
		return buf, false, false
	}
	ms := int64(math.Round(serial * msPerDay)) // what Excel itself shows at most
	days, ms := ms/msPerDay, ms%msPerDay
	clock := time.UnixMilli(ms).UTC()
	layout := "15:04:05.999"
	if days == 0 && !epoch04 {
		return clock.AppendFormat(buf, layout), true, true
	}
	first := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	switch {
	case epoch04:
		first = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	case days < 60:
		first = time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	day := first.AddDate(0, 0, int(days))
	if day.Year() > 9999 {
		return buf, false, false
	}
	buf = day.AppendFormat(buf, time.DateOnly)
	if ms != 0 {
		buf = clock.AppendFormat(buf, "T"+layout)
	}
	return buf, false, true
}

// appendISODate appends the value of a cell of type d as appendSerial does.
func appendISODate(buf, s []byte) ([]byte, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04", time.DateOnly} {
		t, err := time.Parse(layout, string(s))
		if err != nil {
			continue
		}
		if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
			return t.AppendFormat(buf, time.DateOnly), true
		}
		return t.AppendFormat(buf, "2006-01-02T15:04:05.999999"), true
	}
	return buf, false
}
