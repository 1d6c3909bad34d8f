package failpoint

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

func TestNothingIsArmedByItself(t *testing.T) {
	t.Parallel()
	s, err := parse("")
	if err != nil || s != nil {
		t.Fatalf("got %v, %v", s, err)
	}
	done := 0
	if err := s.around(t.Context(), AckTask, func() error { done++; return nil }); err != nil || done != 1 {
		t.Errorf("got %v, done %d times", err, done)
	}
}

func TestPassages(t *testing.T) {
	t.Parallel()
	s, err := parse("ack.task.before=error@2-3, move.published.after=enospc")
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	step := func() error { done++; return nil }
	for n, fails := range []bool{false, true, true, false} {
		if err := s.around(t.Context(), AckTask, step); errors.Is(err, ErrInjected) != fails {
			t.Errorf("passage %d: %v", n+1, err)
		}
	}
	if done != 2 {
		t.Errorf("the step was done %d times, want 2: an error before it keeps it from being done", done)
	}
	done = 0
	if err := s.around(t.Context(), MovePublished, step); !errors.Is(err, syscall.ENOSPC) || done != 1 {
		t.Errorf("got %v, done %d times: an error after a step comes though it was done", err, done)
	}
	own := errors.New("own")
	if err := s.around(t.Context(), AckReport, func() error { return own }); !errors.Is(err, own) {
		t.Errorf("got %v, want the step's own error", err)
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"ack.task.before", "ack.task=kill", "nowhere.before=kill", "ack.task.before=melt", "ack.task.before=kill@0",
		"ack.task.before=kill@3-2", "ack.task.before=kill@x", "ack.task.before=kill@1-"} {
		if s, err := parse(text); err == nil {
			t.Errorf("%q is taken as %v", text, s)
		}
	}
}

// Every event that a run's log may hold has its points.
func TestEveryEventHasPoints(t *testing.T) {
	t.Parallel()
	fields := (&dispatchv1.RunEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	points := Points()
	for i := range fields.Len() {
		var field protoreflect.FieldDescriptor = fields.Get(i)
		if name := string(field.Name()); !slices.Contains(points, "append."+name+".before") {
			t.Errorf("the event %s has no point", name)
		}
	}
	for _, point := range points {
		if strings.Contains(point, "..") || strings.Count(point, " ") > 0 {
			t.Errorf("%q is not the name of a point", point)
		}
	}
}
