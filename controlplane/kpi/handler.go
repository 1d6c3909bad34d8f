package kpi

import (
	"context"
	"fmt"
	"strings"

	"github.com/shoplake/shoplake/controlplane/page"
	"github.com/shoplake/shoplake/controlplane/rows"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// maxRows is how many rows a page has at most.
const maxRows = 10_000

// Handler serves shoplake.v1.KpiService.
type Handler struct {
	shoplakev1.UnimplementedKpiServiceServer
	KPIs *KPIs
}

// ListKpis lists the KPIs of the published pipeline.
func (h *Handler) ListKpis(ctx context.Context, r *shoplakev1.ListKpisRequest) (*shoplakev1.ListKpisResponse, error) {
	state, err := h.KPIs.reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	kpis, next, err := page.Cut(state.Pipeline.KPIs, r.GetPageSize(), r.GetPageToken(), "kpis")
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.ListKpisResponse{NextPageToken: next}
	for _, k := range kpis {
		response.Kpis = append(response.Kpis, present(k))
	}
	response.FirstDate, response.LastDate, err = h.KPIs.days(ctx, state)
	return response, err
}

// GetKpi returns one KPI.
func (h *Handler) GetKpi(ctx context.Context, r *shoplakev1.GetKpiRequest) (*shoplakev1.Kpi, error) {
	state, err := h.KPIs.reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(r.GetName(), "kpis/")
	k := state.Pipeline.KPI(name)
	if k == nil {
		return nil, fmt.Errorf("%s: %w: see `shoplake kpi list`", name, ErrNotFound)
	}
	return present(k), nil
}

// QueryKpi computes a KPI from what is published.
func (h *Handler) QueryKpi(ctx context.Context, r *shoplakev1.QueryKpiRequest) (*shoplakev1.QueryKpiResponse, error) {
	q := Query{KPI: strings.TrimPrefix(r.GetName(), "kpis/"), From: r.GetStartDate(), To: r.GetEndDate(), Parameters: r.GetParameters()}
	if r.GetAsOf() != nil {
		q.AsOf = r.GetAsOf().AsTime()
	}
	state, err := h.KPIs.state(ctx, q.AsOf)
	if err != nil {
		return nil, err
	}
	return h.KPIs.answers.get(ctx, state.Record.GetVersion(), state.Pipeline.Digest, r, func(ctx context.Context) (*shoplakev1.QueryKpiResponse, error) {
		question, err := h.KPIs.prepare(ctx, state, q)
		if err != nil {
			return nil, err
		}
		defer question.Close()
		return question.answer(ctx, q, r)
	})
}

// answer computes a page of the KPI, and what else was asked for beside it.
func (p *Prepared) answer(ctx context.Context, q Query, r *shoplakev1.QueryKpiRequest) (*shoplakev1.QueryKpiResponse, error) {
	// A token holds the published version: a page of another state would be of another list.
	scope := fmt.Sprintf("%s@%d", q.KPI, p.State.Record.GetVersion())
	offset, err := page.Offset(r.GetPageToken(), scope)
	if err != nil {
		return nil, err
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = maxRows
	}
	response := &shoplakev1.QueryKpiResponse{PublishedVersion: int64(p.State.Record.GetVersion()), PublishTime: p.State.Record.GetTime()}
	var more bool
	response.RowSet, more, err = rows.Read(ctx, p.Session, p.KPI.SQL, p.Params, r.GetFormat(), offset, limit)
	if err != nil {
		return nil, fmt.Errorf("compute the KPI %s: %w", q.KPI, err)
	}
	addUnits(response.GetRowSet().GetColumns(), p.KPI)
	if more {
		response.NextPageToken = page.Token(scope, offset+limit)
	}
	if r.GetAverageRows() > 1 {
		response.Averages = averages(response.GetRowSet(), int(r.GetAverageRows()))
	}
	if (r.GetCompareStartDate() == "") != (r.GetCompareEndDate() == "") {
		return nil, fmt.Errorf("%w: a range to compare with needs both compare_start_date and compare_end_date", ErrParameter)
	}
	if r.GetCompareStartDate() != "" {
		if response.Compared, err = p.within(ctx, q, interval{start: r.GetCompareStartDate(), end: r.GetCompareEndDate()}); err != nil {
			return nil, err
		}
		response.Changes = changes(response.GetRowSet(), response.GetCompared())
	}
	return response, p.addTrend(ctx, q, r, response)
}

func (p *Prepared) addTrend(ctx context.Context, q Query, r *shoplakev1.QueryKpiRequest, to *shoplakev1.QueryKpiResponse) error {
	if r.GetTrendPoints() == 0 {
		return nil
	}
	points, err := parts(r.GetStartDate(), r.GetEndDate(), int(r.GetTrendPoints()))
	if err != nil {
		return err
	}
	for _, days := range points {
		set, err := p.within(ctx, q, days)
		if err != nil {
			return err
		}
		to.Trend = append(to.Trend, &shoplakev1.KpiTrend{StartDate: days.start, EndDate: days.end, RowSet: set})
	}
	return nil
}

// within computes the KPI of another range.
func (p *Prepared) within(ctx context.Context, q Query, days interval) (*shoplakev1.RowSet, error) {
	q.From, q.To = days.start, days.end
	params, err := parameters(p.KPI, q)
	if err != nil {
		return nil, err
	}
	set, _, err := rows.Read(ctx, p.Session, p.KPI.SQL, params, shoplakev1.RowFormat_ROW_FORMAT_STRUCT, 0, maxRows)
	if err != nil {
		return nil, fmt.Errorf("compute the KPI %s from %s to %s: %w", q.KPI, days.start, days.end, err)
	}
	addUnits(set.GetColumns(), p.KPI)
	return set, nil
}

func present(k *pipeline.KPI) *shoplakev1.Kpi {
	view := &shoplakev1.Kpi{Name: "kpis/" + k.Name, Title: k.Title, Description: k.Description, Chart: k.Chart, Sql: k.SQL, Tables: k.Tables}
	for _, c := range k.Columns {
		view.Columns = append(view.Columns, rows.Column(c.Name, c.Type, !c.Required))
	}
	addUnits(view.GetColumns(), k)
	for _, p := range k.Params {
		param := &shoplakev1.KpiParameter{Name: p.Name, Type: string(p.Type)}
		if p.Default != nil {
			param.DefaultValue = *p.Default
		}
		view.Parameters = append(view.Parameters, param)
	}
	return view
}

func addUnits(columns []*shoplakev1.Column, k *pipeline.KPI) {
	for _, c := range columns {
		for _, declared := range k.Columns {
			if declared.Name == c.GetName() {
				c.Unit = declared.Unit
			}
		}
	}
}
