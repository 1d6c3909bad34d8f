package lake

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/apache/iceberg-go"
)

// NullPartition is the text of the partition whose rows have no value in the partition column.
const NullPartition = "__null__"

// partitioner turns partition values into text and back, for one transform of one column type.
type partitioner struct {
	transform Transform
	source    iceberg.Type
}

func newPartitioner(transform Transform, source iceberg.Type) (partitioner, error) {
	p := partitioner{transform: transform, source: source}
	switch transform {
	case Month:
		switch source.(type) {
		case iceberg.DateType, iceberg.TimestampType, iceberg.TimestampTzType:
			return p, nil
		}
		return p, fmt.Errorf("a month is taken of a DATE or TIMESTAMP, not of %s", source)
	case Identity:
		switch source.(type) {
		case iceberg.DateType, iceberg.StringType, iceberg.Int32Type, iceberg.Int64Type:
			return p, nil
		}
		return p, fmt.Errorf("a column of type %s cannot partition: use a DATE, VARCHAR, INTEGER or BIGINT", source)
	}
	return p, fmt.Errorf("the transform %q is not known: use %s or %s", transform, Identity, Month)
}

// parse gives the Iceberg value of a partition's text; nil for NullPartition.
func (p partitioner) parse(text string) (any, error) {
	if text == NullPartition {
		return nil, nil
	}
	if p.transform == Month {
		t, err := time.Parse("2006-01", text)
		if err != nil {
			return nil, fmt.Errorf("partition %q is no month such as 2026-01: %w", text, err)
		}
		return monthOf(t), nil
	}
	switch p.source.(type) {
	case iceberg.DateType:
		t, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return nil, fmt.Errorf("partition %q is no day such as 2026-01-31: %w", text, err)
		}
		return iceberg.Date(t.Unix() / 86400), nil
	case iceberg.Int32Type:
		n, err := strconv.ParseInt(text, 10, 32)
		return int32(n), err
	case iceberg.Int64Type:
		return strconv.ParseInt(text, 10, 64)
	}
	return text, nil
}

// text gives the text of a value as a manifest holds it.
func (p partitioner) text(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return NullPartition, nil
	case string:
		return v, nil
	case iceberg.Date:
		return p.number(int64(v)), nil
	case int32:
		return p.number(int64(v)), nil
	case int64:
		return p.number(v), nil
	case int:
		return p.number(int64(v)), nil
	case time.Time:
		return v.UTC().Format(time.DateOnly), nil
	}
	return "", fmt.Errorf("the partition value %v has the unexpected type %T", value, value)
}

func (p partitioner) number(n int64) string {
	if p.transform == Month {
		return time.Date(1970, time.January+time.Month(n), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	}
	if _, ok := p.source.(iceberg.DateType); ok {
		return time.Unix(n*86400, 0).UTC().Format(time.DateOnly)
	}
	return strconv.FormatInt(n, 10)
}

// ofBound gives the text of the partition that a column's lowest or highest value lies in.
func (p partitioner) ofBound(b bound) string {
	if b.number == nil {
		return string(b.text)
	}
	n := b.number.Int64()
	if p.transform != Month {
		return p.number(n)
	}
	var t time.Time
	if _, ok := p.source.(iceberg.DateType); ok {
		t = time.Unix(n*86400, 0).UTC()
	} else {
		t = time.UnixMicro(n).UTC()
	}
	return p.number(int64(monthOf(t)))
}

// monthOf is Iceberg's month: months since January 1970.
func monthOf(t time.Time) int32 {
	return int32((t.Year()-1970)*12 + int(t.Month()) - 1)
}

// bound is the lowest or highest value of a column: a number (of days, of microseconds, unscaled for a decimal) or text.
type bound struct {
	number *big.Int
	text   []byte
}

func (b bound) compare(o bound) int {
	if b.number != nil {
		return b.number.Cmp(o.number)
	}
	return compareBytes(b.text, o.text)
}

// encode gives Iceberg's single-value form of a number.
func (b bound) encode(t iceberg.Type) []byte {
	switch t.(type) {
	case iceberg.Int32Type, iceberg.DateType:
		return binary.LittleEndian.AppendUint32(nil, uint32(b.number.Int64()))
	case iceberg.DecimalType:
		return twosComplement(b.number)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(b.number.Int64()))
}
