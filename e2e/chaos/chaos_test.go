//go:build unix

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	// seedsVariable is how many seeds are lived, fromVariable the first one, seedVariable one to live again.
	seedsVariable = "CHAOS_SEEDS"
	fromVariable  = "CHAOS_FROM"
	seedVariable  = "CHAOS_SEED"
	// allSeeds are as many seeds as it takes to arm a kill and a freeze at each fail point.
	allSeeds     = "all"
	defaultSeeds = 20
	// atOnce is how many seeds are lived at the same time: most of a seed's time is waiting for leases to run out.
	atOnce = 4
)

func TestChaos(t *testing.T) {
	c := newTally()
	if text := os.Getenv(seedVariable); text != "" {
		seed := number(t, seedVariable, 0)
		t.Run(text, func(t *testing.T) { live(t, c, seed) })
		c.print(os.Stdout)
		return
	}
	blocks := blocksOf(shots())
	n, from := uint64(len(blocks)), number(t, fromVariable, 0)
	if os.Getenv(seedsVariable) != allSeeds {
		n = number(t, seedsVariable, defaultSeeds)
	}
	var seeds []uint64
	for i := range n {
		seeds = append(seeds, from+i)
	}
	liveAll(t, c, seeds)
	if n >= uint64(len(blocks)) {
		// Each kill and freeze was armed by now. What never fired is tried again by seeds that arm the same.
		for lap := uint64(1); lap <= 3 && len(c.unfired()) > 0 && !t.Failed(); lap++ {
			seeds = nil
			for i, block := range blocks {
				if overlap(block, c.unfired()) {
					seeds = append(seeds, uint64(i)+lap*uint64(len(blocks))*100)
				}
			}
			liveAll(t, c, seeds)
		}
		for _, s := range c.unfired() {
			t.Errorf("%v never fired", s)
		}
		// As many seeds as there are events cancel at each of them; how far the run is when it hears that is chance.
		for next := from + n; next < from+n+3*uint64(len(cancelEvents)) && len(c.unmet()) > 0 && !t.Failed(); next += uint64(len(cancelEvents)) {
			seeds = nil
			for i := range uint64(len(cancelEvents)) {
				seeds = append(seeds, next+i)
			}
			liveAll(t, c, seeds)
		}
		for _, moment := range c.unmet() {
			t.Errorf("no run was cancelled, and then resumed, at: %s", moment)
		}
		for _, name := range c.undone() {
			t.Errorf("it never happened that %s", name)
		}
	}
	c.print(os.Stdout)
}

// number reads a number from the environment.
func number(t *testing.T, variable string, unset uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return unset
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s is no number", variable, text)
	}
	return n
}

func overlap(a, b []shot) bool {
	for _, s := range a {
		for _, other := range b {
			if s == other {
				return true
			}
		}
	}
	return false
}

// liveAll lives seeds, some at a time.
func liveAll(t *testing.T, c *tally, seeds []uint64) {
	todo := make(chan uint64)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for seed := range todo {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { live(t, c, seed) })
			}
		})
	}
	for _, seed := range seeds {
		todo <- seed
	}
	close(todo)
	all.Wait()
}

// live lives a seed: the steps of a history, each followed by a run that is disturbed, and then looks whether all is as if
// nobody had disturbed it.
func live(t *testing.T, c *tally, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	s := open(t, c, seed, rng)
	history := int(seed % histories)
	if s.arms("append.stage_failed") {
		history = wrongHistory
	}
	q := undisturbedOf(t, history)
	t.Logf("seed %d: history %d, armed %v", seed, history, s.shots)
	for server := range s.conns {
		s.under.Go(func() { s.read(server, q) })
	}
	for n, step := range historyOf(history) {
		s.step(rng, n, step)
		if t.Failed() || s.broken() {
			return
		}
	}
	s.disturbing.Wait()
	s.wantInvariants(rng, q)
}

// step drops files and runs the flow until the step is published, or has failed as it must.
func (s *shop) step(rng *rand.Rand, n int, step step) {
	step.drop(s.t, s.landing, n)
	s.mu.Lock()
	s.at.submitted = n + 1
	s.mu.Unlock()
	p := s.plot(rng, n, step)
	for try := 1; ; try++ {
		disturbances := s.draw(rng)
		s.note("step %d, %s: %v %v", n+1, step.name, p, disturbances)
		run := s.run(disturbances, p)
		if run == nil {
			return
		}
		s.note("%s ended as %v: %v", run.GetName(), run.GetState(), run.GetError())
		s.tally.count(func(c *tally) { c.runs[strings.TrimPrefix(run.GetState().String(), "RUN_STATE_")]++ })
		refused := run.GetState() == shoplakev1.RunState_RUN_STATE_FAILED && run.GetError().GetClass() == shoplakev1.ErrorClass_ERROR_CLASS_BAD_DATA
		switch {
		case step.fails && refused && strings.Contains(run.GetError().GetMessage(), "amount_small"):
			return
		case run.GetState() == shoplakev1.RunState_RUN_STATE_SUCCEEDED && !step.fails:
			s.mu.Lock()
			s.at.published = n + 1
			s.mu.Unlock()
			return
		case run.GetState() == shoplakev1.RunState_RUN_STATE_CANCELLED && p.cancel != "":
		case run.GetState() == shoplakev1.RunState_RUN_STATE_FAILED && s.failureAllowed():
		default:
			s.problem("step %d, %s: %s ended as %v: %v", n+1, step.name, run.GetName(), run.GetState(), run.GetError())
			s.t.FailNow()
		}
		if try == 8 {
			s.problem("step %d, %s is not done after %d runs", n+1, step.name, try)
			s.t.FailNow()
		}
		s.disturbing.Wait()
		p = plot{resume: p.resume}
		if p.resume {
			p.again = run.GetName()
		}
	}
}

func (s *shop) failureAllowed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayFail
}

// run submits a run, or resumes one, and watches it to its end through all control planes.
func (s *shop) run(disturbances []disturbance, p plot) *shoplakev1.Run {
	ctx, stop := context.WithTimeout(s.ctx, patience)
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	for _, d := range disturbances {
		s.arm(d, ended)
	}
	if p.dry {
		s.dryRun(ctx)
	}
	background := ""
	if p.background {
		background = s.submitBackground(ctx)
	}
	if p.maintain {
		s.tally.count(func(c *tally) { c.disturbances["a run meets maintenance"]++ })
		background = s.submit(ctx, &shoplakev1.SubmitRunRequest{Flow: maintenance, RequestId: uuid.NewString()})
	}
	name := p.again
	if name == "" || !s.resume(ctx, name) {
		name = s.submit(ctx, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", RequestId: uuid.NewString()})
	}
	if name == "" {
		return nil
	}
	on := func(event string, do func()) {
		next := s.next(event)
		s.under.Go(func() {
			select {
			case <-next:
				do()
			case <-ended:
			case <-ctx.Done():
			}
		})
	}
	switch {
	case p.cancel == "submitted":
		s.cancel(ctx, name)
	case p.cancel != "":
		on(p.cancel, func() { s.cancel(ctx, name) })
	}
	if p.foreign {
		on("stage/silver.sales/RUNNING", func() { s.commitForeign(ctx) })
	}
	run := s.awaitEnd(ctx, name)
	if background != "" && run != nil {
		if other := s.awaitEnd(ctx, background); other.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED && !s.failureAllowed() {
			s.problem("%s, in the background, ended as %v: %v", background, other.GetState(), other.GetError())
		}
	}
	return run
}

// awaitEnd watches a run to its end through all control planes.
func (s *shop) awaitEnd(ctx context.Context, name string) *shoplakev1.Run {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	result := make(chan *shoplakev1.Run, len(s.conns))
	for server := range s.conns {
		s.under.Go(func() { s.watch(watching, server, name, result) })
	}
	select {
	case run := <-result:
		return run
	case <-ctx.Done():
		s.problem("%s has not ended after %v", name, patience)
		s.t.FailNow()
		return nil
	}
}

// submit asks one control plane after the other until one has the run. It is one request, however often it is made.
func (s *shop) submit(ctx context.Context, request *shoplakev1.SubmitRunRequest) string {
	var run *shoplakev1.Run
	err := s.tell(ctx, "submit a run", func(ctx context.Context, client shoplakev1.RunServiceClient) (err error) {
		run, err = client.SubmitRun(ctx, request)
		return err
	})
	if err == nil {
		s.note("%s is submitted", run.GetName())
		s.submitted(run)
		return run.GetName()
	}
	s.problem("no control plane takes a run: %v", err)
	s.t.FailNow()
	return ""
}

// judge refuses an error that no disturbance explains.
func (s *shop) judge(doing string, err error) {
	switch code := status.Code(err); code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
	default:
		if !s.failureAllowed() {
			s.problem("%s: %v", doing, err)
		}
	}
}

// watch follows a run through one control plane, tells of each change, and sends the run when it has ended.
func (s *shop) watch(ctx context.Context, server int, name string, result chan<- *shoplakev1.Run) {
	states := map[string]string{}
	tell := func(what, state string) {
		if states[what] != state {
			states[what] = state
			s.happened(what + "/" + state)
		}
	}
	for ctx.Err() == nil {
		stream, err := shoplakev1.NewRunServiceClient(s.conns[server]).WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: name})
		for err == nil {
			var change *shoplakev1.WatchRunResponse
			if change, err = stream.Recv(); err != nil {
				break
			}
			run := change.GetRun()
			tell("run", strings.TrimPrefix(run.GetState().String(), "RUN_STATE_"))
			for _, stage := range change.GetStages() {
				tell("stage/"+stage.GetTable(), strings.TrimPrefix(stage.GetState().String(), "STAGE_STATE_"))
			}
			if run.GetEndTime() != nil {
				result <- run
				return
			}
		}
		if ctx.Err() == nil {
			s.judge("watch a run", err)
			s.pause(100 * time.Millisecond)
		}
	}
}

func pipelineFolder(t testing.TB) string {
	t.Helper()
	folder, err := filepath.Abs("testdata/shop")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}
