package lake

import (
	"bytes"
	"math/big"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTwosComplement(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64][]byte{0: {0}, 1: {1}, 127: {127}, 128: {0, 128}, -1: {255}, -128: {128}, -129: {255, 127}, 12345: {48, 57}} {
		if got := twosComplement(big.NewInt(n)); !bytes.Equal(got, want) {
			t.Errorf("%d is %v, want %v", n, got, want)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		n := new(big.Int).Mul(big.NewInt(rapid.Int64().Draw(r, "a")), big.NewInt(rapid.Int64().Draw(r, "b")))
		back, ok := decodeDecimal(true, twosComplement(n))
		if !ok || back.number.Cmp(n) != 0 {
			r.Fatalf("%s became %s", n, back.number)
		}
	})
}

func TestTextBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := []byte(rapid.StringOfN(rapid.OneOf(rapid.Rune(), rapid.Just('\U0010ffff'), rapid.Just('\ud7ff')), 0, 40, -1).Draw(r, "text"))
		lower, upper := lowerText(s), upperText(s)
		if bytes.Compare(lower, s) > 0 || utf8.RuneCount(lower) > boundRunes || !utf8.Valid(lower) {
			r.Fatalf("lower bound %q of %q", lower, s)
		}
		if upper == nil {
			// Only where the whole prefix is of the highest character is there no higher text.
			if !bytes.Equal(lower, bytes.Repeat([]byte("\U0010ffff"), boundRunes)) {
				r.Fatalf("no upper bound of %q", s)
			}
			return
		}
		if bytes.Compare(upper, s) < 0 || utf8.RuneCount(upper) > boundRunes || !utf8.Valid(upper) {
			r.Fatalf("upper bound %q of %q", upper, s)
		}
	})
}
