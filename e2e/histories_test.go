package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// After any sequence of changes, tables and KPIs are those that a clean full refresh of the same input gives. The tests below
// make up histories from seeds, HISTORY_SEEDS of them from HISTORY_FROM on, and hold each against a shop that is given
// everything at once. HISTORY="new:1 run:2 ..." plays one history again, with HISTORY_FROM as its seed.
func TestHistories(t *testing.T) {
	t.Parallel()
	from, count := uint64(number(t, "HISTORY_FROM", 1)), number(t, "HISTORY_SEEDS", 8)
	if text := os.Getenv("HISTORY"); text != "" {
		var list []step
		for _, word := range strings.Fields(text) {
			kind, seed, _ := strings.Cut(word, ":")
			n, err := strconv.ParseUint(seed, 10, 64)
			if err != nil {
				t.Fatalf("HISTORY: %q is no step: %v", word, err)
			}
			list = append(list, step{kind, n})
		}
		if h := play(t, from, list); h.differs != "" {
			t.Error(h.report(list))
		}
		return
	}
	for seed := from; seed < from+uint64(count); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			list := generate(seed)
			if h := play(t, seed, list); h.differs != "" {
				list, h = shrink(t, seed, list, h)
				t.Error(h.report(list))
			}
		})
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s: %q is no number", name, text)
	}
	return n
}

// play plays a history up to its end, or to the first comparison that finds a difference.
func play(t *testing.T, seed uint64, list []step) (h *history) {
	t.Run("play", func(t *testing.T) {
		h = newHistory(t, seed)
		for _, s := range list {
			if h.do(s); h.differs != "" {
				return
			}
		}
	})
	return h
}

// shrinkTime is how long steps are taken out of a failed history, to find a shorter one that fails too.
const shrinkTime = 90 * time.Second

// shrink takes steps out of a history for as long as it fails.
func shrink(t *testing.T, seed uint64, list []step, failed *history) ([]step, *history) {
	deadline := time.Now().Add(shrinkTime)
	last := len(list) - 1
	for size := last / 2; size >= 1; size /= 2 {
		for at := 0; at+size < len(list) && time.Now().Before(deadline); {
			shorter := slices.Delete(slices.Clone(list), at, at+size)
			if h := play(t, seed, shorter); h.differs != "" {
				list, failed = shorter, h
			} else {
				at += size
			}
		}
	}
	return list, failed
}

func (h *history) report(list []step) string {
	words := make([]string, 0, len(list))
	for _, s := range list {
		words = append(words, s.String())
	}
	return fmt.Sprintf("seed %d: %s\n\nIts history, which plays again by\nHISTORY_FROM=%d HISTORY=%q go test ./e2e -run TestHistories\n\n%s\n\nThe last run:\n%s",
		h.seed, h.differs, h.seed, strings.Join(words, " "), strings.Join(h.told, "\n"), strings.Join(h.built, "\n"))
}

// submit runs, the daily flow unless told otherwise, and remembers what was read.
func (h *history) submit(request *shoplakev1.SubmitRunRequest) *shoplakev1.Run {
	if request.GetFlow() == "" {
		request.Flow = "flows/daily"
	}
	run, stages := h.s.run(request)
	h.ended(run, stages, request.GetStartDate() == "" && request.GetEndDate() == "")
	return run
}

func (h *history) ended(run *shoplakev1.Run, stages map[string]*shoplakev1.Stage, open bool) {
	h.tell("  %s %s", run.GetState(), run.GetError().GetMessage())
	h.built = nil
	for _, table := range slices.Sorted(maps.Keys(stages)) {
		stage := stages[table]
		line := fmt.Sprintf("  %s %s %s", table, stage.GetState(), stage.GetReason())
		for _, p := range stage.GetPlanned() {
			line += fmt.Sprintf("\n    %s: %s", p.GetPartition(), p.GetReason())
		}
		h.built = append(h.built, line)
	}
	for _, notice := range run.GetNotices() {
		h.built = append(h.built, "  notice: "+notice)
	}
	h.open, h.stages = run.GetName(), stages
	switch run.GetState() {
	case shoplakev1.RunState_RUN_STATE_SUCCEEDED:
		h.open, h.read = "", map[place]readFile{}
		for p, f := range h.landing {
			h.read[p] = readFile{f, h.readBy(p.source)}
		}
	case shoplakev1.RunState_RUN_STATE_CANCELLED:
		h.read = nil
	default:
		h.read = nil
		// While a run of an interval builds only a part, a sale that moved into it may stand twice: the check holds that back.
		if message := run.GetError().GetMessage(); !strings.Contains(message, "amount_small") && (open || !strings.Contains(message, "sale_key")) {
			h.differs = fmt.Sprintf("the run ended as %v: %v", run.GetState(), run.GetError())
		}
	}
}

// partRun stops at a layer: what follows from it finds out later what has changed.
func (h *history) partRun(r *rand.Rand) {
	h.submit(&shoplakev1.SubmitRunRequest{Flow: pick(r, []string{"flows/sources", "flows/layers"})})
}

// maintenanceRun rewrites files and forgets all that nobody needs: nothing may change by that.
func (h *history) maintenanceRun(*rand.Rand) {
	run, _ := h.s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/maintenance"})
	if h.tell("  %s %s", run.GetState(), run.GetError().GetMessage()); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		h.differs = fmt.Sprintf("maintenance ended as %v: %v", run.GetState(), run.GetError())
	}
}

// resumeRun lets the last run go on, where it failed or was cancelled, or else one that it cancels: it may be refused, since
// maintenance wrote its tables.
func (h *history) resumeRun(r *rand.Rand) {
	if h.open == "" {
		h.cancelledRun(r)
	}
	if h.open == "" {
		return // too late to cancel
	}
	ctx := h.t.Context()
	if _, err := h.s.runs.ResumeRun(ctx, &shoplakev1.ResumeRunRequest{Name: h.open}); err != nil {
		h.tell("  refused: %v", err)
		return
	}
	run, stages := h.s.toEnd(ctx, h.open)
	h.ended(run, stages, false)
	h.read = nil // what it had read before, and what now, is not known here
}

// openRun asks now and then what the run would build: it may build less, where what is touched is empty and stays so, and more
// only where that was said.
func (h *history) openRun(r *rand.Rand) {
	if r.IntN(3) > 0 {
		h.submit(&shoplakev1.SubmitRunRequest{})
		return
	}
	told, foreseen := h.s.dry(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	h.tell("  dry run: %s %s", told.GetState(), told.GetError().GetMessage())
	h.submit(&shoplakev1.SubmitRunRequest{})
	for table, stage := range h.stages {
		for partition, reason := range planOf(stage) {
			if _, known := planOf(foreseen[table])[partition]; !known && foreseen[table].GetPlannedMore() == "" && told.GetState() == shoplakev1.RunState_RUN_STATE_SUCCEEDED {
				h.differs += fmt.Sprintf("%s of %s was built (%s), which the dry run did not tell: %v\n", partition, table, reason, planOf(foreseen[table]))
			}
		}
	}
}

func (h *history) fullRun(*rand.Rand) { h.submit(&shoplakev1.SubmitRunRequest{FullRefresh: true}) }

// intervalRun builds some days: from a day, up to a day, or both.
func (h *history) intervalRun(r *rand.Rand) {
	from, to := pick(r, days), pick(r, days)
	if from > to {
		from, to = to, from
	}
	switch r.IntN(4) {
	case 0:
		from = ""
	case 1:
		to = ""
	}
	if from == to {
		to = nextDay(to)
	}
	h.tell("  [%s, %s)", from, to)
	h.submit(&shoplakev1.SubmitRunRequest{StartDate: from, EndDate: to, FullRefresh: r.IntN(8) == 0})
}

// cancelledRun cancels a run after some of its changes were seen; it may be too late.
func (h *history) cancelledRun(r *rand.Rand) {
	ctx := h.t.Context()
	run, err := h.s.runs.SubmitRun(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if err != nil {
		h.t.Fatal(err)
	}
	stream, err := h.s.runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: run.GetName()})
	if err != nil {
		h.t.Fatal(err)
	}
	stages := map[string]*shoplakev1.Stage{}
	for left := r.IntN(25); run.GetEndTime() == nil; left-- {
		change, err := stream.Recv()
		if err != nil {
			h.t.Fatal(err)
		}
		run = change.GetRun()
		for _, stage := range change.GetStages() {
			stages[stage.GetTable()] = stage
		}
		if left == 0 && run.GetEndTime() == nil {
			if _, err := h.s.runs.CancelRun(ctx, &shoplakev1.CancelRunRequest{Name: run.GetName()}); err != nil && run.GetEndTime() == nil {
				h.tell("  too late to cancel: %v", err)
			}
		}
	}
	h.ended(run, stages, true)
}

// compare brings the shop up to date and holds it against a fresh one that is given everything at once. Where a check fails,
// it must fail in both; then the data is mended.
func (h *history) compare(*rand.Rand) {
	h.bringBackUnread()
	if run := h.submit(&shoplakev1.SubmitRunRequest{}); h.differs != "" || h.compareWithFresh(run) {
		return
	}
	h.tell("  mended")
	h.mend()
	if run := h.submit(&shoplakev1.SubmitRunRequest{}); h.differs == "" && !h.compareWithFresh(run) {
		h.differs = "the check fails though the data was mended"
	}
}

// compareWithFresh says whether the run was good; differs then tells what is not as in a fresh shop.
func (h *history) compareWithFresh(run *shoplakev1.Run) (good bool) {
	good = run.GetState() == shoplakev1.RunState_RUN_STATE_SUCCEEDED
	h.t.Run("fresh", func(t *testing.T) {
		fresh := setup(t, h.pipeline(), 2-int(h.seed%2))
		at := h.clock
		for p, f := range h.landing {
			write(t, fresh, p, f, at)
		}
		for p, f := range h.gone {
			write(t, fresh, p, f.landingFile, at)
		}
		full, _ := fresh.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
		if full.GetState() != run.GetState() || full.GetError().GetStage() != run.GetError().GetStage() {
			h.differs = fmt.Sprintf("a fresh shop's run ends as %v (%v), this one's as %v (%v)", full.GetState(), full.GetError(), run.GetState(), run.GetError())
			return
		}
		if !good {
			return
		}
		want, got := fresh.contents(), h.s.contents()
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if diff := cmp.Diff(want[name], got[name]); diff != "" {
				h.differs += fmt.Sprintf("%s differs (-full refresh +this history):\n%.3000s\n", name, diff)
			}
		}
		h.differs += h.s.conservedOf(slices.Collect(maps.Keys(formats))...)
	})
	return good
}

// runColumns are the columns that say by which run a row came.
const runColumns = "_ingested_at, _run_id, ingested_at, run_id"

// contents are all rows of all tables, without the columns that tell the run, and all KPIs.
func (s *shop) contents() map[string][]string {
	s.t.Helper()
	all := map[string][]string{}
	list, err := s.tables.ListTables(s.t.Context(), &shoplakev1.ListTablesRequest{PageSize: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, table := range list.GetTables() {
		name := table.GetName()[len("tables/"):]
		if name == pipeline.RunsTable {
			continue // what was run is no data of the shop
		}
		from := name
		if name == "ops.ingested" { // of each file the latest version
			from = "(SELECT * EXCLUDE (modified_at) FROM ops.ingested QUALIFY row_number() OVER (PARTITION BY source, path ORDER BY ingested_at DESC) = 1)"
		}
		all[name] = s.lines("SELECT CAST(to_json(t) AS VARCHAR) AS line FROM (SELECT COLUMNS(c -> c NOT IN ('" + strings.ReplaceAll(runColumns, ", ", "', '") + "')) FROM " + from + ") AS t")
	}
	kpis, err := s.kpis.ListKpis(s.t.Context(), &shoplakev1.ListKpisRequest{PageSize: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, kpi := range kpis.GetKpis() {
		name := kpi.GetName()[len("kpis/"):]
		for _, row := range append(s.ask(name, "", "", nil), s.ask(name, "2026-01-31", "2026-03-02", nil)...) {
			all["kpi "+name] = append(all["kpi "+name], strings.Join(row, ","))
		}
	}
	return all
}

// lines are the texts of a query's column line, sorted.
func (s *shop) lines(sql string) []string {
	s.t.Helper()
	answer, err := s.tables.QueryTables(s.t.Context(), &shoplakev1.QueryTablesRequest{Sql: sql, PageSize: 10000})
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for _, row := range answer.GetRowSet().GetRows() {
		lines = append(lines, row.GetFields()["line"].GetStringValue())
	}
	slices.Sort(lines)
	return lines
}

// TestPartitionChanges gives tables another partition, and their own back, with changes of the data before and after: also a run
// of an interval builds such a table as a whole.
func TestPartitionChanges(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 7)
	chance := rand.New(rand.NewPCG(7, 7))
	do := func(kinds ...string) {
		for _, kind := range kinds {
			if h.do(step{kind, chance.Uint64N(1000)}); h.differs != "" {
				t.Fatal(h.differs, strings.Join(h.told, "\n"))
			}
		}
	}
	do("new", "new", "new", "new", "new", "new", "run")
	for _, e := range edits {
		if !strings.HasPrefix(e.name, "partition of ") {
			continue
		}
		for n := range len(e.to) + 1 {
			h.edits[e.name] = (n + 1) % (len(e.to) + 1)
			h.tell("%s: %d", e.name, h.edits[e.name])
			h.s.activate(h.pipeline())
			do(pick(chance, [][]string{{"interval", "correct", "interval", "compare"}, {"correct", "run", "new", "compare"}, {"cancel", "correct", "compare"}})...)
		}
	}
}
