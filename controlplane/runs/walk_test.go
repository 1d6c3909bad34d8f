package runs

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// walkSeed replays one walk: go test ./controlplane/runs -run TestWalks -walk-seed 17
var walkSeed = flag.Uint64("walk-seed", 0, "walk from this seed only")

// largeScenes are too large to be explored: chance walks through them.
func largeScenes() []*scene {
	much := budget{takeovers: 4, crashes: 3, faults: 8, errors: 6, bad: 1, moves: 3, cancels: 1, later: 1, again: 4, leaves: 1}
	calm := much
	calm.bad, calm.cancels = 0, 0
	stubborn := much
	stubborn.bad, stubborn.cancels, stubborn.resumes = 2, 2, 3
	diamond := stagesOf("bronze.a", "bronze.b", "silver.ab < bronze.a bronze.b", "gold.ab < silver.ab bronze.a")
	wide := stagesOf("bronze.a", "bronze.b", "bronze.c", "gold.c < bronze.c")
	tasks := map[string]int{"bronze.a": 3, "bronze.b": 2, "silver.ab": 2, "bronze.c": 2}
	checks := map[string]bool{"silver.ab": true, "bronze.c": true}
	return []*scene{
		{name: "a diamond", stages: diamond, tasks: tasks, checks: checks, coords: 3, workers: 2, slots: 4, starts: true, may: much},
		{name: "a diamond that must be built", stages: diamond, tasks: tasks, checks: checks, coords: 3, workers: 3, slots: 2, may: calm},
		{name: "a diamond that is resumed", stages: diamond, tasks: tasks, checks: checks, coords: 3, workers: 2, slots: 4, starts: true, may: stubborn},
		{name: "sources beside each other", stages: wide, tasks: tasks, checks: checks, coords: 2, workers: 3, slots: 4, starts: true, may: much},
	}
}

// TestWalks goes random ways through larger cases, each until the run has ended or faults have stopped.
func TestWalks(t *testing.T) {
	t.Parallel()
	begin, walks, steps := time.Now(), 0, 0
	for _, sc := range largeScenes() {
		seeds := make([]uint64, 0, 100)
		for seed := range uint64(cap(seeds)) {
			seeds = append(seeds, seed+1)
		}
		if *walkSeed != 0 {
			seeds = []uint64{*walkSeed}
		}
		for _, seed := range seeds {
			n, wrong, trace := walk(sc, soundRules(), seed)
			if wrong != "" {
				t.Fatalf("%s: -walk-seed %d: %s\n\t%s", sc.name, seed, wrong, strings.Join(trace, "\n\t"))
			}
			walks, steps = walks+1, steps+n
		}
	}
	t.Logf("%d walks, %d steps, %v", walks, steps, time.Since(begin).Round(time.Millisecond))
}

// walk takes one random way. Where it ends, its log must fold to the same state however it is read.
func walk(sc *scene, r rules, seed uint64) (steps int, wrong string, trace []string) {
	chance := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(sc, newBook(r))
	trail := []*dispatchv1.RunEvent{{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{PipelineDigest: "p"}}}}
	w.trail = &trail
	faulty := chance.IntN(20) + 1 // one step of how many is a fault
	for length := 50 + chance.IntN(400); steps < length; steps++ {
		var faults, sound []step
		for _, s := range w.steps() {
			if s.fault {
				faults = append(faults, s)
			} else {
				sound = append(sound, s)
			}
		}
		from := sound
		if len(faults) > 0 && (len(sound) == 0 || chance.IntN(faulty) == 0) {
			from = faults
		}
		if len(from) == 0 {
			break
		}
		s := from[chance.IntN(len(from))]
		trace = append(trace, s.String())
		if s.do(w); w.wrong != "" {
			return steps, w.wrong, trace
		}
	}
	if wrong, how := w.ends(nil); wrong != "" {
		return steps, wrong, append(trace, how...)
	}
	return steps, readAgain(trail, w.log.state, chance), trace
}

// readAgain folds a log in other ways: with reports that came again, and from a checkpoint.
func readAgain(trail []*dispatchv1.RunEvent, want *State, chance *rand.Rand) (wrong string) {
	end := canonical(want)
	if !want.Terminal() {
		end = "" // the walk's end lies behind; the ways are held against each other
	}
	twice := slices.Clone(trail)
	for n, e := range slices.Backward(trail) {
		if e.GetTask() != nil && chance.IntN(2) == 0 {
			twice = slices.Insert(twice, n+1+chance.IntN(len(twice)-n), e)
		}
	}
	for _, way := range [][]*dispatchv1.RunEvent{trail, twice} {
		s := NewState("r")
		for _, e := range way {
			if chance.IntN(5) == 0 {
				data, err := encodeCheckpoint(s)
				if err != nil {
					return err.Error()
				}
				if s, _, err = decodeCheckpoint(data, "r"); err != nil {
					return err.Error()
				}
			}
			if err := s.Apply(e); err != nil {
				return "folding a prefix failed: " + err.Error()
			}
		}
		if end == "" {
			end = canonical(s)
		}
		if got := canonical(s); got != end {
			return "the log folds to\n" + got + "\nand to\n" + end
		}
	}
	return ""
}

// TestWalksFindBrokenRules sees that walks find what explorations of small cases do.
func TestWalksFindBrokenRules(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(*rules){
		"a leader appends what it decided on an older log": func(r *rules) { r.decideAgain = false },
		"the tasks of a second plan pass for released":     func(r *rules) { r.plansInKeys = false },
		"a commit is put on a table that moved":            func(r *rules) { r.bases = false },
		"a table does not look at epochs":                  func(r *rules) { r.epochs = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := soundRules()
			breaks(&r)
			for seed := range uint64(300) {
				if _, wrong, _ := walk(largeScenes()[0], r, seed+1); wrong != "" {
					t.Logf("seed %d: %s", seed+1, wrong)
					return
				}
			}
			t.Fatal("300 walks found nothing")
		})
	}
}
