package pipeline_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// day is the nth day of a span that holds a leap day and the turn of a year.
func day(n int) string {
	return time.Date(2023, 12, 20, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n).Format(time.DateOnly)
}

const span = 90

var (
	dateTransforms = rapid.SampledFrom([]pipeline.Transform{pipeline.TransformDay, pipeline.TransformMonth})
	anyDay         = rapid.Map(rapid.IntRange(0, span-1), day)
)

// partitionsOfAll are the partitions of every day of the span.
func partitionsOfAll(t pipeline.Transform) []string {
	var all []string
	for n := range span {
		if part := pipeline.Coarsen(t, day(n)); !slices.Contains(all, part) {
			all = append(all, part)
		}
	}
	return all
}

func TestDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		transform             pipeline.Transform
		from, to, first, last string
	}{
		{pipeline.TransformDay, "2024-02-28", "2024-02-28", "2024-02-28", "2024-02-28"},
		{pipeline.TransformMonth, "2024-02", "2024-02", "2024-02-01", "2024-02-29"},
		{pipeline.TransformMonth, "2023-12", "2024-01", "2023-12-01", "2024-01-31"},
	} {
		if first, last := pipeline.Days(c.transform, c.from, c.to); first != c.first || last != c.last {
			t.Errorf("%s %s to %s: %s to %s, want %s to %s", c.transform, c.from, c.to, first, last, c.first, c.last)
		}
	}
}

// A day lies in its partition, and in no other.
func TestCoarsen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		transform, d := dateTransforms.Draw(t, "transform"), anyDay.Draw(t, "day")
		part := pipeline.Coarsen(transform, d)
		for _, other := range partitionsOfAll(transform) {
			first, last := pipeline.Days(transform, other, other)
			if within := first <= d && d <= last; within != (other == part) {
				t.Fatalf("%s lies in %s (%s to %s): %t", d, other, first, last, within)
			}
		}
		if pipeline.Coarsen(transform, part) != part {
			t.Fatalf("%s is coarser than itself", part)
		}
	})
}

func TestAligned(t *testing.T) {
	t.Parallel()
	part := func(transform pipeline.Transform) pipeline.Partition {
		return pipeline.Partition{Transform: transform, Column: "c"}
	}
	day, month, text, none := part(pipeline.TransformDay), part(pipeline.TransformMonth), part(pipeline.TransformIdentity), pipeline.Partition{}
	for _, c := range []struct {
		input, model pipeline.Partition
		want         bool
	}{
		{day, day, true}, {day, month, true}, {month, month, true}, {month, day, false}, {text, day, false}, {day, text, false},
		{none, day, false}, {day, none, false}, {none, none, false},
	} {
		if pipeline.Aligned(c.input, c.model) != c.want {
			t.Errorf("%+v and %+v: %t", c.input, c.model, !c.want)
		}
	}
}

// An interval splits the touched partitions: what has a day within is built, the rest is told, nothing is lost.
func TestWithin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		transform := dateTransforms.Draw(t, "transform")
		touched := map[string]string{}
		for _, d := range rapid.SliceOf(anyDay).Draw(t, "touched") {
			touched[pipeline.Coarsen(transform, d)] = "because"
		}
		bound := rapid.OneOf(rapid.Just(""), anyDay)
		from, to := bound.Draw(t, "from"), bound.Draw(t, "to")
		build, outside := pipeline.Within(pipeline.Partition{Transform: transform, Column: "c"}, touched, from, to)
		for part := range touched {
			_, built := build[part]
			_, told := outside[part]
			if built == told {
				t.Fatalf("%s is built: %t, and outside: %t", part, built, told)
			}
			overlaps := from == "" && to == ""
			for n := -40; n < span+40; n++ {
				d := day(n)
				overlaps = overlaps || pipeline.Coarsen(transform, d) == part && (from == "" || d >= from) && (to == "" || d < to)
			}
			// An interval that is empty or upside down may hold nothing, or a partition around it: no more than that.
			if built != overlaps && (from == "" || to == "" || from < to) {
				t.Fatalf("%s within %q to %q is built: %t", part, from, to, built)
			}
		}
		if len(build)+len(outside) != len(touched) {
			t.Fatalf("%d of %d partitions", len(build)+len(outside), len(touched))
		}
	})
}

func TestWithinOfUndatedTables(t *testing.T) {
	t.Parallel()
	touched := map[string]string{"": "because", "orders": "because"}
	for _, p := range []pipeline.Partition{{}, {Transform: pipeline.TransformIdentity, Column: "source"}} {
		build, outside := pipeline.Within(p, touched, "2024-01-01", "2024-01-02")
		if len(build) != 2 || len(outside) != 0 {
			t.Errorf("%+v: built %v, outside %v", p, build, outside)
		}
	}
}

// Days reach as far as is said, in both directions.
func TestReachedByDays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		transform, reach := dateTransforms.Draw(t, "transform"), rapid.IntRange(0, 40).Draw(t, "reach")
		from := rapid.IntRange(0, span-1).Draw(t, "day")
		got := pipeline.ReachedByDays(transform, []string{day(from)}, reach)
		var want []string
		for n := from - reach; n <= from+reach; n++ {
			if part := pipeline.Coarsen(transform, day(n)); !slices.Contains(want, part) {
				want = append(want, part)
			}
		}
		if !cmp.Equal(got, want) {
			t.Fatalf("%d days around %s reach %v, want %v", reach, day(from), got, want)
		}
	})
}

// snapshots are prices by day and product, as an input that is read as of a day.
type snapshots map[string]map[string]int

func (s snapshots) days() []string { return slices.Sorted(maps.Keys(s)) }

// asOf is the price of a product on its latest snapshot up to a day; 0 where there is none.
func (s snapshots) asOf(product, d string) int {
	days := s.days()
	for i := len(days) - 1; i >= 0; i-- {
		if price, there := s[days[i]][product]; there && days[i] <= d {
			return price
		}
	}
	return 0
}

func drawSnapshots(t *rapid.T, label string, products []string) snapshots {
	s := snapshots{}
	for _, d := range rapid.SliceOfNDistinct(anyDay, 0, 5, rapid.ID[string]).Draw(t, label) {
		prices := map[string]int{}
		for _, product := range products {
			if price := rapid.IntRange(0, 3).Draw(t, product); price > 0 {
				prices[product] = price
			}
		}
		if len(prices) > 0 {
			s[d] = prices
		}
	}
	return s
}

// Every partition in which anything as of a day is another after a change is touched: the change goes on where a later
// snapshot lacks a product.
func TestTouchedAsOf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		transform := dateTransforms.Draw(t, "transform")
		products := []string{"p", "q"}[:rapid.IntRange(1, 2).Draw(t, "products")]
		before, after := drawSnapshots(t, "before", products), drawSnapshots(t, "after", products)
		if rapid.Bool().Draw(t, "small change") {
			// Mostly the same snapshots.
			for d := range before {
				if d != before.days()[0] {
					after[d] = before[d]
				}
			}
		}
		var changedDays []string
		for n := range span {
			for _, product := range products {
				if before[day(n)][product] != after[day(n)][product] {
					changedDays = append(changedDays, day(n))
				}
			}
		}
		partitions := partitionsOfAll(transform)
		touched := pipeline.TouchedAsOf(transform, slices.Compact(changedDays), partitions)
		for n := range span {
			for _, product := range products {
				if before.asOf(product, day(n)) != after.asOf(product, day(n)) && !slices.Contains(touched, pipeline.Coarsen(transform, day(n))) {
					t.Fatalf("%s of %s changed and is not touched: %v", product, day(n), touched)
				}
			}
		}
		for _, part := range touched {
			if !slices.Contains(partitions, part) {
				t.Fatalf("%s is no partition", part)
			}
		}
	})
}

// A change touches nothing before it.
func TestTouchedAsOfBeginsAtTheChange(t *testing.T) {
	t.Parallel()
	days := []string{"2023-12-31", "2024-01-07", "2024-01-08", "2024-06-01"}
	months := []string{"2023-12", "2024-01", "2024-02"}
	for _, c := range []struct {
		transform           pipeline.Transform
		changed, partitions []string
		want                []string
	}{
		{pipeline.TransformDay, nil, days, nil},
		{pipeline.TransformDay, []string{"2024-01-08"}, days, []string{"2024-01-08", "2024-06-01"}},
		{pipeline.TransformDay, []string{"2024-06-02", "2024-01-07"}, days, []string{"2024-01-07", "2024-01-08", "2024-06-01"}},
		{pipeline.TransformDay, []string{"2024-06-02"}, days, []string{}},
		{pipeline.TransformMonth, []string{"2024-01-31"}, months, []string{"2024-01", "2024-02"}},
	} {
		if got := pipeline.TouchedAsOf(c.transform, c.changed, c.partitions); !cmp.Equal(got, c.want) {
			t.Errorf("%v touches %v, want %v", c.changed, got, c.want)
		}
	}
}

// Every partition is in one task, neighbours stay together, and no split of neighbours has a lighter heaviest task.
func TestTasks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.SliceOfNDistinct(anyDay, 0, 7, rapid.ID[string]).Draw(t, "partitions")
		n := rapid.IntRange(-1, 5).Draw(t, "n")
		weights := map[string]int64{}
		for _, part := range partitions {
			weights[part] = rapid.Int64Range(0, 20).Draw(t, part)
		}
		given := slices.Clone(partitions)
		groups := pipeline.Tasks(partitions, weights, n)
		if !slices.Equal(given, partitions) {
			t.Fatal("the list that was given has changed")
		}
		sorted := slices.Sorted(slices.Values(partitions))
		if !slices.Equal(slices.Concat(groups...), sorted) {
			t.Fatalf("%v became %v", sorted, groups)
		}
		if len(groups) > max(n, 1) || slices.ContainsFunc(groups, func(g []string) bool { return len(g) == 0 }) {
			t.Fatalf("%d groups of at most %d: %v", len(groups), n, groups)
		}
		var heaviest int64
		for _, group := range groups {
			heaviest = max(heaviest, rowsOf(group, weights))
		}
		if len(sorted) > 0 && heaviest != lightest(sorted, weights, max(n, 1)) {
			t.Fatalf("%v: the heaviest has %d, possible is %d", groups, heaviest, lightest(sorted, weights, max(n, 1)))
		}
	})
}

func rowsOf(group []string, weights map[string]int64) (sum int64) {
	for _, part := range group {
		sum += max(weights[part], 1)
	}
	return sum
}

// lightest tries every split into at most n groups of neighbours.
func lightest(sorted []string, weights map[string]int64, n int) int64 {
	best := rowsOf(sorted, weights)
	if n == 1 {
		return best
	}
	for i := 1; i < len(sorted); i++ {
		best = min(best, max(rowsOf(sorted[:i], weights), lightest(sorted[i:], weights, n-1)))
	}
	return best
}

func TestTasksOfOnePartition(t *testing.T) {
	t.Parallel()
	if got := pipeline.Tasks([]string{""}, nil, 4); !cmp.Equal(got, [][]string{{""}}) {
		t.Errorf("got %v", got)
	}
}

// The fingerprint changes with what rows follow from, and with nothing else.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	base := load(t, changed(nil))
	const version = "1.0"
	tables := base.Tables()
	same := func(files map[string]string, but ...string) {
		t.Helper()
		p := load(t, changed(files))
		for _, table := range tables {
			differs := pipeline.Fingerprint(base, table, version) != pipeline.Fingerprint(p, table, version)
			if differs != slices.Contains(but, table) {
				t.Errorf("%v: the fingerprint of %s differs: %t", slices.Collect(maps.Keys(files)), table, differs)
			}
		}
	}
	same(nil)
	same(edited(t, "pipeline.yaml", "name: small", "name: other"))
	same(edited(t, "pipeline.yaml", "Europe/Berlin", "UTC"), tables...)
	same(edited(t, "pipeline.yaml", "EUR", "USD"), "silver.sales", "gold.daily")
	same(edited(t, "silver/sales.sql", "FROM bronze.sales", "-- the raw rows\n    FROM   bronze.sales"))
	same(edited(t, "silver/sales.sql", "Sales, each once.", "Sales."))
	same(edited(t, "silver/sales.sql", "DESC) = 1", "ASC) = 1"), "silver.sales")
	same(edited(t, "silver/sales.sql", "reach: any", "reach: 3 days"), "silver.sales")
	same(edited(t, "silver/sales.sql", "month(sale_date)", "sale_date"), "silver.sales")
	same(edited(t, "contracts/sales.odcs.yaml", "name: quantity, logicalType: integer", "name: quantity, logicalType: integer, required: true"), "bronze.sales", "silver.sales")
	same(edited(t, "contracts/sales.odcs.yaml", "version: 1.0.0", "version: 1.0.1"))
	same(edited(t, "kpis/revenue.sql", "least: decimal = 0.5", "least: decimal = 0.7"))
	if pipeline.Fingerprint(base, "gold.daily", "1.0") == pipeline.Fingerprint(base, "gold.daily", "1.1") {
		t.Error("another engine does not change the fingerprint of a model")
	}
	if pipeline.Fingerprint(base, "bronze.sales", "1.0") != pipeline.Fingerprint(base, "bronze.sales", "1.1") {
		t.Error("another engine reads all files again")
	}
	if pipeline.Fingerprint(base, "gold.none", version) != "" {
		t.Error("a table that is none has a fingerprint")
	}
}

// A pipeline of random tables that read older ones: each stands after those that it reads, and a flow has all that it needs.
func TestGraphOfManyTables(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		files := columns("{name: a, logicalType: string}")
		names := []string{"bronze.sales"}
		for i := range rapid.IntRange(1, 6).Draw(rt, "tables") {
			layer := rapid.SampledFrom([]string{"silver", "gold"}).Draw(rt, "layer")
			inputs := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID[string]).Draw(rt, "inputs")
			// Names against the order, so that sorting by name is not enough.
			name := fmt.Sprintf("%c", 'z'-rune(i))
			files[layer+"/"+name+".sql"] = "SELECT a FROM " + inputs[0]
			if len(inputs) > 1 {
				files[layer+"/"+name+".sql"] = "SELECT a FROM " + inputs[0] + " JOIN " + strings.Join(inputs[1:], " USING (a) JOIN ") + " USING (a)"
			}
			names = append(names, layer+"."+name)
		}
		p := load(t, changed(files))
		order := p.Tables()
		if len(order) != len(names) {
			rt.Fatalf("%v of %v", order, names)
		}
		for i, table := range order {
			for _, input := range p.DependsOn(table) {
				if slices.Index(order, input) >= i {
					rt.Fatalf("%s stands before %s: %v", table, input, order)
				}
				if !slices.Contains(p.Downstream(input), table) || !slices.Contains(p.Upstream(table), input) {
					rt.Fatalf("%s reads %s, and one does not know the other", table, input)
				}
			}
			chosen := p.TablesOf(&pipeline.Flow{Select: []string{table}})
			for _, member := range chosen {
				for _, input := range p.DependsOn(member) {
					if !slices.Contains(chosen, input) {
						rt.Fatalf("a flow with %s lacks %s", member, input)
					}
				}
			}
			if !slices.Contains(chosen, table) || len(chosen) != len(p.Upstream(table))+1 {
				rt.Fatalf("a flow of %s has %v", table, chosen)
			}
		}
	})
}

// A table is checked again where its own checks do something else, not where other words are found for the same.
func TestChecksFingerprint(t *testing.T) {
	t.Parallel()
	base := load(t, changed(nil))
	of := func(files map[string]string, table string) string {
		return pipeline.ChecksFingerprint(load(t, changed(files)), table)
	}
	before := pipeline.ChecksFingerprint(base, "silver.sales")
	if before == "" || pipeline.ChecksFingerprint(base, "bronze.sales") != "" {
		t.Error("silver.sales has a check, bronze.sales has none")
	}
	const check = "checks/positive.sql"
	if of(edited(t, check, "WHERE price", "WHERE -- why not\n price"), "silver.sales") != before {
		t.Error("a comment is a change")
	}
	if of(edited(t, check, "severity: warn", "severity: error"), "silver.sales") == before {
		t.Error("another severity is no change")
	}
	if of(edited(t, check, "< 0", "<= 0"), "silver.sales") == before {
		t.Error("another SQL is no change")
	}
	if of(edited(t, "silver/sales.sql", "Sales, each once.", "Sales."), "silver.sales") != before {
		t.Error("what is said of the table changes its checks")
	}
}
