package transform

import (
	"context"
	"fmt"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/engine"
)

// sampledRows is how many offending rows a failed check shows.
const sampledRows = 3

// Check runs the checks of the plan's table on the tables as the plan gives them, and returns those that found rows.
func Check(ctx context.Context, r Request) ([]*dispatchv1.CheckFailure, error) {
	session, err := engine.Open(ctx, r.Engine)
	if err != nil {
		return nil, fmt.Errorf("open the engine: %w", err)
	}
	defer session.Close()
	for _, pinned := range r.Plan.GetInputs() {
		var paths []string
		for _, f := range pinned.GetFiles() {
			paths = append(paths, f.GetPath())
		}
		if err := session.Table(ctx, pinned.GetTable(), EngineColumns(pinned.GetColumns()), paths, ""); err != nil {
			return nil, fmt.Errorf("open %s for the checks of %s: %w", pinned.GetTable(), r.Plan.GetStage(), err)
		}
	}
	var failures []*dispatchv1.CheckFailure
	for _, check := range r.Pipeline.Checks {
		if check.Table != r.Plan.GetStage() {
			continue
		}
		if err := session.Materialize(ctx, scratch+".found", check.SQL); err != nil {
			return nil, fmt.Errorf("run the check %s: %w", check.Name, err)
		}
		n, err := count(ctx, session, "SELECT count(*) FROM "+scratch+".found")
		if err != nil {
			return nil, fmt.Errorf("run the check %s: %w", check.Name, err)
		}
		if n == 0 {
			continue
		}
		sample, err := sampleOf(ctx, session)
		if err != nil {
			return nil, fmt.Errorf("show what the check %s found: %w", check.Name, err)
		}
		failures = append(failures, &dispatchv1.CheckFailure{Check: check.Name, Severity: string(check.Severity), Rows: n, Sample: sample})
	}
	return failures, nil
}

func sampleOf(ctx context.Context, session *engine.Session) (string, error) {
	rows, err := session.Query(ctx, fmt.Sprintf("SELECT to_json(f)::VARCHAR FROM %s.found AS f LIMIT %d", scratch, sampledRows), nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var sample []string
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return "", err
		}
		sample = append(sample, fmt.Sprint(values[0]))
	}
	return strings.Join(sample, ", "), rows.Err()
}
