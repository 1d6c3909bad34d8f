package engine

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// division is one case of TestQuotientIsExact: sums of 4 and 8 places, and a count.
type division struct {
	a, b, c Decimal
	n       int64
	places  int
}

// TestQuotientIsExact compares quotient and div_exact with fractions of math/big, over sums of up to 10^20.
func TestQuotientIsExact(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{Threads: 1})
	rapid.Check(t, func(r *rapid.T) {
		cases := rapid.SliceOfN(rapid.Custom(drawDivision), 1, 50).Draw(r, "cases")
		var selects []string
		for i, c := range cases {
			selects = append(selects, fmt.Sprintf("(%d, %s::decimal(38,4), %s::decimal(38,4), %s::decimal(38,8), '%d'::bigint, %d)", i, c.a, c.b, c.c, c.n, c.places))
		}
		sql := "select quotient(a, b), quotient(a, n), quotient(c, b), quotient(c, c + 1), div_exact(a, b, places) from (values " +
			strings.Join(selects, ", ") + ") v(i, a, b, c, n, places) order by i"
		rows, err := session.Query(t.Context(), sql, nil)
		if err != nil {
			r.Fatalf("%s: %v", sql, err)
		}
		all, err := rows.All()
		if err != nil {
			r.Fatal(err)
		}
		for i, c := range cases {
			successor := Decimal{Value: new(big.Int).Add(c.c.Value, big.NewInt(1e8)), Scale: 8}
			for j, want := range []*Decimal{
				divided(c.a, c.b, 6, 6), divided(c.a, Decimal{Value: big.NewInt(c.n)}, 6, 6), divided(c.c, c.b, 6, 6), divided(c.c, successor, 6, 6),
				divided(c.a, c.b, c.places, 8),
			} {
				got := all[i][j]
				if want == nil && got != nil || want != nil && (got == nil || got.(Decimal).String() != want.String()) {
					r.Fatalf("%s: column %d is %v, want %v", selects[i], j, got, want)
				}
			}
		}
	})
}

func drawDivision(r *rapid.T) division {
	d := division{a: drawDecimal(r, "a", 24, 4), b: drawDecimal(r, "b", 24, 4), c: drawDecimal(r, "c", 28, 8)}
	d.n = rapid.Int64().Draw(r, "n")
	d.places = rapid.IntRange(0, 8).Draw(r, "places")
	if rapid.Bool().Draw(r, "make a tie") {
		// b x (k + 1/2) / 10^6 lies exactly between two results.
		half := big.NewInt(2*rapid.Int64Range(-1e12, 1e12).Draw(r, "k") + 1)
		m := big.NewInt(rapid.Int64Range(1, 1000).Draw(r, "m"))
		d.b = Decimal{Value: new(big.Int).Mul(m, big.NewInt(2e6)), Scale: 4}
		d.a = Decimal{Value: half.Mul(half, m), Scale: 4}
	}
	return d
}

// drawDecimal draws signed decimals of every size up to a number of digits.
func drawDecimal(r *rapid.T, name string, maxDigits, scale int) Decimal {
	digits := rapid.IntRange(1, maxDigits).Draw(r, name+" digits")
	text := rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), digits, digits, -1).Draw(r, name)
	value, _ := new(big.Int).SetString(text, 10)
	if rapid.Bool().Draw(r, name+" negative") {
		value.Neg(value)
	}
	return Decimal{Value: value, Scale: scale}
}

// divided is a / b rounded half away from zero to a number of places and written at a scale; nil where b is 0.
func divided(a, b Decimal, places, scale int) *Decimal {
	if b.Value.Sign() == 0 {
		return nil
	}
	ten := big.NewInt(10)
	ratio := new(big.Rat).Quo(a.Rat(), b.Rat())
	ratio.Mul(ratio, new(big.Rat).SetInt(new(big.Int).Exp(ten, big.NewInt(int64(places)), nil)))
	half := big.NewRat(1, 2)
	if ratio.Sign() < 0 {
		half.Neg(half)
	}
	ratio.Add(ratio, half)
	value := new(big.Int).Quo(ratio.Num(), ratio.Denom())
	value.Mul(value, new(big.Int).Exp(ten, big.NewInt(int64(scale-places)), nil))
	return &Decimal{Value: value, Scale: scale}
}

func TestQuotientWherePeopleUseIt(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	const lines = "(values ('x', 10.00::decimal(18,4), 3), ('x', 0.01, 4), ('y', -5.5, 0)) l(p, r, u)"
	wantRows(t, session, "select p, quotient(sum(r), sum(u)), quotient(sum(r), sum(sum(r)) over ()), typeof(quotient(sum(r), count(*))) from "+lines+
		" group by p having quotient(sum(r), 1) < 100 order by quotient(sum(r), count(*)) desc", nil,
		"x|1.430000|2.219512|DECIMAL(38,6)", "y|<nil>|-1.219512|DECIMAL(38,6)")
	wantRows(t, session, "select quotient(1, 3), quotient(-2, 3), quotient(1, 0), quotient(null, 1), quotient(1, null), quotient(0, 5), typeof(quotient(1, 0))", nil,
		"0.333333|-0.666667|<nil>|<nil>|<nil>|0.000000|DECIMAL(38,6)")
	wantRows(t, session, "select quotient(100000000000000000000.1234::decimal(38,4), 0.0003::decimal(38,4)), quotient(99999999999999999999.9999::decimal(38,4), -99999999999999999999.9998::decimal(38,4))", nil,
		"333333333333333333333744.666667|-1.000000")
	if _, err := session.Query(t.Context(), "select div_exact(1, 3, 9)", nil); err == nil || !strings.Contains(err.Error(), "places must be 0 to 8") {
		t.Errorf("want an error for 9 places, got %v", err)
	}
}

func TestBusinessDay(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{
		"":                 "2026-01-01T00:00:00Z|2026-03-29T00:00:00Z|1969-12-31T00:00:00Z|<nil>",
		"UTC":              "2026-01-01T00:00:00Z|2026-03-29T00:00:00Z|1969-12-31T00:00:00Z|<nil>",
		"Europe/Berlin":    "2026-01-02T00:00:00Z|2026-03-30T00:00:00Z|1970-01-01T00:00:00Z|<nil>",
		"America/New_York": "2026-01-01T00:00:00Z|2026-03-29T00:00:00Z|1969-12-31T00:00:00Z|<nil>",
	} {
		session := open1(t, Options{TimeZone: zone})
		wantRows(t, session, `select business_day('2026-01-01 23:30:00+00'::timestamptz), business_day('2026-03-29 22:00:00+00'::timestamptz),
			business_day('1969-12-31 23:59:59.999999+00'::timestamptz), business_day(null)`, nil, want)
	}
}
