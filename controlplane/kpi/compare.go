package kpi

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/engine"
)

// ratioPlaces is how many digits after the point computed numbers have, rounded half away from zero.
const ratioPlaces = 6

// changes says of each row, by column, how much it differs from the row of before that has the same texts, as a part of
// that one. A column is absent where there is no such row or more than one, a value is missing, or the one before is 0.
func changes(now, before *shoplakev1.RowSet) []*structpb.Struct {
	byText := map[string]*structpb.Struct{}
	for _, row := range before.GetRows() {
		key := texts(before.GetColumns(), row)
		if _, twice := byText[key]; twice {
			byText[key] = nil
			continue
		}
		byText[key] = row
	}
	list := make([]*structpb.Struct, 0, len(now.GetRows()))
	for _, row := range now.GetRows() {
		change := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		list = append(list, change)
		other := byText[texts(now.GetColumns(), row)]
		for _, column := range now.GetColumns() {
			a, b := number(row, column), number(other, column)
			if a == nil || b == nil || b.Sign() == 0 {
				continue
			}
			ratio := new(big.Rat).Quo(new(big.Rat).Sub(a, b), new(big.Rat).Abs(b))
			change.Fields[column.GetName()] = structpb.NewStringValue(ratio.FloatString(ratioPlaces))
		}
	}
	return list
}

// averages says of each row, by column, the mean of it and the rows before it that have the same texts, n in all. A column
// is absent where there are fewer rows or a value is missing.
func averages(set *shoplakev1.RowSet, n int) []*structpb.Struct {
	last := map[string][]*structpb.Struct{}
	list := make([]*structpb.Struct, 0, len(set.GetRows()))
	for _, row := range set.GetRows() {
		key := texts(set.GetColumns(), row)
		window := append(last[key], row)
		if len(window) > n {
			window = window[1:]
		}
		last[key] = window
		mean := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		list = append(list, mean)
		if len(window) < n {
			continue
		}
		for _, column := range set.GetColumns() {
			if sum := total(window, column); sum != nil {
				mean.Fields[column.GetName()] = structpb.NewStringValue(sum.Quo(sum, big.NewRat(int64(n), 1)).FloatString(ratioPlaces))
			}
		}
	}
	return list
}

// total is the sum of a column, nil where it is no number or a value is missing.
func total(rows []*structpb.Struct, column *shoplakev1.Column) *big.Rat {
	sum := new(big.Rat)
	for _, row := range rows {
		value := number(row, column)
		if value == nil {
			return nil
		}
		sum.Add(sum, value)
	}
	return sum
}

// texts are a row's texts: what tells it from the others of a result.
func texts(columns []*shoplakev1.Column, row *structpb.Struct) string {
	var key strings.Builder
	for _, column := range columns {
		if column.GetType() == shoplakev1.ColumnType_COLUMN_TYPE_STRING {
			fmt.Fprintf(&key, "%q,", row.GetFields()[column.GetName()].GetStringValue())
		}
	}
	return key.String()
}

// number is a row's value of a column that holds exact numbers, nil where it is none or missing.
func number(row *structpb.Struct, column *shoplakev1.Column) *big.Rat {
	switch column.GetType() {
	case shoplakev1.ColumnType_COLUMN_TYPE_INT64, shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL:
	default:
		return nil
	}
	text, ok := row.GetFields()[column.GetName()].GetKind().(*structpb.Value_StringValue)
	if !ok {
		return nil
	}
	value, err := engine.ParseDecimal(text.StringValue)
	if err != nil {
		return nil
	}
	return value.Rat()
}

// interval is a range of business days; the end is the day after the last.
type interval struct{ start, end string }

// parts cuts a range into n parts of whole days, which differ by a day at most; fewer where the range has fewer days.
func parts(start, end string, n int) ([]interval, error) {
	from, err := time.Parse(time.DateOnly, start)
	if err != nil {
		return nil, fmt.Errorf("%w: trend_points needs the first day of the range: give start_date", ErrParameter)
	}
	to, err := time.Parse(time.DateOnly, end)
	if err != nil {
		return nil, fmt.Errorf("%w: trend_points needs the end of the range: give end_date", ErrParameter)
	}
	days := int(to.Sub(from).Hours() / 24)
	n = max(0, min(n, days))
	list := make([]interval, 0, n)
	for i := range n {
		list = append(list, interval{
			start: from.AddDate(0, 0, i*days/n).Format(time.DateOnly), end: from.AddDate(0, 0, (i+1)*days/n).Format(time.DateOnly),
		})
	}
	return list, nil
}
