package runs

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// part says by what a run of an interval built some partitions of a table, while others stayed as they were: such a table is
// not of one state of its inputs but of several. What was moved into the interval and away again before the others were built
// shows against this state alone.
type part struct {
	Inputs      map[string]int64 `json:"inputs"`
	Fingerprint string           `json:"fingerprint"`
}

// parts are those since the table was last built as a whole.
type parts []part

// maxParts bounds what a snapshot's summary holds. A table of more parts is built again as a whole.
const maxParts = 32

// manyParts stands in place of a fingerprint where there were more: it equals none.
const manyParts = "more parts than are kept"

// and adds a part.
func (ps parts) and(p part) parts {
	if slices.ContainsFunc(ps, func(known part) bool { return known.Fingerprint == p.Fingerprint && maps.Equal(known.Inputs, p.Inputs) }) {
		return ps
	}
	if len(ps) == maxParts {
		return parts{{Fingerprint: manyParts}}
	}
	return append(ps[:len(ps):len(ps)], p)
}

// otherThan says whether a part was built by another fingerprint.
func (ps parts) otherThan(fingerprint string) bool {
	return slices.ContainsFunc(ps, func(p part) bool { return p.Fingerprint != fingerprint })
}

func encodeParts(ps parts) string {
	text, err := json.Marshal(ps)
	if err != nil {
		return "" // strings and integers always encode
	}
	return string(text)
}

func decodeParts(text string) parts {
	if text == "" {
		return nil
	}
	var ps parts
	if json.Unmarshal([]byte(text), &ps) != nil {
		return parts{{Fingerprint: manyParts}} // unreadable is the same as unknown: everything is built again
	}
	return ps
}

// touchedSinceParts adds the partitions that changes of inputs touch since partitions were built by runs of intervals. more is as
// touched tells it.
func (l *planner) touchedSinceParts(ctx context.Context, p *pipeline.Pipeline, model *pipeline.Model, f facts, ps parts, current []lake.File, touched map[string]why, more string) (string, error) {
	for _, built := range ps {
		inputs, err := l.inputStates(ctx, p, model, f, built.Inputs, false)
		whole := why{}
		if errors.Is(err, lake.ErrExpired) {
			whole.words = "what changed is no longer known"
			inputs, err = l.inputStates(ctx, p, model, f, nil, true)
		}
		if err != nil {
			return "", err
		}
		since, unknown, err := l.touched(ctx, model, inputs, current, whole)
		if err != nil {
			return "", err
		}
		for partition, reason := range since {
			if _, ok := touched[partition]; !ok {
				touched[partition] = why{reason.words + ", since a run of an interval", reason.causes}
			}
		}
		if more == "" {
			more = unknown
		}
	}
	return more, nil
}
