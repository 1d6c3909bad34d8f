//go:build unix

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/telemetry"
)

// plot is what else people and programs do around a run.
type plot struct {
	// dry asks before the run what it would build.
	dry bool
	// background runs everything again in the background: the run overtakes it.
	background bool
	// maintain lets maintenance begin before the run.
	maintain bool
	// cancel takes the run back when something happens, see cancelEvents; empty: never. resume lets it go on then; otherwise
	// another one is submitted.
	cancel string
	resume bool
	// again is the run to resume.
	again string
	// foreign lets another program write into a table that the run is about to write.
	foreign bool
}

func (p plot) String() string {
	var words []string
	for word, is := range map[string]bool{"dry run": p.dry, "background": p.background, "maintenance": p.maintain, "cancel at " + p.cancel: p.cancel != "", "resume": p.resume, "foreign commit": p.foreign} {
		if is {
			words = append(words, word)
		}
	}
	return "{" + strings.Join(words, ", ") + "}"
}

// plot draws what is done around the n'th run. Points that are armed, and lie where only few runs come by, are led to.
func (s *shop) plot(rng *rand.Rand, n int, step step) plot {
	drawn := func(points ...string) bool {
		one := rng.IntN(8) == 0
		for _, point := range points {
			one = one || s.arms(point) && (n == 1 || n == 2)
		}
		return one && !step.fails
	}
	p := plot{
		dry:        drawn("append.stage_previewed"),
		background: drawn("append.suspended", "append.resumed") && n > 0,
		resume:     drawn("append.reopened"),
		foreign:    drawn("append.stage_reset") && n > 0,
	}
	if !p.background {
		p.maintain = drawn("remove.file") && n > 0
	}
	// A run that is cancelled overtakes nobody.
	if (drawn("append.cancel_requested", "append.reopened") || cancelSteps[n] && !step.fails) && !p.background {
		p.cancel = cancelEvents[(int(s.seed)+n)%len(cancelEvents)]
		p.resume = p.resume || cancelSteps[n]
	}
	return p
}

// cancelSteps are those at which each seed cancels a run and resumes it, each seed at other events.
var cancelSteps = map[int]bool{2: true, 4: true}

// cancelEvents are when runs are cancelled.
var cancelEvents = []string{"submitted", "stage/bronze.sales/RUNNING", "stage/bronze.sales/COMMITTING", "stage/silver.sales/RUNNING",
	"stage/silver.sales/CHECKING", "stage/silver.sales/COMMITTING", "stage/silver.sales/SUCCEEDED", "stage/gold.daily_sales/RUNNING", "stage/gold.daily_sales/COMMITTING"}

// arms tells whether a point of a step is armed, fired or not.
func (s *shop) arms(step string) bool {
	for _, text := range s.shots {
		if point, _, _ := strings.Cut(text, "="); pointStep(point) == step {
			return true
		}
	}
	return false
}

// submitted remembers a run.
func (s *shop) submitted(run *shoplakev1.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, strings.TrimPrefix(run.GetName(), "runs/"))
	s.digest = strings.TrimPrefix(run.GetPipeline(), "pipelines/")
}

// dryRun asks what a run would build. Who asks goes away now and then before it is answered.
func (s *shop) dryRun(ctx context.Context) {
	s.tally.count(func(c *tally) { c.disturbances["somebody asks for a dry run"]++ })
	for n := range 4 {
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		run, err := shoplakev1.NewRunServiceClient(s.conns[n%len(s.conns)]).SubmitRun(one, &shoplakev1.SubmitRunRequest{Flow: "flows/daily", ValidateOnly: true})
		cancel()
		if err == nil {
			s.note("a dry run says %d stages", len(run.GetPlannedStages()))
			return
		}
		s.judge("ask for a dry run", err)
		s.pause(100 * time.Millisecond)
	}
}

// submitBackground submits a run that lets others overtake it.
func (s *shop) submitBackground(ctx context.Context) string {
	s.tally.count(func(c *tally) { c.disturbances["a run is overtaken"]++ })
	s.mu.Lock()
	digest := s.digest
	s.mu.Unlock()
	submitted := &dispatchv1.RunSubmitted{Flow: "daily", Trigger: shoplakev1.Trigger_TRIGGER_BACKFILL.String(), RequestId: uuid.NewString(), PipelineDigest: digest, FullRefresh: true}
	submitted.TraceId, submitted.SpanId = telemetry.NewIDs()
	planned := s.next("stage/bronze.sales/RUNNING")
	id, err := runs.NewLog(s.bus, nil).Submit(ctx, submitted)
	if err != nil {
		s.problem("submit a run in the background: %v", err)
		s.t.FailNow()
	}
	name := "runs/" + id
	s.note("%s is submitted, in the background", name)
	s.submitted(&shoplakev1.Run{Name: name, Pipeline: "pipelines/" + digest})
	watching, stop := context.WithCancel(ctx)
	defer stop()
	result := make(chan *shoplakev1.Run, len(s.conns))
	for server := range s.conns {
		s.under.Go(func() { s.watch(watching, server, name, result) })
	}
	select {
	case <-planned: // it has begun, and can be overtaken
	case <-result:
	case <-ctx.Done():
	}
	return name
}

// cancel asks for a run's end, until somebody heard it or the run has ended.
func (s *shop) cancel(ctx context.Context, name string) {
	s.tally.count(func(c *tally) { c.disturbances["a run is cancelled"]++ })
	err := s.tell(ctx, "cancel a run", func(ctx context.Context, client shoplakev1.RunServiceClient) error {
		_, err := client.CancelRun(ctx, &shoplakev1.CancelRunRequest{Name: name})
		return err
	})
	s.note("cancelled %s: %v", name, err)
}

// resume lets a run go on that has ended; false where that is refused.
func (s *shop) resume(ctx context.Context, name string) bool {
	s.tally.count(func(c *tally) { c.disturbances["a run is resumed"]++ })
	err := s.tell(ctx, "resume a run", func(ctx context.Context, client shoplakev1.RunServiceClient) error {
		_, err := client.ResumeRun(ctx, &shoplakev1.ResumeRunRequest{Name: name})
		return err
	})
	s.note("resumed %s: %v", name, err)
	return err == nil
}

// tell says something to one control plane after the other, until one has heard it, or refuses.
func (s *shop) tell(ctx context.Context, doing string, f func(context.Context, shoplakev1.RunServiceClient) error) error {
	for n := 0; ctx.Err() == nil; n++ {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := f(one, shoplakev1.NewRunServiceClient(s.conns[n%len(s.conns)]))
		cancel()
		if err == nil || status.Code(err) == codes.FailedPrecondition {
			return err
		}
		s.judge(doing, err)
		s.pause(50 * time.Millisecond)
	}
	return ctx.Err()
}

// commitForeign makes a snapshot of silver.sales that changes nothing, as another program could: the run must plan it again.
func (s *shop) commitForeign(ctx context.Context) {
	l, err := lake.Open(ctx, lake.Config{Warehouse: s.path("lake")})
	if err != nil {
		s.foreignFailed(err)
		return
	}
	defer l.Close()
	epoch, err := l.HighestEpoch(ctx)
	if err == nil {
		_, err = l.Commit(ctx, lake.Commit{Table: "silver.sales", Epoch: epoch})
	}
	if err != nil {
		s.foreignFailed(err)
		return
	}
	s.note("another program committed to silver.sales")
	s.tally.count(func(c *tally) { c.disturbances["another program commits to a table"]++ })
}

func (s *shop) foreignFailed(err error) {
	s.note("another program could not commit: %v", err)
	if !s.failureAllowed() && s.ctx.Err() == nil {
		s.tally.count(func(c *tally) { c.disturbances[fmt.Sprintf("(another program could not commit: %.40s)", err)]++ })
	}
}

// broken tells whether something was seen that must not be.
func (s *shop) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.problems) > 0
}
