package bus

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func TestPublished(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(testContext(t))
	b := setup(t)
	p, revision, err := b.Published(ctx)
	check(t, err)
	if p.GetVersion() != 0 || revision != 0 {
		t.Errorf("before anything is published: %v, revision %d", p, revision)
	}
	_, err = b.PublishedAt(ctx, time.Now())
	wantError(t, err, ErrNotFound)

	watched := must[<-chan *dispatchv1.Published](t)(b.WatchPublished(ctx))
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	record := func(version uint64) *dispatchv1.Published {
		return &dispatchv1.Published{
			Version: version, Time: timestamppb.New(begin.Add(time.Duration(version) * time.Hour)),
			Snapshots: map[string]int64{"gold.daily_revenue": int64(version)},
		}
	}
	revision = must[uint64](t)(b.MovePublished(ctx, record(1), 0))
	if got := receive(t, ctx, watched); got.GetVersion() != 1 {
		t.Errorf("watched %v", got)
	}
	for _, stale := range []uint64{0, revision + 1} {
		_, err := b.MovePublished(ctx, record(9), stale)
		wantError(t, err, ErrConflict)
	}
	next := must[uint64](t)(b.MovePublished(ctx, record(2), revision))
	_, err = b.MovePublished(ctx, record(9), revision)
	wantError(t, err, ErrConflict)
	if got := receive(t, ctx, watched); got.GetVersion() != 2 {
		t.Errorf("watched %v", got)
	}
	if got := receive(t, ctx, must[<-chan *dispatchv1.Published](t)(b.WatchPublished(ctx))); got.GetVersion() != 2 {
		t.Errorf("a new watch begins with %v", got)
	}
	p, revision, err = b.Published(ctx)
	check(t, err)
	if p.GetVersion() != 2 || revision != next || p.GetSnapshots()["gold.daily_revenue"] != 2 {
		t.Errorf("published %v at %d", p, revision)
	}
	for hours, want := range map[int]uint64{1: 1, 2: 2, 100: 2} {
		got := must[*dispatchv1.Published](t)(b.PublishedAt(ctx, begin.Add(time.Duration(hours)*time.Hour)))
		if got.GetVersion() != want {
			t.Errorf("after %d h version %d was published, want %d", hours, got.GetVersion(), want)
		}
	}
	_, err = b.PublishedAt(ctx, begin.Add(time.Hour-1))
	wantError(t, err, ErrNotFound)

	for version := uint64(3); version <= publishedHistory+5; version++ {
		revision = must[uint64](t)(b.MovePublished(ctx, record(version), revision))
	}
	history := must[[]*dispatchv1.Published](t)(b.PublishedHistory(ctx))
	if len(history) != publishedHistory || history[0].GetVersion() != publishedHistory+5 {
		t.Errorf("%d records are kept, the first is %v", len(history), history[0])
	}
	// Who did not listen gets the newest only.
	for receive(t, ctx, watched).GetVersion() != publishedHistory+5 {
	}
	cancel()
	closed(t, testContext(t), watched)
}

func TestClaimRequest(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	for _, request := range []string{"3f0c1f0e-0000-4000-8000-000000000000", "schedule: daily at 06:00", "a.b*>"} {
		var mu sync.Mutex
		created := make(map[string]int)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				run, won, err := b.ClaimRequest(ctx, request, fmt.Sprintf("RUN%d", i))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if won {
					created["won"]++
				}
				created[run]++
			})
		}
		wg.Wait()
		if len(created) != 2 || created["won"] != 1 {
			t.Errorf("request %q began %v", request, created)
		}
	}
	if _, _, err := b.ClaimRequest(ctx, "", "RUN1"); err == nil {
		t.Error("a request without an id was claimed")
	}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	for _, id := range []string{"w2", "w1", "w1"} {
		check(t, b.Heartbeat(ctx, &dispatchv1.WorkerStatus{WorkerId: id, Slots: 2}))
	}
	workers := must[[]*dispatchv1.WorkerStatus](t)(b.Workers(ctx))
	if len(workers) != 2 || workers[0].GetWorkerId() != "w1" || workers[1].GetSlots() != 2 {
		t.Errorf("workers are %v", workers)
	}
	check(t, b.RemoveWorker(ctx, "w1"))
	workers = must[[]*dispatchv1.WorkerStatus](t)(b.Workers(ctx))
	if len(workers) != 1 || workers[0].GetWorkerId() != "w2" {
		t.Errorf("workers are %v", workers)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	_, _, err := b.Setting(ctx, "active pipeline")
	wantError(t, err, ErrNotFound)
	revision := must[uint64](t)(b.CompareAndSetSetting(ctx, "active pipeline", []byte("a"), 0))
	_, err = b.CompareAndSetSetting(ctx, "active pipeline", []byte("b"), 0)
	wantError(t, err, ErrConflict)
	revision = must[uint64](t)(b.CompareAndSetSetting(ctx, "active pipeline", []byte("b"), revision))
	value, got, err := b.Setting(ctx, "active pipeline")
	check(t, err)
	if string(value) != "b" || got != revision {
		t.Errorf("setting is %q at %d, want revision %d", value, got, revision)
	}
	must[uint64](t)(b.PutSetting(ctx, "active pipeline", []byte("c")))
	_, err = b.CompareAndSetSetting(ctx, "active pipeline", []byte("d"), revision)
	wantError(t, err, ErrConflict)
	_, err = b.PutSetting(ctx, "large", make([]byte, MaxPayload))
	wantError(t, err, ErrTooLarge)
}

func TestObjects(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	_, err := b.Pipeline(ctx, "abc")
	wantError(t, err, ErrNotFound)
	_, err = b.Checkpoint(ctx, "RUN1")
	wantError(t, err, ErrNotFound)
	if got := must[[]PipelineInfo](t)(b.Pipelines(ctx)); len(got) != 0 {
		t.Errorf("pipelines are %v", got)
	}

	const seed = 7
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	large := make([]byte, 3<<20)
	for i := range large {
		large[i] = byte(random.Uint32())
	}
	for i, archive := range [][]byte{large, {}, []byte("small")} {
		digest := fmt.Sprintf("%064x", i)
		check(t, b.PutPipeline(ctx, digest, archive))
		check(t, b.PutPipeline(ctx, digest, archive))
		if got := must[[]byte](t)(b.Pipeline(ctx, digest)); !bytes.Equal(got, archive) {
			t.Errorf("pipeline %d is %d bytes, want %d", i, len(got), len(archive))
		}
	}
	pipelines := must[[]PipelineInfo](t)(b.Pipelines(ctx))
	if len(pipelines) != 3 || pipelines[0].Digest != fmt.Sprintf("%064x", 2) || pipelines[0].Time.Before(pipelines[2].Time) {
		t.Errorf("pipelines are %v", pipelines)
	}

	for _, state := range [][]byte{large, []byte("later")} {
		check(t, b.PutCheckpoint(ctx, "RUN1", state))
		if got := must[[]byte](t)(b.Checkpoint(ctx, "RUN1")); !bytes.Equal(got, state) {
			t.Errorf("checkpoint is %d bytes, want %d", len(got), len(state))
		}
	}
	check(t, b.RemoveCheckpoint(ctx, "RUN1"))
	check(t, b.RemoveCheckpoint(ctx, "RUN1"))
	_, err = b.Checkpoint(ctx, "RUN1")
	wantError(t, err, ErrNotFound)
}
