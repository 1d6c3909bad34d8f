package pipeline

import (
	"strings"
	"testing"
	"time"
)

func TestWorkSet(t *testing.T) {
	t.Parallel()
	w := DefaultWork
	for key, value := range map[string]string{"pool": "large", "slots": "2", "attempts": "5", "timeout": "30m", "stage_timeout": "2h"} {
		if fault := w.set(key, value); fault != "" {
			t.Errorf("%s %s: %s", key, value, fault)
		}
	}
	if want := (Work{Pool: "large", Slots: 2, Attempts: 5, Timeout: 30 * time.Minute, StageTimeout: 2 * time.Hour}); w != want {
		t.Errorf("got %+v, want %+v", w, want)
	}
	for _, c := range [][2]string{{"pool", "Large Pool"}, {"slots", "0"}, {"slots", "many"}, {"attempts", "-1"}, {"attempts", "1000"}, {"timeout", "30"}, {"timeout", "1ms"}, {"speed", "fast"}} {
		if fault := w.set(c[0], c[1]); fault == "" || !strings.Contains(fault, strings.Split(c[0], "_")[0]) {
			t.Errorf("%s %s is faulted with %q", c[0], c[1], fault)
		}
	}
}

func TestWorkOfATable(t *testing.T) {
	t.Parallel()
	p := &Pipeline{Tasks: Work{Pool: "small", Slots: 1, Attempts: 4, Timeout: time.Hour},
		Models: []*Model{{Table: "gold.heavy", Tasks: map[string]string{"pool": "large", "slots": "4"}}, {Table: "gold.light"}}}
	if got, want := p.Work("gold.heavy"), (Work{Pool: "large", Slots: 4, Attempts: 4, Timeout: time.Hour}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := p.Work("gold.light"); got != p.Tasks {
		t.Errorf("got %+v, want what holds for all", got)
	}
	if got := (&Pipeline{}).Work("gold.light"); got != DefaultWork {
		t.Errorf("got %+v, want the default", got)
	}
}
