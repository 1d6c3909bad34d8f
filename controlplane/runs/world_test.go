package runs

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// The model: one run in a world in which everything may happen at any time. What is under test is real: State.Apply, Next and
// what the leader decides (running.todo, running.decide, nextPublished). What surrounds them is modelled: the log whose appends
// assert the last sequence, coordinators that sleep or crash at any step, tables that are changed by compare-and-set, the queue,
// workers, a user who cancels, others who write to the tables, and a later run.

// rules are the rules of the protocol that the model itself keeps. A test breaks each and must see it found.
type rules struct {
	epochs       bool // a table refuses an epoch lower than the highest it has seen
	fences       bool // a new coordinator fences the commits that were announced
	tokens       bool // a commit that was made is not made again
	bases        bool // a commit is refused when its table has moved
	announces    bool // moving published is announced
	decideAgain  bool // after a conflict the leader decides again
	plansInKeys  bool // actions of different plans are different
	hashesInPath bool // plans of different coordinators do not overwrite each other
	pubEpochs    bool // published refuses a lower epoch
	waits        bool // a run begins when nothing of the one before is under way
	looks        bool // a run that was reopened looks whether its tables are where it left them
	lives        bool // a cancel is of one life of a run
	reads        bool // who does not know the stage of a report reads the log before the report is dropped
	// twist breaks the fold: it changes the state after the event.
	twist func(before, after *State, e *dispatchv1.RunEvent)
}

func soundRules() rules {
	return rules{epochs: true, fences: true, tokens: true, bases: true, announces: true, decideAgain: true, plansInKeys: true, hashesInPath: true, pubEpochs: true, waits: true, looks: true, lives: true, reads: true}
}

// scene is a case: the stages of a run, and how much may go wrong in it.
type scene struct {
	name   string
	stages []*dispatchv1.StageNode
	// tasks of each stage, by table; 1 where absent.
	tasks   map[string]int
	checks  map[string]bool
	coords  int
	workers int
	// slots limits the releases that are out.
	slots int8
	// starts says that workers report that they begin.
	starts bool
	may    budget
	// from is where exploring begins, after a schedule without faults; the beginning where nil.
	from func(*State) bool
}

// budget is how often something may still happen.
type budget struct {
	// takeovers are elections while the former leader still believes that it leads.
	takeovers int8
	crashes   int8
	// faults are of workers and queue: death, a lapse, a lost acknowledgement, a failure that passes.
	faults int8
	// errors are actions that fail though they may have been done.
	errors int8
	// bad is bad data: a task, a plan or a check fails for good.
	bad     int8
	moves   int8
	cancels int8
	// later is a later run that publishes.
	later int8
	// again are reports that stay though they were appended, or that a sleeping coordinator holds in its hand.
	again int8
	// leaves are workers that go away for good.
	leaves int8
	// resumes reopen a run that failed or was cancelled.
	resumes int8
}

// event is an interned event.
type event struct {
	id int
	pb *dispatchv1.RunEvent
}

// folded is a run's log up to some place, by what it folds to: logs that fold to the same state are the same.
type folded struct {
	id     int
	state  *State
	parent *folded
	event  *event
	next   map[int]*folded
}

// book interns events and folded logs.
type book struct {
	rules  rules
	events map[string]*event
	states map[string]*folded
	root   *folded
}

func newBook(r rules) *book {
	b := &book{rules: r, events: map[string]*event{}, states: map[string]*folded{}}
	b.root = &folded{state: NewState("r"), next: map[int]*folded{}}
	return b
}

func (b *book) event(pb *dispatchv1.RunEvent) *event {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(pb)
	if err != nil {
		panic(err)
	}
	e := b.events[string(data)]
	if e == nil {
		e = &event{id: len(b.events) + 1, pb: pb}
		b.events[string(data)] = e
	}
	return e
}

// apply is the log with one more event; an error is one that folding met.
func (b *book) apply(f *folded, e *event) (*folded, error) {
	if next := f.next[e.id]; next != nil {
		return next, nil
	}
	s, err := b.fold(f)
	if err != nil {
		return nil, err
	}
	if err := s.Apply(e.pb); err != nil {
		return nil, err
	}
	if b.rules.twist != nil {
		b.rules.twist(f.state, s, e.pb)
	}
	name := canonical(s)
	next := b.states[name]
	if next == nil {
		next = &folded{id: len(b.states) + 1, state: s, parent: f, event: e, next: map[int]*folded{}}
		b.states[name] = next
	}
	f.next[e.id] = next
	return next, nil
}

// fold folds a log from its beginning, into a state of its own.
func (b *book) fold(f *folded) (*State, error) {
	var path []*folded
	for at := f; at.parent != nil; at = at.parent {
		path = append(path, at)
	}
	s := NewState("r")
	for _, at := range slices.Backward(path) {
		if err := s.Apply(at.event.pb); err != nil {
			return nil, err
		}
		if b.rules.twist != nil {
			b.rules.twist(at.parent.state, s, at.event.pb)
		}
	}
	return s, nil
}

// canonical spells all of a state that decisions depend on: no times, no attempts that only people read of.
func canonical(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %t %d %t|", s.Phase, s.Life, s.Publishing, s.PublishedVersion, s.Failure != nil)
	for _, st := range s.Stages {
		fmt.Fprintf(&b, "%s %d %d %s %s %s %v:", st.Table, st.State, st.Plans, st.Planned.GetPlanSha256(), st.StagedSHA256, st.Checking.GetPlanSha256(), st.Snapshots)
		for _, t := range st.all() {
			fmt.Fprintf(&b, "%s %d %d %d %s %d,", t.ID, t.State, t.Release, t.Failures, t.Done.GetOutputPath(), len(t.Done.GetCheckFailures()))
		}
		b.WriteByte('|')
	}
	return b.String()
}

// table is a table of the lake: what it was made of, first to last. A commit is its token, somebody else's change is "x".
type table struct {
	snapshots []string
	epoch     int8
	// fenced is the highest epoch that was ever promised to it; kept beside the table, so that a broken rule shows.
	fenced int8
}

// message is a release of a task.
type message struct {
	stage, task, plan string
	release, life     uint32
	// waiting says that a worker may take it; acked, that it has left the queue.
	waiting, acked bool
	deliveries     int8
}

// worker holds a delivery of a message; message is -1 where it is idle.
type worker struct {
	message int8
	attempt int8
}

// job is an action under way.
type job struct {
	action Action
	// step is how far it is: 0 begun, 1 has looked, 2 done: its outcome is on the way.
	step  int8
	event *event
	err   error
	// plan, base and staged are of a commit; looked is what was seen of the table or of published.
	base, looked int8
	staged       string
	snapshots    map[string]int64
	pub          *publication
}

// coord is a coordinator.
type coord struct {
	epoch int8 // 0: it does not lead
	at    *folded
	// behind says that the log has more than it knows.
	behind bool
	// fencing says that it has loaded the runs, but not taken over their commits.
	fencing bool
	jobs    []job
	// out are the releases that are out.
	out   []Action
	tries map[string]int
	// hand is a report that it took before it fell asleep.
	hand *event
}

// publication is the published record.
type publication struct {
	pb *dispatchv1.Published
	// by is "" for what was there before, "r" for the run, "later" for the later run.
	by       string
	revision int8
}

type world struct {
	*scene
	book    *book
	log     *folded
	coords  []coord
	tables  map[string]*table
	objects map[string]string
	queue   []message
	workers []worker
	inbox   []*event
	pub     *publication
	may     budget
	epochs  int8
	limit   int8
	// wrong is the invariant that broke.
	wrong string
	// trail keeps the events of the log where a walk wants them.
	trail *[]*dispatchv1.RunEvent
}

func newWorld(sc *scene, b *book) *world {
	w := &world{scene: sc, book: b, log: b.root, tables: map[string]*table{}, objects: map[string]string{}, may: sc.may, limit: sc.slots,
		pub: &publication{pb: &dispatchv1.Published{}}}
	for _, n := range sc.stages {
		w.tables[n.GetTable()] = &table{}
	}
	for range sc.coords {
		w.coords = append(w.coords, coord{})
	}
	for range sc.workers {
		w.workers = append(w.workers, worker{message: -1})
	}
	w.appendEvent(nil, b.event(&dispatchv1.RunEvent{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{PipelineDigest: "p"}}}))
	w.elect(0)
	w.takeOver(0)
	return w
}

// clone copies what a step may change.
func (w *world) clone() *world {
	c := *w
	c.coords = slices.Clone(w.coords)
	for i := range c.coords {
		c.coords[i].jobs = slices.Clone(w.coords[i].jobs)
		c.coords[i].out = slices.Clone(w.coords[i].out)
		tries := map[string]int{}
		for k, n := range w.coords[i].tries {
			tries[k] = n
		}
		c.coords[i].tries = tries
	}
	c.tables = make(map[string]*table, len(w.tables))
	for name, t := range w.tables {
		copied := *t
		c.tables[name] = &copied
	}
	if !w.book.rules.hashesInPath {
		c.objects = map[string]string{}
		for k, v := range w.objects {
			c.objects[k] = v
		}
	}
	c.queue, c.workers, c.inbox = slices.Clone(w.queue), slices.Clone(w.workers), slices.Clone(w.inbox)
	return &c
}

// key spells the world; worlds of one key go on alike. Workers are alike, and so are coordinators but for their epochs.
func (w *world) key(b []byte) []byte {
	num := func(numbers ...int) {
		for _, n := range numbers {
			b = append(b, byte(n), byte(n>>8))
		}
	}
	text := func(s string) { b = append(append(b, s...), 0) }
	m := w.may
	num(w.log.id, int(w.epochs), int(w.limit))
	b = append(b, byte(m.takeovers), byte(m.crashes), byte(m.faults), byte(m.errors), byte(m.bad), byte(m.moves), byte(m.cancels), byte(m.later), byte(m.again), byte(m.leaves), byte(m.resumes))
	order := slices.Clone(w.coords)
	slices.SortFunc(order, func(a, c coord) int { return int(a.epoch) - int(c.epoch) })
	for i := range order {
		c := &order[i]
		if num(int(c.epoch)); c.epoch == 0 {
			continue
		}
		num(c.at.id, bit(c.behind), bit(c.fencing), len(c.jobs), len(c.out), len(c.tries))
		if c.hand != nil {
			num(c.hand.id)
		}
		parts := make([]string, 0, len(c.jobs)+len(c.out)+len(c.tries))
		for _, j := range c.jobs {
			part := j.action.Key()
			event, revision := 0, -1
			if j.event != nil {
				event = j.event.id
			}
			if j.pub != nil {
				revision = int(j.pub.revision)
			}
			part += string([]byte{0, byte(j.step), byte(j.base), byte(j.looked), byte(event), byte(event >> 8), byte(revision)}) + j.staged
			if j.err != nil {
				part += j.err.Error()
			}
			parts = append(parts, part)
		}
		for _, a := range c.out {
			parts = append(parts, a.Key())
		}
		for k, n := range c.tries {
			parts = append(parts, k+string(rune(n)))
		}
		slices.Sort(parts)
		for _, p := range parts {
			text(p)
		}
	}
	for _, n := range w.stages {
		t := w.tables[n.GetTable()]
		num(int(t.epoch), int(t.fenced), len(t.snapshots))
		for _, s := range t.snapshots {
			text(s)
		}
	}
	num(len(w.queue))
	for _, m := range w.queue {
		text(m.stage)
		text(m.plan)
		text(m.task)
		num(int(m.release), bit(m.waiting), bit(m.acked), int(m.deliveries))
	}
	busy := slices.Clone(w.workers)
	slices.SortFunc(busy, func(a, c worker) int {
		return int(a.message)*100 + int(a.attempt) - int(c.message)*100 - int(c.attempt)
	})
	for _, k := range busy {
		num(int(k.message), int(k.attempt))
	}
	ids := make([]int, 0, len(w.inbox))
	for _, e := range w.inbox {
		ids = append(ids, e.id)
	}
	slices.Sort(ids)
	num(len(ids))
	num(ids...)
	text(w.pub.by)
	num(int(w.pub.revision), int(w.pub.pb.GetEpoch()))
	if !w.book.rules.hashesInPath {
		b = fmt.Append(b, w.objects)
	}
	return b
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// appendEvent puts an event behind the log's end, and holds the change against the invariants. by is nil for a user.
func (w *world) appendEvent(by *coord, e *event) {
	before := w.log
	next, err := w.book.apply(w.log, e)
	if err != nil {
		// Rule: every prefix of every log folds.
		w.fail("folding failed: %v", err)
		return
	}
	w.log = next
	for i := range w.coords {
		w.coords[i].behind = w.coords[i].epoch > 0
	}
	if by != nil {
		by.at, by.behind = next, false
	}
	if w.trail != nil {
		*w.trail = append(*w.trail, e.pb)
	}
	w.checkStep(before.state, next.state, e.pb)
}
