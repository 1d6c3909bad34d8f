package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// SubmitOptions says what a run builds; the zero value is everything that is stale.
type SubmitOptions struct {
	// From is the first business day whose partitions may be built, To the day after the last; zero is unbounded.
	From, To Date
	// FullRefresh reads every file again and builds every table whole.
	FullRefresh bool
	// ValidateOnly writes no table: workers read the files that are new, and the run's planned stages say what would be built and
	// why. Submit then returns when that is known.
	ValidateOnly bool
	// RequestID is a UUID: the same one again is the same run. Where empty, Submit makes one, so that its own
	// retries never start a second run.
	RequestID string
}

// Submit starts a run of a flow ("daily" or "flows/daily").
func (c *Client) Submit(ctx context.Context, flow string, o SubmitOptions) (*shoplakev1.Run, error) {
	id := o.RequestID
	if id == "" {
		id = uuid.NewString()
	}
	run, err := c.Runs.SubmitRun(ctx, &shoplakev1.SubmitRunRequest{
		Flow:         resource("flows/", flow),
		RequestId:    id,
		StartDate:    o.From.String(),
		EndDate:      o.To.String(),
		FullRefresh:  o.FullRefresh,
		ValidateOnly: o.ValidateOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("submit a run of %s: %w", flow, err)
	}
	return run, nil
}

// Resume lets a run ("runs/01J..." or the id alone) that failed or was cancelled go on: it does what it has not done, on the inputs
// that it had pinned. Where another run has changed its tables since, the server refuses (FAILED_PRECONDITION): submit a new run.
func (c *Client) Resume(ctx context.Context, name string) (*shoplakev1.Run, error) {
	run, err := c.Runs.ResumeRun(ctx, &shoplakev1.ResumeRunRequest{Name: resource("runs/", name)})
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", name, err)
	}
	return run, nil
}

// RunFailedError says that a run ended in another state than SUCCEEDED.
type RunFailedError struct {
	Run *shoplakev1.Run
}

func (e *RunFailedError) Error() string {
	state := "ended as " + e.Run.GetState().String()
	switch e.Run.GetState() {
	case shoplakev1.RunState_RUN_STATE_FAILED:
		state = "failed"
	case shoplakev1.RunState_RUN_STATE_CANCELLED:
		state = "was cancelled"
	}
	msg := e.Run.GetName() + " " + state
	if stage := e.Run.GetError().GetStage(); stage != "" {
		msg += " in " + stage
	}
	if reason := e.Run.GetError().GetMessage(); reason != "" {
		msg += ": " + reason
	}
	return msg
}

// Update is what WaitRun tells about a run on its way.
type Update struct {
	// Sequence grows with every change.
	Sequence uint64
	// Run is the run as it is now.
	Run *shoplakev1.Run
	// Stages are all stages as they are now, in the order of their dependencies.
	Stages []*shoplakev1.Stage
	// Changed are the stages that this update is about.
	Changed []*shoplakev1.Stage
	// Lost is why the connection broke, while WaitRun tries again; nothing else is new then.
	Lost error
}

// WaitRun watches a run ("runs/01J..." or the id alone) until it has ended and returns it as it ended. onUpdate, where not
// nil, is called in order for every change, from the goroutine of the caller. A broken connection is made again and
// the watch goes on after the last change seen; without a connection for 5 minutes (see WithReconnect) it gives up. The
// error is a *RunFailedError where the run did not succeed; the run is returned then, too.
func (c *Client) WaitRun(ctx context.Context, name string, onUpdate func(Update)) (*shoplakev1.Run, error) {
	if onUpdate == nil {
		onUpdate = func(Update) {}
	}
	w := watch{client: c, name: resource("runs/", name), onUpdate: onUpdate, index: map[string]int{}}
	var lostSince time.Time
	backoff := 100 * time.Millisecond
	for {
		seen := w.messages
		err := w.follow(ctx)
		if err == nil {
			if w.state.Run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
				return w.state.Run, &RunFailedError{Run: w.state.Run}
			}
			return w.state.Run, nil
		}
		if ctx.Err() != nil {
			return w.state.Run, fmt.Errorf("wait for %s: %w", w.name, context.Cause(ctx))
		}
		if !reconnectable(err) {
			return w.state.Run, fmt.Errorf("wait for %s: %w", w.name, err)
		}
		if w.messages > seen || lostSince.IsZero() {
			lostSince, backoff = time.Now(), 100*time.Millisecond
		}
		if time.Since(lostSince) > c.reconnect {
			return w.state.Run, fmt.Errorf("wait for %s: no connection for %s; the run itself goes on: %w", w.name, c.reconnect, err)
		}
		lost := w.state
		lost.Changed, lost.Lost = nil, err
		onUpdate(lost)
		// Jitter, so that the clients of a server that comes back do not come all at once.
		select {
		case <-time.After(backoff/2 + rand.N(backoff)):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, 5*time.Second)
	}
}

// watch holds what WaitRun has seen so far, over several streams.
type watch struct {
	client   *Client
	name     string
	onUpdate func(Update)
	state    Update
	index    map[string]int // place of a stage in state.Stages, by table
	messages int
}

// follow reads one stream until the run has ended (nil) or the stream has.
func (w *watch) follow(ctx context.Context) error {
	// A stream that is left must be cancelled, else its resources stay.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.Runs.WatchRun(ctx, &shoplakev1.WatchRunRequest{Name: w.name, AfterSequence: w.state.Sequence})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			// A server that shuts down ends its streams; the run has not ended with it.
			return status.Error(codes.Unavailable, "the server ended the watch before the run had ended")
		}
		if err != nil {
			return err
		}
		w.messages++
		w.apply(m)
		w.onUpdate(w.state)
		if Ended(w.state.Run.GetState()) {
			return nil
		}
	}
}

func (w *watch) apply(m *shoplakev1.WatchRunResponse) {
	w.state.Sequence = max(w.state.Sequence, m.GetSequence())
	if m.GetRun() != nil {
		w.state.Run = m.GetRun()
	}
	// The callback may keep the slice that it was given.
	stages := append([]*shoplakev1.Stage(nil), w.state.Stages...)
	for _, s := range m.GetStages() {
		if i, ok := w.index[s.GetTable()]; ok {
			stages[i] = s
			continue
		}
		w.index[s.GetTable()] = len(stages)
		stages = append(stages, s)
	}
	w.state.Stages, w.state.Changed = stages, m.GetStages()
}

// Ended tells whether a run in this state changes no more.
func Ended(s shoplakev1.RunState) bool {
	switch s {
	case shoplakev1.RunState_RUN_STATE_SUCCEEDED, shoplakev1.RunState_RUN_STATE_FAILED, shoplakev1.RunState_RUN_STATE_CANCELLED:
		return true
	default:
		return false
	}
}

// reconnectable tells whether a new stream may do what this one could not.
func reconnectable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Aborted, codes.Internal, codes.ResourceExhausted, codes.Unknown:
		return true
	default:
		return false
	}
}

// resource puts the collection before an id that comes without it.
func resource(collection, name string) string {
	if strings.HasPrefix(name, collection) {
		return name
	}
	return collection + name
}
