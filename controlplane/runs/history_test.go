package runs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
)

// past writes the logs of runs that ended at some times, and gives their ids, the newest first.
func (l *leader) past(t *testing.T, seed uint64, ended ...time.Time) []string {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	entropy := make([]byte, 10)
	var ids []string
	for i, at := range ended {
		for j := range entropy {
			entropy[j] = byte(random.Uint32())
		}
		var id ulid.ULID
		if err := errors.Join(id.SetTime(ulid.Timestamp(at)), id.SetEntropy(entropy)); err != nil {
			t.Fatal(err)
		}
		end := finished(shoplakev1.RunState_RUN_STATE_FAILED, 0, &Failure{Class: dispatchv1.ErrorClass_ERROR_CLASS_BAD_DATA, Stage: "bronze.a", Message: "it's \"bad\"\x00"})
		if i%2 == 0 {
			end = finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, uint64(i+1), nil)
		}
		events := []*dispatchv1.RunEvent{
			{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: fmt.Sprint("flow", i%3), Trigger: "TRIGGER_MANUAL", PipelineDigest: "d", TraceId: "t", StartDate: "2026-01-01"}}},
			{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Stages: graph}}},
			{Kind: &dispatchv1.RunEvent_StageUpToDate{StageUpToDate: &dispatchv1.StageUpToDate{Stage: "bronze.a", Reason: "é"}}},
			end,
		}
		for _, e := range events {
			e.Time = timestamppb.New(at)
		}
		s := l.log.write(t, id.String(), events...)
		if err := l.noteEnd(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.RunID)
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}

// listed lists all runs, by pages of a size.
func listed(t *testing.T, l *Log, size int) []string {
	t.Helper()
	var all []string
	for before := ""; ; {
		n := 0
		err := l.List(t.Context(), before, func(s *State) bool {
			if n == size {
				return false
			}
			n++
			all = append(all, s.RunID)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if n < size {
			return all
		}
		before = all[len(all)-1]
	}
}

// rows counts the rows of ops.runs.
func (h *History) rows(t *testing.T) int {
	t.Helper()
	byMonth, _, err := h.months(t.Context())
	if errors.Is(err, lake.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, files := range byMonth {
		for _, f := range files {
			n += f.Rows
		}
	}
	return int(n)
}

// Runs that have ended are in ops.runs once each, and answer as they did when their logs are gone: wherever a pass was broken off.
func TestHistory(t *testing.T) {
	t.Parallel()
	const seed = 3
	t.Logf("seed %d", seed)
	c := newCoordinator(t)
	c.Retention = Retention{Runs: 7, Time: 24 * time.Hour}
	l := c.takeOver(t)
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	var times []time.Time
	for i := range 40 {
		times = append(times, now.Add(-time.Duration(i)*36*time.Hour)) // two months
	}
	ids := l.past(t, seed, times...)
	open := l.log.write(t, ids[20][:25]+"Z", submitted("daily")).RunID // an open run among them, as old as they
	want := append(slices.Clone(ids), open)
	slices.Sort(want)
	slices.Reverse(want)
	states := map[string]*State{}
	for _, id := range ids {
		states[id] = l.log.write(t, id)
	}

	// The first pass dies after its commit, before it is noted.
	if err := l.log.history.Add(t.Context(), l.epoch, []*State{states[ids[0]], states[ids[5]]}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.archive(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.log.history.rows(t); n != len(ids) {
		t.Errorf("ops.runs has %d rows, want %d", n, len(ids))
	}
	index, err := c.Bus.RunIndex(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Logs) != c.Retention.Runs+1 || len(index.Archived) != c.Retention.Runs || index.Logs[open] == 0 {
		t.Errorf("%d logs are left of %d, %d marked as archived", len(index.Logs), len(want), len(index.Archived))
	}
	for _, size := range []int{1, 3, 100} {
		if got := listed(t, NewLog(c.Bus, c.log.history), size); !slices.Equal(got, want) {
			t.Errorf("by pages of %d there are %d runs:\n%v, want\n%v", size, len(got), got, want)
		}
	}
	fresh := NewLog(c.Bus, c.log.history)
	for _, id := range ids {
		err := fresh.View(t.Context(), id, func(s *State) error {
			if d := difference(s, states[id]); d != "" {
				t.Errorf("run %s is told in another way:\n%s", id, d)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	old := ids[len(ids)-1]
	if err := fresh.Cancel(t.Context(), old); !errors.Is(err, ErrEnded) {
		t.Errorf("cancel of an archived run: %v", err)
	}
	told := 0
	if err := fresh.Watch(t.Context(), old, 0, func(s *State, changed []string) error { told++; return nil }); err != nil || told != 1 {
		t.Errorf("an archived run was told %d times: %v", told, err)
	}
	if err := fresh.View(t.Context(), old[:25]+"0", func(*State) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("a run that never was: %v", err)
	}

	// NATS lost its state: what the lake has is still told.
	other := newCoordinator(t)
	other.log = NewLog(other.Bus, c.log.history)
	for range 2 {
		if got := listed(t, other.log, 9); !slices.Equal(got, ids) {
			t.Errorf("after NATS lost its state there are %v, want %v", got, ids)
		}
		if err := other.takeOver(t).startPurged(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A log stays for as long as a request may be repeated, and while it is among the newest; whatever the lake does not have stays too.
func TestLogsThatStay(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	c.Retention = Retention{Runs: 1, Time: time.Minute}
	l := c.takeOver(t)
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	ids := l.past(t, 5, now.Add(-time.Hour), now.Add(-48*time.Hour), now.Add(-50*time.Hour), now.Add(-51*time.Hour))
	lost := ids[2]
	if err := c.Bus.MarkArchived(t.Context(), lost, 4); err != nil { // an old copy of the lake came back: it does not have the run
		t.Fatal(err)
	}
	for pass, want := range [][]string{{ids[2], ids[1], ids[0]}, {ids[1], ids[0]}} {
		// The first pass finds that the mark is wrong, the second archives the run.
		if err := l.archive(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		logs, err := c.Bus.Runs(t.Context())
		if err != nil || !slices.Equal(logs, want) {
			t.Errorf("after pass %d the logs are %v, want %v: %v", pass+1, logs, want, err)
		}
	}
	if got := listed(t, l.log, 2); !slices.Equal(got, ids) {
		t.Errorf("listed are %v, want %v", got, ids)
	}
}

// Two coordinators that both believe that they lead add each run once.
func TestHistoryHasOneWriter(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	l := c.takeOver(t)
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	ids := l.past(t, 7, now, now.Add(-time.Hour))
	s := l.log.write(t, ids[0])
	if err := l.log.history.Add(t.Context(), 9, []*State{s}); err != nil {
		t.Fatal(err)
	}
	if err := l.archive(t.Context(), now); !errors.Is(err, lake.ErrFenced) {
		t.Errorf("a former coordinator adds runs: %v", err)
	}
	l.epoch = 10
	if err := l.archive(t.Context(), now); err != nil || l.log.history.rows(t) != 2 {
		t.Errorf("ops.runs has %d rows: %v", l.log.history.rows(t), err)
	}
}

// A run that is resumed and ends again has one row, of its last end, among those that stay as they are.
func TestHistoryOfAResumedRun(t *testing.T) {
	t.Parallel()
	c := newCoordinator(t)
	l := c.takeOver(t)
	now := time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)
	ids := l.past(t, 9, now, now.Add(-time.Hour), now.Add(-2*time.Hour)) // the second one has failed
	if err := l.archive(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if err := l.log.Resume(t.Context(), ids[1], nil); err != nil {
		t.Fatal(err)
	}
	if err := l.archive(t.Context(), now); err != nil { // it is open: nothing changes
		t.Fatal(err)
	}
	s := l.log.write(t, ids[1], finished(shoplakev1.RunState_RUN_STATE_SUCCEEDED, 8, nil))
	if err := l.noteEnd(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.archive(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.log.history.rows(t); n != len(ids) {
		t.Errorf("ops.runs has %d rows, want %d", n, len(ids))
	}
	for i, id := range ids {
		want := l.log.write(t, id)
		got, err := l.log.history.Run(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(got, want); d != "" {
			t.Errorf("run %d:\n%s", i, d)
		}
	}
	if err := l.raisePurged(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	failed := l.past(t, 10, now.Add(-4*time.Hour), now.Add(-5*time.Hour))[1]
	if err := l.log.Resume(t.Context(), failed, nil); !errors.Is(err, ErrNotResumable) {
		t.Errorf("a run whose log is being removed is resumed: %v", err)
	}
}
