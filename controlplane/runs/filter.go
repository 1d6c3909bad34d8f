package runs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

var (
	// ErrInterval says that a run's interval is empty.
	ErrInterval = errors.New("the interval holds no day")
	// ErrFilter says that a filter cannot be read.
	ErrFilter = errors.New("filter cannot be read")
)

var comparison = regexp.MustCompile(`^\s*(state|flow|trigger)\s*(=|!=)\s*("([^"]*)"|[A-Za-z0-9_/.-]+)\s*$`)

// parseFilter reads the part of AIP-160 that runs need: comparisons of state, flow and trigger, joined by AND.
func parseFilter(filter string) (func(*shoplakev1.Run) bool, error) {
	if strings.TrimSpace(filter) == "" {
		return func(*shoplakev1.Run) bool { return true }, nil
	}
	var tests []func(*shoplakev1.Run) bool
	for _, term := range strings.Split(filter, " AND ") {
		m := comparison.FindStringSubmatch(term)
		if m == nil {
			return nil, fmt.Errorf(`%w: %q: write comparisons like state = FAILED AND flow = "flows/daily"`, ErrFilter, term)
		}
		field, equal, want := m[1], m[2] == "=", m[3]
		if strings.HasPrefix(want, `"`) {
			want = m[4]
		}
		tests = append(tests, func(r *shoplakev1.Run) bool { return (valueOf(r, field) == want) == equal })
	}
	return func(r *shoplakev1.Run) bool {
		for _, test := range tests {
			if !test(r) {
				return false
			}
		}
		return true
	}, nil
}

func valueOf(r *shoplakev1.Run, field string) string {
	switch field {
	case "state":
		return strings.TrimPrefix(r.GetState().String(), "RUN_STATE_")
	case "trigger":
		return strings.TrimPrefix(r.GetTrigger().String(), "TRIGGER_")
	}
	return r.GetFlow()
}
