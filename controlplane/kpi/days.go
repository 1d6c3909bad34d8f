package kpi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shoplake/shoplake/controlplane/published"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// chartLine is how KPIs that have a row a day are drawn.
const chartLine = "line"

// days are the first and the last business day that the KPIs of a day have a row for; empty where there is none.
func (k *KPIs) days(ctx context.Context, state *published.State) (first, last string, err error) {
	k.mu.Lock()
	if known := k.known; known != nil && known.version == state.Record.GetVersion() && known.digest == state.Pipeline.Digest {
		defer k.mu.Unlock()
		return known.first, known.last, nil
	}
	k.mu.Unlock()
	for _, kpi := range state.Pipeline.KPIs {
		at := slices.IndexFunc(kpi.Columns, func(c pipeline.KPIColumn) bool { return c.Type == pipeline.TypeDate })
		if kpi.Chart != chartLine || at < 0 {
			continue
		}
		from, to, err := k.daysOf(ctx, state, kpi, kpi.Columns[at].Name)
		if err != nil {
			return "", "", fmt.Errorf("ask which days the KPI %s has: %w", kpi.Name, err)
		}
		if from != "" && (first == "" || from < first) {
			first = from
		}
		last = max(last, to)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = &knownDays{version: state.Record.GetVersion(), digest: state.Pipeline.Digest, first: first, last: last}
	return first, last, nil
}

// knownDays are the days of a published state.
type knownDays struct {
	version     uint64
	digest      string
	first, last string
}

func (k *KPIs) daysOf(ctx context.Context, state *published.State, kpi *pipeline.KPI, column string) (first, last string, err error) {
	question, err := k.prepare(ctx, state, Query{KPI: kpi.Name})
	if err != nil {
		return "", "", err
	}
	defer question.Close()
	found, err := question.Session.Query(ctx, fmt.Sprintf(`SELECT min("%[1]s"), max("%[1]s") FROM %[2]s`, column, engine.Subquery(kpi.SQL)), question.Params)
	if err != nil {
		return "", "", err
	}
	defer found.Close()
	for found.Next() {
		values, err := found.Values()
		if err != nil {
			return "", "", err
		}
		first, last = day(values[0]), day(values[1])
	}
	return first, last, found.Err()
}

func day(v any) string {
	if at, ok := v.(time.Time); ok {
		return at.Format(time.DateOnly)
	}
	return ""
}
