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
	return response, nil
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
	answer, err := h.KPIs.Prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	// A token holds the published version: a page of another state would be of another list.
	scope := fmt.Sprintf("%s@%d", q.KPI, answer.State.Record.GetVersion())
	offset, err := page.Offset(r.GetPageToken(), scope)
	if err != nil {
		return nil, err
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = maxRows
	}
	response := &shoplakev1.QueryKpiResponse{PublishedVersion: int64(answer.State.Record.GetVersion()), PublishTime: answer.State.Record.GetTime()}
	var more bool
	response.RowSet, more, err = rows.Read(ctx, answer.Session, answer.KPI.SQL, answer.Params, r.GetFormat(), offset, limit)
	if err != nil {
		return nil, fmt.Errorf("compute the KPI %s: %w", q.KPI, err)
	}
	addUnits(response.GetRowSet().GetColumns(), answer.KPI)
	if more {
		response.NextPageToken = page.Token(scope, offset+limit)
	}
	return response, nil
}

func present(k *pipeline.KPI) *shoplakev1.Kpi {
	view := &shoplakev1.Kpi{Name: "kpis/" + k.Name, Title: k.Title, Description: k.Description, Chart: k.Chart, Sql: k.SQL}
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
