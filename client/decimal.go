package client

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/cockroachdb/apd/v3"
)

// Decimal is an exact decimal number, as the server computed it. It is immutable; the zero value is 0.
type Decimal struct {
	// A nil pointer is 0. What it points to never changes: apd.Decimal must not be copied by value.
	d *apd.Decimal
}

// exact computes without rounding: amounts have 38 digits at most, products of two 76.
var exact = apd.BaseContext.WithPrecision(200)

// ParseDecimal reads digits with an optional sign, point and exponent. NaN and infinities are errors.
func ParseDecimal(s string) (Decimal, error) {
	d, _, err := apd.NewFromString(s)
	if err != nil {
		return Decimal{}, fmt.Errorf("parse decimal %q: %w", s, err)
	}
	if d.Form != apd.Finite {
		return Decimal{}, fmt.Errorf("parse decimal %q: it is not a finite number", s)
	}
	return Decimal{d}, nil
}

// NewDecimal returns coefficient x 10^-scale: NewDecimal(1234, 2) is 12.34.
func NewDecimal(coefficient int64, scale int32) Decimal { return Decimal{apd.New(coefficient, -scale)} }

// Apd returns a copy as apd.Decimal, for arithmetic beyond what is here.
func (a Decimal) Apd() *apd.Decimal { return new(apd.Decimal).Set(a.value()) }

// Rat returns the exact value as a fraction.
func (a Decimal) Rat() *big.Rat {
	r, ok := new(big.Rat).SetString(a.value().Text('f'))
	if !ok {
		// The text of a finite decimal is a fraction's text always.
		panic("client: decimal " + a.String() + " is no fraction")
	}
	return r
}

// String returns plain digits with every place that the server sent: 12.3400.
func (a Decimal) String() string { return a.value().Text('f') }

// Cmp compares by value: -1, 0 or 1; 1.50 equals 1.5.
func (a Decimal) Cmp(b Decimal) int { return a.value().Cmp(b.value()) }

// Sign is -1, 0 or 1.
func (a Decimal) Sign() int { return a.value().Sign() }

// Add returns a + b.
func (a Decimal) Add(b Decimal) Decimal { return a.with(b, exact.Add) }

// Sub returns a - b.
func (a Decimal) Sub(b Decimal) Decimal { return a.with(b, exact.Sub) }

// Mul returns a x b.
func (a Decimal) Mul(b Decimal) Decimal { return a.with(b, exact.Mul) }

// Round returns a with this many places, half rounded away from zero.
func (a Decimal) Round(places int32) Decimal {
	c := *exact
	c.Rounding = apd.RoundHalfUp // "up" is away from zero in apd.
	d := new(apd.Decimal)
	if _, err := c.Quantize(d, a.value(), -places); err != nil {
		panic("client: round " + a.String() + ": " + err.Error())
	}
	return Decimal{d}
}

// Float64 returns the nearest float, for plots; do not compute money with it.
func (a Decimal) Float64() float64 {
	f, _ := a.Rat().Float64()
	return f
}

// MarshalJSON writes a JSON number with exact digits.
func (a Decimal) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalJSON reads a JSON number or a string of digits.
func (a *Decimal) UnmarshalJSON(b []byte) error {
	d, err := ParseDecimal(string(bytes.Trim(b, `"`)))
	if err != nil {
		return err
	}
	*a = d
	return nil
}

func (a Decimal) value() *apd.Decimal {
	if a.d == nil {
		return new(apd.Decimal)
	}
	return a.d
}

// with applies an operation whose result is exact. It can fail only on exponents that no column type holds.
func (a Decimal) with(b Decimal, op func(d, x, y *apd.Decimal) (apd.Condition, error)) Decimal {
	d := new(apd.Decimal)
	if _, err := op(d, a.value(), b.value()); err != nil {
		panic("client: decimals " + a.String() + " and " + b.String() + ": " + err.Error())
	}
	return Decimal{d}
}
