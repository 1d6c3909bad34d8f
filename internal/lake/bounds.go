package lake

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"unicode/utf8"

	"github.com/apache/iceberg-go"
)

// boundRunes is how much of a text's lowest and highest value an entry keeps, as other Iceberg writers do.
const boundRunes = 16

func compareBytes(a, b []byte) int { return bytes.Compare(a, b) }

// decodeBound reads a Parquet statistic. The second result is false where the type has no bounds that are safe to use:
// floating point (NaN stands outside of the order), booleans and binary (of no use), times.
func decodeBound(t iceberg.Type, raw []byte) (bound, bool) {
	switch t.(type) {
	case iceberg.StringType:
		return bound{text: raw}, utf8.Valid(raw)
	case iceberg.Int32Type, iceberg.DateType:
		if len(raw) != 4 {
			return bound{}, false
		}
		return bound{number: big.NewInt(int64(int32(binary.LittleEndian.Uint32(raw))))}, true
	case iceberg.Int64Type, iceberg.TimestampType, iceberg.TimestampTzType:
		if len(raw) != 8 {
			return bound{}, false
		}
		return bound{number: big.NewInt(int64(binary.LittleEndian.Uint64(raw)))}, true
	}
	return bound{}, false
}

// decodeDecimal reads the statistic of a decimal, which is kept by its precision as an integer or as big-endian bytes.
func decodeDecimal(fixed bool, raw []byte) (bound, bool) {
	switch {
	case fixed && len(raw) > 0:
		n := new(big.Int).SetBytes(raw)
		if raw[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
		return bound{number: n}, true
	case !fixed && len(raw) == 4:
		return decodeBound(iceberg.PrimitiveTypes.Int32, raw)
	case !fixed && len(raw) == 8:
		return decodeBound(iceberg.PrimitiveTypes.Int64, raw)
	}
	return bound{}, false
}

// twosComplement gives a number as the fewest big-endian bytes.
func twosComplement(n *big.Int) []byte {
	if n.Sign() >= 0 {
		b := n.Bytes()
		if len(b) == 0 || b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	// -n-1 has the same bits inverted.
	b := new(big.Int).Not(n).Bytes()
	if len(b) == 0 || b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	for i := range b {
		b[i] = ^b[i]
	}
	return b
}

// lowerText cuts a text to a prefix, which is never above it.
func lowerText(s []byte) []byte {
	for i, n := 0, 0; i < len(s); n++ {
		if n == boundRunes {
			return s[:i]
		}
		_, size := utf8.DecodeRune(s[i:])
		i += size
	}
	return s
}

// upperText cuts a text to a prefix and raises its last character, so that it is never below the text; nil where no
// text of that length is.
func upperText(s []byte) []byte {
	cut := lowerText(s)
	if len(cut) == len(s) {
		return s
	}
	runes := []rune(string(cut))
	for i := len(runes) - 1; i >= 0; i-- {
		next := runes[i] + 1
		if next == 0xD800 { // surrogates are no characters
			next = 0xE000
		}
		if next <= utf8.MaxRune {
			return []byte(string(runes[:i]) + string(next))
		}
	}
	return nil
}
