package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// NullPartition is the partition of rows whose partition column is null.
const NullPartition = "__null__"

// PartitionSQL is the SQL expression of the partition, as text, that a row lies in.
func PartitionSQL(t Transform, column string) string {
	text := fmt.Sprintf(`CAST(%q AS VARCHAR)`, column)
	if t == TransformMonth {
		text = fmt.Sprintf(`strftime(%q, '%%Y-%%m')`, column)
	}
	return fmt.Sprintf(`coalesce(%s, '%s')`, text, NullPartition)
}

// WithinSQL is the SQL condition that a row lies in one of the partitions. Unlike a comparison of PartitionSQL it lets the
// engine pass over whole parts of a file, and is no work for each row. It is never null for rows of these partitions, but may
// be for others.
func WithinSQL(t Transform, column string, partitions []string) string {
	var conditions, texts []string
	var spans []span
	for _, partition := range partitions {
		switch s, ok := spanOf(t, partition); {
		case partition == NullPartition:
			conditions = append(conditions, fmt.Sprintf("%q IS NULL", column))
		case ok:
			spans = append(spans, s)
		default:
			texts = append(texts, "'"+strings.ReplaceAll(partition, "'", "''")+"'")
		}
	}
	for _, s := range joined(spans) {
		conditions = append(conditions, fmt.Sprintf("(%q >= DATE '%s' AND %q < DATE '%s')", column, s.from.Format(time.DateOnly), column, s.to.Format(time.DateOnly)))
	}
	if len(texts) > 0 || len(conditions) == 0 {
		conditions = append(conditions, fmt.Sprintf("%s IN (%s)", PartitionSQL(t, column), strings.Join(append(texts, "NULL"), ", ")))
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// span is from a day, inclusive, to another, exclusive.
type span struct{ from, to time.Time }

// spanOf is what a partition spans, where it is a date.
func spanOf(t Transform, partition string) (span, bool) {
	switch t {
	case TransformDay:
		day, err := time.Parse(time.DateOnly, partition)
		return span{day, day.AddDate(0, 0, 1)}, err == nil
	case TransformMonth:
		month, err := time.Parse("2006-01", partition)
		return span{month, month.AddDate(0, 1, 0)}, err == nil
	}
	return span{}, false
}

// joined makes one span of those that follow each other.
func joined(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var whole []span
	for _, s := range spans {
		if last := len(whole) - 1; last >= 0 && !s.from.After(whole[last].to) {
			whole[last].to = s.to
			continue
		}
		whole = append(whole, s)
	}
	return whole
}

// Aligned says whether the partitions of an input tell those of a model: both are of a date, and the input's are as fine or finer.
func Aligned(input, model Partition) bool {
	switch model.Transform {
	case TransformMonth:
		return input.Transform == TransformMonth || input.Transform == TransformDay
	case TransformDay:
		return input.Transform == TransformDay
	}
	return false
}

// Coarsen is the partition, by a transform, that a finer (or equal) partition lies in: of the day 2026-01-15 the month 2026-01.
func Coarsen(t Transform, partition string) string {
	if t == TransformMonth && partition != NullPartition && len(partition) > len("2006-01") {
		return partition[:len("2006-01")]
	}
	return partition
}

// Days are the first and the last day of partitions from one to another. Partitions that are no dates have none.
func Days(t Transform, from, to string) (first, last string) {
	if from == NullPartition || to == NullPartition {
		return "", ""
	}
	if t != TransformMonth {
		return from, to
	}
	end, err := time.Parse("2006-01", to)
	if err != nil {
		return "", ""
	}
	return from + "-01", end.AddDate(0, 1, -1).Format(time.DateOnly)
}

// DaysOf are the days of a partition, sorted. A partition that is no date has none.
func DaysOf(t Transform, partition string) []string {
	s, ok := spanOf(t, partition)
	if !ok {
		return nil
	}
	var days []string
	for day := s.from; day.Before(s.to); day = day.AddDate(0, 0, 1) {
		days = append(days, day.Format(time.DateOnly))
	}
	return days
}

// Within splits touched partitions (each with its reason) into those that an interval of business days lets build and those
// outside. from is inclusive, to exclusive, either may be empty; a partition that overlaps the interval is built whole.
// Rows without a date lie outside every interval. A table that is not partitioned by date is always built.
func Within[Reason any](p Partition, touched map[string]Reason, from, to string) (build, outside map[string]Reason) {
	if p.Transform != TransformDay && p.Transform != TransformMonth || from == "" && to == "" {
		return touched, nil
	}
	build, outside = map[string]Reason{}, map[string]Reason{}
	for partition, reason := range touched {
		first, last := Days(p.Transform, partition, partition)
		if partition != NullPartition && (to == "" || first < to) && (from == "" || last >= from) {
			build[partition] = reason
		} else {
			outside[partition] = reason
		}
	}
	return build, outside
}

// ReachedByDays are the partitions that lie within some days of days (2026-01-15), sorted.
func ReachedByDays(t Transform, days []string, reach int) []string {
	reached := map[string]bool{}
	for _, day := range days {
		date, err := time.Parse(time.DateOnly, day)
		if err != nil {
			continue
		}
		for offset := -reach; offset <= reach; offset++ {
			reached[Coarsen(t, date.AddDate(0, 0, offset).Format(time.DateOnly))] = true
		}
	}
	return sorted(reached)
}

// TouchedAsOf are those of the partitions that a change of an `asof` input touches: a change on a day reaches that day and
// every later one. Not only until the next day that the input has: what is missing there, a product of which that day's
// snapshot has no row, still stands as of the day before.
func TouchedAsOf(t Transform, changed, partitions []string) []string {
	touched := map[string]bool{}
	if len(changed) == 0 {
		return nil
	}
	earliest := slices.Min(changed)
	for _, partition := range partitions {
		if _, last := Days(t, partition, partition); last >= earliest || partition == NullPartition {
			touched[partition] = true
		}
	}
	return sorted(touched)
}

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.SortFunc(list, strings.Compare)
	return list
}
