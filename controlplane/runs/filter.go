package runs

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

var (
	// ErrInterval says that a run's interval is empty.
	ErrInterval = errors.New("the interval holds no day")
	// ErrFilter says that a filter cannot be read.
	ErrFilter = errors.New("filter cannot be read")
)

var comparison = regexp.MustCompile(`^\s*(state|flow|trigger|dry_run)\s*(=|!=)\s*("([^"]*)"|[A-Za-z0-9_/.-]+)\s*$`)

// filterValues are the values that a field can have; any where it is not named here.
var filterValues = map[string][]string{
	"state":   words(shoplakev1.RunState_name, "RUN_STATE_"),
	"trigger": words(shoplakev1.Trigger_name, "TRIGGER_"),
	"dry_run": {"true", "false"},
}

// words are the names of an enum, in order, without their prefix and without that of zero.
func words(names map[int32]string, prefix string) (list []string) {
	for _, n := range slices.Sorted(maps.Keys(names))[1:] {
		list = append(list, strings.TrimPrefix(names[n], prefix))
	}
	return list
}

// parseFilter reads the part of AIP-160 that runs need: comparisons of state, flow, trigger and dry_run, joined by AND. Dry runs
// are left out where the filter does not speak of them.
func parseFilter(filter string) (func(*shoplakev1.Run) bool, error) {
	notDry := func(r *shoplakev1.Run) bool { return !r.GetDryRun() }
	if strings.TrimSpace(filter) == "" {
		return notDry, nil
	}
	var tests []func(*shoplakev1.Run) bool
	asked := false
	for _, term := range strings.Split(filter, " AND ") {
		m := comparison.FindStringSubmatch(term)
		if m == nil {
			return nil, fmt.Errorf(`%w: %q: write comparisons like state = FAILED AND flow = "flows/daily"`, ErrFilter, term)
		}
		asked = asked || m[1] == "dry_run"
		field, equal, value := m[1], m[2] == "=", m[3]
		if strings.HasPrefix(value, `"`) {
			value = m[4]
		}
		want, err := wanted(field, value)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(r *shoplakev1.Run) bool { return (valueOf(r, field) == want) == equal })
	}
	if !asked {
		tests = append(tests, notDry)
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

// wanted is a value of a filter as runs have it. One that no run ever has is an error: else a word that is misspelt would pick
// nothing, or with != everything, and nobody would be told.
func wanted(field, value string) (string, error) {
	if field == "flow" {
		return "flows/" + strings.TrimPrefix(value, "flows/"), nil
	}
	for _, v := range filterValues[field] {
		if strings.EqualFold(v, value) {
			return v, nil
		}
	}
	return "", fmt.Errorf("%w: %s is never %q, but one of %s", ErrFilter, field, value, strings.Join(filterValues[field], ", "))
}

func valueOf(r *shoplakev1.Run, field string) string {
	switch field {
	case "state":
		return strings.TrimPrefix(r.GetState().String(), "RUN_STATE_")
	case "dry_run":
		return strconv.FormatBool(r.GetDryRun())
	case "trigger":
		return strings.TrimPrefix(r.GetTrigger().String(), "TRIGGER_")
	}
	return r.GetFlow()
}
