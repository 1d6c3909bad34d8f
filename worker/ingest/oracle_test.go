package ingest

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the transitions of zones, wherever the tests run

	"pgregory.net/rapid"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// The tests of this file hold the statement against readings written once more,
// row by row, in Go.

// differ checks drawn cells, many at a time: a statement costs more than a row.
func differ(t *testing.T, column pipeline.ContractColumn, zone string, draw *rapid.Generator[string], oracle func(string) string) {
	t.Helper()
	session := openSession(t)
	rapid.Check(t, func(r *rapid.T) {
		cells := rapid.SliceOfN(draw, 300, 300).Draw(r, "cells")
		cases := make([]valueCase, len(cells))
		for i, cell := range cells {
			cases[i] = valueCase{cell, oracle(cell)}
		}
		if faults := misread(t, session, column, zone, cases); len(faults) > 0 {
			r.Fatal(faults[0])
		}
	})
}

// pieces draws text made of likely and unlikely pieces.
func pieces(most int, list ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(list), 0, most).Draw(t, "pieces"), "")
	})
}

func nullToken(cell string) bool {
	switch strings.ToLower(cell) {
	case "", "-", "null", "n/a", "nan":
		return true
	}
	return false
}

var oracleNumber = regexp.MustCompile(`^([+-]?)([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+|)(?:\.([0-9]+))?$`)

func oracleDecimal(cell string) string {
	cell = strings.TrimSpace(cell)
	if nullToken(cell) {
		return null
	}
	symbols := "$€£¥"
	if first, rest := []rune(cell)[0], string([]rune(cell)[1:]); strings.ContainsRune(symbols, first) {
		cell = strings.TrimSpace(rest)
	} else if all := []rune(cell); strings.ContainsRune(symbols, all[len(all)-1]) {
		cell = strings.TrimSpace(string(all[:len(all)-1]))
	}
	parts := oracleNumber.FindStringSubmatch(cell)
	if parts == nil || parts[2] == "" && parts[3] == "" {
		return "!type"
	}
	value, ok := new(big.Rat).SetString("0" + strings.ReplaceAll(parts[2], ",", "") + "." + parts[3] + "0")
	if !ok {
		panic(cell)
	}
	// Half away from zero: the whole part of the positive value times 10^4 plus a half.
	value.Mul(value, big.NewRat(10000, 1)).Add(value, big.NewRat(1, 2))
	scaled := new(big.Int).Quo(value.Num(), value.Denom())
	if scaled.Cmp(big.NewInt(1_000_000_000_000_000_000)) >= 0 {
		return "!type"
	}
	text := fmt.Sprintf("%05s", scaled.String())
	text = text[:len(text)-4] + "." + text[len(text)-4:]
	if parts[1] == "-" && scaled.Sign() != 0 {
		text = "-" + text
	}
	return text
}

func TestDecimalAgainstOracle(t *testing.T) {
	t.Parallel()
	draw := rapid.OneOf(
		pieces(8, "0", "1", "5", "9", "00", "999", "123", ",", ",000", ".", ".", "4", "49999", "5", "-", "+", "$", "€", " ", "e", "E", "_", "x", "99999999999999", "٣"),
		rapid.StringMatching(`[+-]?[0-9]{1,16}(\.[0-9]{1,8})?`),
		rapid.StringMatching(`[$€£¥]? ?-?[0-9]{1,3}(,[0-9]{3}){0,5}(\.[0-9]{0,7})? ?[$€£¥]?`),
		rapid.StringMatching(`-?9{10,15}\.9{3}[0-9]{1,3}[0-9]{0,40}`),
		rapid.StringMatching(`-?0{0,20}[0-9]{0,3}\.[0-9]{3,5}[4950]{1,40}`),
	)
	differ(t, money, "UTC", draw, oracleDecimal)
}

var oracleWhole = regexp.MustCompile(`^([+-]?[0-9]+)(?:\.0+)?$`)

func TestIntegerAgainstOracle(t *testing.T) {
	t.Parallel()
	draw := rapid.OneOf(
		pieces(6, "0", "1", "9", "00", "922337203685477580", "7", "8", ".", ".0", "0", "-", "+", "e", "_", "x", "b", ",", " ", "٣", "inf"),
		rapid.StringMatching(`[+-]?[0-9]{1,21}(\.0{0,3})?`),
		rapid.StringMatching(`-?92233720368547758[0-9]{2}(\.0)?`),
		rapid.StringMatching(`0[xXbBoO][0-9a-f]{1,4}`),
	)
	differ(t, pipeline.ContractColumn{Type: pipeline.ColumnInteger}, "UTC", draw, func(cell string) string {
		cell = strings.TrimSpace(cell)
		if nullToken(cell) {
			return null
		}
		parts := oracleWhole.FindStringSubmatch(cell)
		if parts == nil {
			return "!type"
		}
		value, _ := new(big.Int).SetString(parts[1], 10)
		if !value.IsInt64() {
			return "!type"
		}
		return value.String()
	})
}

var (
	oracleRFC3339 = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})$`)
	oracleEpoch   = regexp.MustCompile(`^([0-9]+)(?:\.([0-9]+))?$`)
)

func moment(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.999999Z")
}

// sixDigits cuts a fraction to microseconds.
func sixDigits(fraction string) string { return (fraction + "000000")[:6] }

func oracleInstant(cell string) string {
	cell = strings.TrimSpace(cell)
	if nullToken(cell) {
		return null
	}
	if parts := oracleEpoch.FindStringSubmatch(cell); parts != nil {
		whole, _ := new(big.Int).SetString(parts[1], 10)
		micros, _ := new(big.Int).SetString(parts[1]+sixDigits(parts[2]), 10)
		if whole.Cmp(big.NewInt(100_000_000_000)) >= 0 {
			micros.Quo(micros, big.NewInt(1000))
		}
		if whole.Cmp(big.NewInt(9223372036854774)) > 0 {
			return "!type"
		}
		return moment(time.UnixMicro(micros.Int64()))
	}
	parts := oracleRFC3339.FindStringSubmatch(cell)
	if parts == nil || strings.HasPrefix(parts[1], "0000") {
		return "!type"
	}
	leap := strings.HasSuffix(parts[2], ":60")
	clock := strings.TrimSuffix(parts[2], ":60")
	if leap {
		clock += ":59"
	}
	zone := strings.ToUpper(parts[4])
	if zone != "Z" && (zone[1:3] == "24" || zone[4:] == "60") {
		return "!type" // which Go takes
	}
	at, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", parts[1]+"T"+clock+"."+sixDigits(parts[3])+zone)
	if err != nil {
		return "!type"
	}
	if leap {
		at = at.Add(time.Second).UTC()
		if at.Day() != 1 || at.Hour() != 0 || at.Minute() != 0 || at.Second() != 0 {
			return "!type"
		}
	}
	if year := at.UTC().Year(); year < 1 || year > 9999 {
		return "!type"
	}
	return moment(at)
}

func TestInstantAgainstOracle(t *testing.T) {
	t.Parallel()
	day := `(000[01]|19[0-9]{2}|20[0-9]{2}|9999)-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])`
	clock := `([01][0-9]|2[0-4]):([0-5][0-9]|60):([0-5][0-9]|60|61)`
	draw := rapid.OneOf(
		rapid.StringMatching(day+`[Tt ]`+clock+`(\.[0-9]{0,9})?([Zz]|[+-][0-2][0-9]:[0-6][0-9])?`),
		rapid.StringMatching(`(2016-12-31|2015-06-30|2017-01-01|2016-12-30)[T ](23|00|22|01):59:60(\.[0-9]{1,3})?([Zz]|[+-]0[01]:00)`),
		rapid.StringMatching(`[0-9]{1,18}`), rapid.StringMatching(`[0-9]{9,17}\.[0-9]{0,8}`), rapid.StringMatching(`[+-]?[0-9]{9,13}`),
		rapid.StringMatching(`92233720368547[0-9]{2}(\.[0-9]{1,7})?`),
		pieces(9, "2026", "-01", "-15", "-2", "T", "t", " ", "10", ":30", ":00", ".5", "Z", "z", "+01:00", "-0500", "e9", "1768471200"),
	)
	differ(t, pipeline.ContractColumn{Type: pipeline.ColumnInstant}, "America/New_York", draw, oracleInstant)
}

// zonesTested have all kinds of transitions: of an hour and of half an hour,
// at midnight, to another side of the date line, in both directions of summer,
// negative summer time, offsets of quarters of an hour, and none.
var zonesTested = []string{
	"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/Dublin", "America/Sao_Paulo", "Africa/Casablanca",
	"Pacific/Apia", "Asia/Kathmandu", "America/St_Johns", "Asia/Tehran", "Pacific/Chatham", "Antarctica/Troll", "America/Santiago", "Africa/Cairo", "Asia/Pyongyang", "Europe/Lisbon",
}

// transitions finds when a zone's offset changes, from 2005 to 2025: of what
// lies further off, Go's zone rules and the engine's are of different editions.
func transitions(location *time.Location) []time.Time {
	var list []time.Time
	end := time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
	for at := time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC).In(location); ; {
		_, next := at.ZoneBounds()
		if next.IsZero() || next.After(end) {
			return list
		}
		_, before := next.Add(-time.Second).Zone()
		if _, after := next.Zone(); before != after {
			list = append(list, next)
		}
		at = next
	}
}

// oracleLocal is the moment of a local time (given as if in UTC): the first of
// two, one that was skipped moved forward by what was skipped.
func oracleLocal(local time.Time, location *time.Location) time.Time {
	wall := func(t time.Time) time.Time {
		_, shift := t.In(location).Zone()
		return t.Add(time.Duration(shift) * time.Second)
	}
	offsets := map[int]bool{}
	before := 0
	for hours := 30; hours >= -30; hours-- {
		_, shift := local.Add(-time.Duration(hours) * time.Hour).In(location).Zone()
		if hours == 30 {
			before = shift
		}
		offsets[shift] = true
	}
	var first time.Time
	for shift := range offsets {
		at := local.Add(-time.Duration(shift) * time.Second)
		if wall(at).Equal(local) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return local.Add(-time.Duration(before) * time.Second)
	}
	return first
}

func TestLocalTimeAtTransitions(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, zone := range zonesTested {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		var cases []valueCase
		add := func(local time.Time) {
			cases = append(cases, valueCase{local.Format("2006-01-02 15:04:05.000000"), moment(oracleLocal(local, location))})
		}
		for _, at := range transitions(location) {
			_, before := at.Add(-time.Second).Zone()
			_, after := at.Zone()
			for _, shift := range []int{before, after} {
				local := at.UTC().Add(time.Duration(shift) * time.Second)
				for _, near := range []time.Duration{-2 * time.Hour, -time.Microsecond, 0, time.Microsecond, time.Minute, 29*time.Minute + 59*time.Second, 30 * time.Minute, 59 * time.Minute, time.Hour, 3 * time.Hour, 23 * time.Hour, -23 * time.Hour} {
					add(local.Add(near))
				}
				for range 2 {
					add(local.Add(time.Duration(random.Int64N(int64(6*time.Hour)) - int64(3*time.Hour))).Truncate(time.Microsecond))
				}
			}
		}
		for range 200 {
			add(time.UnixMicro(1_104_537_600_000_000 + random.Int64N(660_000_000_000_000)).UTC())
		}
		t.Run(zone, func(t *testing.T) {
			testValues(t, pipeline.ContractColumn{Type: pipeline.ColumnLocalTime, DateFormats: fourFormats}, zone, cases)
		})
	}
}

func TestBusinessDayAtTransitions(t *testing.T) {
	t.Parallel()
	for _, zone := range zonesTested {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		c := &pipeline.Contract{
			ID: "test", Columns: []pipeline.ContractColumn{{Name: "at", Type: pipeline.ColumnInstant}},
			BusinessDay: &pipeline.BusinessDay{Column: "day", Of: "at"},
		}
		var cells [][]string
		var want []string
		for _, at := range append(transitions(location), noon) {
			for hours := -30; hours <= 30; hours++ {
				moment := at.Add(time.Duration(hours)*time.Hour - time.Microsecond)
				cells = append(cells, []string{moment.UTC().Format("2006-01-02T15:04:05.000000Z")})
				want = append(want, moment.In(location).Format(time.DateOnly))
			}
		}
		for i, row := range checkCells(t, c, zone, cells) {
			if row.values["day"] != want[i] {
				t.Errorf("%s: the day of %s is %s, want %s", zone, cells[i][0], row.values["day"], want[i])
			}
		}
	}
}

var oracleLocalTime = regexp.MustCompile(`^(?:(\d{4})-(\d\d)-(\d\d)|(\d{4})/(\d\d)/(\d\d)|(\d\d)\.(\d\d)\.(\d{4})|(\d\d)/(\d\d)/(\d{4}))` +
	`(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?)?$`)

func TestLocalTimeAgainstOracle(t *testing.T) {
	t.Parallel()
	location, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	number := func(text string) int {
		n := 0
		for _, digit := range text {
			n = n*10 + int(digit-'0')
		}
		return n
	}
	oracle := func(cell string) string {
		cell = strings.TrimSpace(cell)
		if nullToken(cell) {
			return null
		}
		p := oracleLocalTime.FindStringSubmatch(cell)
		if p == nil {
			return "!type"
		}
		year, month, day := number(p[1]+p[4]+p[9]+p[12]), number(p[2]+p[5]+p[8]+p[11]), number(p[3]+p[6]+p[7]+p[10])
		hour, minute, second := number(p[13]), number(p[14]), number(p[15])
		local := time.Date(year, time.Month(month), day, hour, minute, second, number(sixDigits(p[16]))*1000, time.UTC)
		if year < 1 || hour > 23 || minute > 59 || second > 59 || local.Day() != day || int(local.Month()) != month {
			return "!type"
		}
		if p[17] != "" {
			return moment(local)
		}
		if p[18] != "" {
			if number(p[19]) > 23 || number(p[20]) > 59 {
				return "!type"
			}
			shift := time.Duration(number(p[19])*60+number(p[20])) * time.Minute
			if p[18] == "-" {
				shift = -shift
			}
			return moment(local.Add(-shift))
		}
		return moment(oracleLocal(local, location))
	}
	day := `((199[0-9]|20[0-3][0-9])-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])|20[0-3][0-9]/(0[0-9]|1[0-3])/([0-2][0-9]|3[0-2])|([0-2][0-9]|3[0-2])\.(0[0-9]|1[0-3])\.20[0-3][0-9]|([0-2][0-9]|3[0-2])/(0[0-9]|1[0-3])/20[0-3][0-9])`
	draw := rapid.OneOf(
		rapid.StringMatching(day), rapid.StringMatching(day+`[Tt ]([01][0-9]|2[0-4]):[0-6][0-9]`),
		rapid.StringMatching(day+`[Tt ]([01][0-9]|2[0-4]):[0-5][0-9]:[0-6][0-9](\.[0-9]{0,8})?([Zz]|[+-][0-2][0-9](:?[0-6][0-9])?)?`),
		rapid.StringMatching(`20[0-3][0-9]-(03-(2[5-9]|3[01])|10-(2[5-9]|3[01])) 0[123]:[0-5][0-9]`),
		pieces(9, "2026", "-01", "-15", "15.", "01.", "/", "T", " ", "10", ":30", ":00", ".5", "Z", "+01", ":00", "x"),
	)
	differ(t, pipeline.ContractColumn{Type: pipeline.ColumnLocalTime, DateFormats: fourFormats}, "Europe/Berlin", draw, oracle)
}
