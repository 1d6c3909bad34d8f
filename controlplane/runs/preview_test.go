package runs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

func TestCausesInWords(t *testing.T) {
	t.Parallel()
	many := make([]string, 0, 30)
	for i := range 30 {
		many = append(many, fmt.Sprintf("orders/%02d.csv", i))
	}
	note := func(string) string { return "new file" }
	for _, c := range []struct {
		causes causes
		note   func(string) string
		want   string
	}{
		{causedBy(), note, ""},
		{causedBy("orders/b.csv"), nil, "orders/b.csv"},
		{causedBy("orders/b.csv"), note, "orders/b.csv (new file)"},
		{causedBy("orders/b.csv").and(causedBy("orders/a.csv")), nil, "orders/a.csv and orders/b.csv"},
		{causedBy("orders/b.csv", "orders/a.csv"), note, "orders/a.csv (new file) and 1 more"},
		{causedBy(many[:5]...).and(causedBy(many[3:6]...)), nil, "orders/00.csv and 5 more"},
		{causedBy(many...), nil, "orders/00.csv and at least 29 more"},
		{causedBy(many...).and(causedBy("a/a.csv")), nil, "a/a.csv and at least 29 more"},
	} {
		if got := c.causes.words(c.note); got != c.want {
			t.Errorf("%v is told as %q, want %q", c.causes, got, c.want)
		}
		if len(c.causes.named) > causesNamed {
			t.Errorf("%d causes are named", len(c.causes.named))
		}
	}
}

// TestForeseenFilesAreTheChangesThatTheLakeWillTell compares what a dry run makes of the changes so far and of those to come
// with the difference between the snapshot that the table was built from and the one that would be committed.
func TestForeseenFilesAreTheChangesThatTheLakeWillTell(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.IntRange(0, 9), rapid.ID[int])
		files := func(label string) map[string]bool {
			set := map[string]bool{}
			for _, n := range names.Draw(t, label) {
				set[fmt.Sprint(n)] = true
			}
			return set
		}
		without := func(a, b map[string]bool) []lake.File {
			var list []lake.File
			for _, path := range slices.Sorted(maps.Keys(a)) {
				if !b[path] {
					list = append(list, lake.File{Path: path})
				}
			}
			return list
		}
		built, now, replaced := files("built"), files("now"), files("replaced")
		after := map[string]bool{"staged": true}
		for path := range now {
			if !replaced[path] {
				after[path] = true
			}
		}
		in := &inputState{Input: pipeline.Input{Table: "bronze.orders"}, reasons: map[string]*dispatchv1.PlannedPartition{},
			files: without(now, nil), added: without(now, built), removed: without(built, now)}
		in.foresee(&preview{added: []lake.File{{Path: "staged"}}, replaced: replaced}, false)
		order := func(list []lake.File) []string {
			paths := []string{}
			for _, f := range list {
				paths = append(paths, f.Path)
			}
			slices.Sort(paths)
			return paths
		}
		for what, pair := range map[string][2][]lake.File{
			"files": {in.files, without(after, nil)}, "added": {in.added, without(after, built)}, "removed": {in.removed, without(built, after)},
		} {
			if diff := cmp.Diff(order(pair[1]), order(pair[0])); diff != "" {
				t.Fatalf("%s (-want +foreseen):\n%s", what, diff)
			}
		}
	})
}

// TestWhatIsBuiltAfterATableThatIsNotYet plans models whose input a dry run would build in January and March, of which no file is
// there: whatever is told follows from the partitions alone.
func TestWhatIsBuiltAfterATableThatIsNotYet(t *testing.T) {
	t.Parallel()
	month := func(column string) pipeline.Partition {
		return pipeline.Partition{Transform: pipeline.TransformMonth, Column: column}
	}
	day := pipeline.Partition{Transform: pipeline.TransformDay, Column: "day"}
	current := []lake.File{{Path: "1", Partition: "2026-01"}, {Path: "2", Partition: "2026-02"}, {Path: "3", Partition: "2026-04"}}
	const changed = "silver.orders changed, by orders/a.csv"
	for name, c := range map[string]struct {
		model    pipeline.Partition
		reach    pipeline.Reach
		relation pipeline.Relation
		column   string
		input    pipeline.Partition
		open     string
		want     map[string]string
		more     string
	}{
		"same": {model: month("day"), relation: pipeline.RelationSame, column: "order_date", input: month("order_date"),
			want: map[string]string{"2026-01": changed, "2026-03": changed}},
		"same, of an input that is open": {model: month("day"), relation: pipeline.RelationSame, column: "order_date", input: month("order_date"), open: "other months",
			want: map[string]string{"2026-01": changed, "2026-03": changed}, more: "other months"},
		"same, by another column": {model: month("day"), relation: pipeline.RelationSame, column: "shipped_date", input: month("order_date"),
			want: map[string]string{}, more: "the partitions that the new rows of silver.orders fall into"},
		"reach any": {model: month("day"), reach: pipeline.Reach{Kind: pipeline.ReachAny, By: []string{"order_id"}}, relation: pipeline.RelationSame, column: "order_date", input: month("order_date"),
			want: map[string]string{"2026-01": changed, "2026-03": changed}, more: "other partitions that hold the same keys (order_id) as the new rows of silver.orders"},
		"reach days": {model: month("day"), reach: pipeline.Reach{Kind: pipeline.ReachDays, Days: 3}, relation: pipeline.RelationSame, column: "order_date", input: month("order_date"),
			want: map[string]string{"2025-12": "silver.orders changed within 3 days, by orders/a.csv", "2026-01": changed, "2026-02": "silver.orders changed within 3 days, by orders/a.csv",
				"2026-03": changed, "2026-04": "silver.orders changed within 3 days, by orders/a.csv"}},
		"asof": {model: month("day"), relation: pipeline.RelationAsOf, column: "order_date", input: month("order_date"),
			want: map[string]string{"2026-01": "silver.orders changed from 2026-01 on, by orders/a.csv", "2026-02": "silver.orders changed from 2026-01 on, by orders/a.csv", "2026-04": "silver.orders changed from 2026-01 on, by orders/a.csv"}},
		"asof, by another column": {model: month("day"), relation: pipeline.RelationAsOf, column: "shipped_date", input: month("order_date"),
			want: map[string]string{"2026-01": "silver.orders changed, from a day on that only the run can tell, by orders/a.csv", "2026-02": "silver.orders changed, from a day on that only the run can tell, by orders/a.csv",
				"2026-04": "silver.orders changed, from a day on that only the run can tell, by orders/a.csv"}},
		"all": {model: month("day"), relation: pipeline.RelationAll, input: month("order_date"), want: map[string]string{"2026-01": changed, "2026-02": changed, "2026-04": changed}},
		"all, of which it is not known what changes": {relation: pipeline.RelationAll, open: "other months", want: map[string]string{"": changed}},
		"lookup":        {model: month("day"), relation: pipeline.RelationLookup, want: map[string]string{}},
		"one partition": {relation: pipeline.RelationSame, column: "order_date", want: map[string]string{"": changed}},
		"days of months": {model: day, relation: pipeline.RelationSame, column: "order_date", input: month("order_date"),
			want: map[string]string{}, more: "the partitions that the new rows of silver.orders fall into"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := &inputState{Input: pipeline.Input{Table: "silver.orders", Relation: c.relation, Column: c.column}, partition: c.input, reasons: map[string]*dispatchv1.PlannedPartition{}}
			in.foresee(&preview{more: c.open, reasons: []*dispatchv1.PlannedPartition{{Partition: "2026-01", Causes: []string{"orders/a.csv"}}, {Partition: "2026-03", Causes: []string{"orders/a.csv"}}}}, false)
			model := &pipeline.Model{Table: "gold.sales", Partition: c.model, Reach: c.reach}
			touched, more, err := (&planner{}).touched(t.Context(), model, []*inputState{in}, current, why{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for partition, reason := range touched {
				got[partition] = reason.words
			}
			if diff := cmp.Diff(c.want, got); diff != "" || more != c.more {
				t.Errorf("besides: %q, want %q (-want +told):\n%s", more, c.more, diff)
			}
		})
	}
}

func TestDryRunsStartBesideOthers(t *testing.T) {
	t.Parallel()
	var open []*running
	add := func(id string, dry bool, phase shoplakev1.RunState) *running {
		r := newRunning(id)
		r.state.Submitted, r.state.Phase = &dispatchv1.RunSubmitted{DryRun: dry}, phase
		open = append(open, r)
		return r
	}
	starts := func(r *running) bool {
		ok, _ := admit(open, nil, r)
		return ok
	}
	const queued, under = shoplakev1.RunState_RUN_STATE_QUEUED, shoplakev1.RunState_RUN_STATE_RUNNING
	waiting := add("1", true, queued)
	first := add("2", false, queued)
	if !starts(first) || !starts(waiting) {
		t.Error("a run waits for a dry run that waits")
	}
	waiting.state.Phase = under
	if !starts(first) {
		t.Error("a run waits for a dry run")
	}
	first.state.Phase = under
	if second := add("3", false, queued); starts(second) {
		t.Error("a run starts beside another that may write the same tables")
	}
	next := add("4", true, queued)
	if !starts(next) {
		t.Error("a dry run waits for a run")
	}
	for i := range dryRunsAtOnce - 1 {
		add(strings.Repeat("5", i+1), true, under)
	}
	if starts(next) {
		t.Error("any number of dry runs is under way")
	}
}
