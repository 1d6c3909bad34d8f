package engine

import (
	"fmt"
	"math/big"
	"strings"
)

// Decimal is an exact decimal number: Value x 10^-Scale.
type Decimal struct {
	Value *big.Int
	Scale int
}

// ParseDecimal reads digits with an optional sign and fraction, such as -12.3400; its scale is the number of fraction digits.
func ParseDecimal(text string) (Decimal, error) {
	digits := strings.TrimLeft(text, "+-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if len(text)-len(digits) > 1 || whole+fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return Decimal{}, fmt.Errorf("%q is not a decimal number", text)
	}
	value, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok {
		return Decimal{}, fmt.Errorf("%q is not a decimal number", text)
	}
	if strings.HasPrefix(text, "-") {
		value.Neg(value)
	}
	return Decimal{Value: value, Scale: len(fraction)}, nil
}

// String writes all fraction digits: 12.3400 at scale 4. The zero Decimal is 0.
func (d Decimal) String() string {
	if d.Value == nil {
		return "0"
	}
	digits := new(big.Int).Abs(d.Value).String()
	if d.Scale > 0 {
		if missing := d.Scale + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		digits = digits[:len(digits)-d.Scale] + "." + digits[len(digits)-d.Scale:]
	}
	if d.Value.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// MarshalJSON writes a JSON number with exactly the digits of String.
func (d Decimal) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }

// Rat is the number as a fraction, for exact arithmetic.
func (d Decimal) Rat() *big.Rat {
	if d.Value == nil {
		return new(big.Rat)
	}
	return new(big.Rat).SetFrac(d.Value, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.Scale)), nil))
}
