package runs

import (
	"cmp"
	"slices"
	"strings"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// rank says which of two runs that write the same tables goes first.
type rank int

const (
	// background runs, backfills and maintenance, let others overtake them between two tasks.
	background rank = iota
	ordinary
)

// weight is a run's part of what workers can do while others wait too: of every eleven tasks that are released, ten are those of
// an ordinary run and one is that of a background run.
func (r *running) weight() float64 {
	if r.rank == background && !r.state.Dry() {
		return 1
	}
	return 10
}

// opsTables stands for the tables beside bronze, which every run that reads files writes.
const opsTables = "ops"

// tableSet is what a run writes.
func tableSet(tables []string) map[string]bool {
	set := map[string]bool{}
	for _, table := range tables {
		set[table] = true
		if layer, _, _ := strings.Cut(table, "."); layer == "bronze" || layer == opsTables {
			set[opsTables] = true
		}
	}
	return set
}

// overlaps says whether two runs write the same table. Of a run of which that is not known it is assumed.
func (r *running) overlaps(o *running) bool {
	if r.tables == nil || o.tables == nil {
		return true
	}
	for table := range r.tables {
		if o.tables[table] {
			return true
		}
	}
	return false
}

// overtakes says whether a run may go first though another one has begun: it builds, by the same pipeline, all that the other does,
// so that readers never see a table that the other left half-way beside one that does not know of it.
func (r *running) overtakes(o *running) bool {
	if r.rank <= o.rank || r.tables == nil || o.tables == nil || r.state.Submitted.GetPipelineDigest() != o.state.Submitted.GetPipelineDigest() ||
		r.state.Submitted.GetStartDate() != "" || r.state.Submitted.GetEndDate() != "" {
		return false
	}
	for table := range o.tables {
		if layer, _, _ := strings.Cut(table, "."); layer != opsTables && !r.tables[table] {
			return false
		}
	}
	return true
}

// between says whether a run that has begun does nothing just now that another would wait for: it is between two stages, or in one
// that it can leave.
func (r *running) between() bool {
	if r.state.Phase != shoplakev1.RunState_RUN_STATE_RUNNING || r.state.Publishing || len(r.busy) > len(r.out) {
		return false
	}
	return !slices.ContainsFunc(r.state.Stages, func(st *Stage) bool {
		switch st.State {
		case shoplakev1.StageState_STAGE_STATE_RUNNING, shoplakev1.StageState_STAGE_STATE_CHECKING:
			return !r.leaves(st)
		case shoplakev1.StageState_STAGE_STATE_COMMITTING:
			return true
		}
		return false
	})
}

// leaves says whether a stage may be planned again later, for the sake of another run: none of its tasks is out, and either none
// is done or nothing but its check is left.
func (r *running) leaves(st *Stage) bool {
	switch st.State {
	case shoplakev1.StageState_STAGE_STATE_RUNNING:
		if st.tally.count[queued] != len(st.Tasks) || len(st.Tasks) == 0 {
			return false
		}
	case shoplakev1.StageState_STAGE_STATE_CHECKING:
		if st.Check.State != queued {
			return false
		}
	default:
		return false
	}
	for key, out := range r.out {
		if t := st.Task(out.task); out.stage == st.Table && t != nil && t.State == queued && releasing(st, t).Key() == key {
			return false
		}
	}
	return true
}

// keeps says whether a stage's tasks are not to be released, since the run gives way to another.
func (r *running) keeps(st *Stage) bool { return r.held && r.leaves(st) }

// writes says whether a run writes tables, or will: a dry run writes none, it starts beside others and none waits for it.
func (r *running) writes() bool { return !r.state.Dry() && !r.state.Terminal() }

// begun says whether a run has started, or is just about to: it may have pinned its tables already.
func (r *running) begun() bool {
	return r.state.Phase != shoplakev1.RunState_RUN_STATE_QUEUED || r.busy[Action{Kind: Start, Life: r.state.Life}.Key()]
}

// admit says whether a run may start, and which runs it then overtakes. A table has one writing stage at a time: runs that write
// the same tables go one after the other, the higher rank first, then the older. jobs counts what is under way by run, also of
// runs that another coordinator has ended: such a job could still move published back.
func admit(open []*running, jobs map[string]int, r *running) (ok bool, overtaken []*running) {
	return admitOnce(open, jobs, r, false)
}

// admitOnce is admit; with stopped, as it will be when those that the run overtakes are between two tasks.
func admitOnce(open []*running, jobs map[string]int, r *running, stopped bool) (ok bool, overtaken []*running) {
	if r.state.Dry() {
		n := 0
		for _, o := range open {
			if o != r && o.state.Dry() && o.begun() {
				n++
			}
		}
		return n < dryRunsAtOnce, nil
	}
	if jobs[r.state.RunID] > 0 {
		return false, nil // what was begun in its former life is still under way
	}
	known := map[string]bool{}
	for _, o := range open {
		known[o.state.RunID] = true
		if o == r || !o.writes() || !r.overlaps(o) {
			continue
		}
		switch {
		case !o.begun():
			if inTurn(o, r) < 0 {
				return false, nil
			}
		case r.overtakes(o) && (stopped || o.between()):
			overtaken = append(overtaken, o)
		default:
			return false, nil
		}
	}
	for id := range jobs {
		if id != r.state.RunID && !known[id] {
			return false, nil
		}
	}
	return true, overtaken
}

// hold notes which runs give way to others.
func hold(open []*running) {
	for _, r := range open {
		r.held = r.rank == background && r.begun() && held(open, r)
	}
}

// held says whether a run must not begin another stage: one that overtakes it is under way, or waits for nothing but this.
func held(open []*running, r *running) bool {
	return slices.ContainsFunc(open, func(o *running) bool {
		if o == r || !o.writes() || !r.writes() || o.rank <= r.rank || !o.overlaps(r) {
			return false
		}
		if o.begun() {
			return true
		}
		ok, overtaken := admitOnce(open, nil, o, true)
		return ok && slices.Contains(overtaken, r)
	})
}

// inTurn orders runs as they take what is free: dry runs, which somebody waits for, the higher rank, the older.
func inTurn(a, b *running) int {
	if a.state.Dry() != b.state.Dry() {
		if a.state.Dry() {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.rank, a.rank), strings.Compare(a.state.RunID, b.state.RunID))
}

// grant divides the tasks that may be released now among runs: to each in turn the one that has had the least for its weight
// (start-time fair queueing: Goyal, Vin, Cheng, 1996; a task is as much work as it takes slots). clock is how far the queue has come.
//
// releasedPerSlot tasks for each slot are out at most, so that no slot waits for the coordinator; of background runs one, so
// that the task of another waits for none but those that have begun; of dry runs one too.
func grant(open []*running, slots int, clock *float64) map[*running]int {
	return grantOf(open, func(*Stage) bool { return true }, slots, clock)
}

// grantOf is grant for the stages that one pool of workers does.
func grantOf(open []*running, asked func(*Stage) bool, slots int, clock *float64) map[*running]int {
	room := releasedPerSlot * slots
	lean := map[bool]int{true: max(1, slots), false: max(1, slots)} // room of dry and of background runs
	type queue struct {
		run *running
		// waiting are the slots that the tasks take which could be released, in order.
		waiting []int
	}
	var queues []*queue
	for _, r := range open {
		n := r.releasedOf(asked)
		room -= n
		switch {
		case r.state.Dry():
			lean[true] -= n
		case r.rank == background:
			lean[false] -= n
		}
		if waiting := r.releasable(releasedPerSlot*slots, asked); len(waiting) > 0 {
			queues = append(queues, &queue{r, waiting})
			r.virtual = max(r.virtual, *clock)
		}
	}
	granted := map[*running]int{}
	for room > 0 {
		var next *queue
		for _, q := range queues {
			limited := q.run.state.Dry() || q.run.rank == background
			if len(q.waiting) == 0 || limited && lean[q.run.state.Dry()] <= 0 {
				continue
			}
			if next == nil || q.run.virtual < next.run.virtual || q.run.virtual == next.run.virtual && inTurn(q.run, next.run) < 0 {
				next = q
			}
		}
		if next == nil {
			break
		}
		*clock = next.run.virtual
		cost := min(next.waiting[0], slots)
		next.waiting = next.waiting[1:]
		next.run.virtual += float64(cost) / next.run.weight()
		room -= cost
		granted[next.run]++
		if next.run.state.Dry() || next.run.rank == background {
			lean[next.run.state.Dry()] -= cost
		}
	}
	return granted
}

// releasable are the slots that the tasks take which could be released, of most tasks of the stages that are asked for.
func (r *running) releasable(most int, asked func(*Stage) bool) []int {
	var costs []int
	for _, a := range next(r.state, most, r.passes) {
		st := r.state.Stage(a.Stage)
		if a.Kind == Release && !r.busy[a.Key()] && asked(st) && !r.keeps(st) && len(costs) < most {
			costs = append(costs, st.cost())
		}
	}
	return costs
}

// cost is how many slots each of the stage's tasks takes.
func (st *Stage) cost() int { return max(1, int(st.Planned.GetSlots())) }
