package sample

import "testing"

func TestNextDayFollowsTheLast(t *testing.T) {
	t.Parallel()
	m := &Manifest{}
	if got := m.NextDay(); got != "" {
		t.Errorf("without days the next is %q, want none", got)
	}
	m.Runs = []ManifestRun{{Start: "2026-01-01", Days: 180}, {Start: "2026-04-01", Days: 1}}
	if got, want := m.NextDay(), "2026-06-30"; got != want {
		t.Errorf("the day after %v is %s, want %s", m.Runs, got, want)
	}
}
