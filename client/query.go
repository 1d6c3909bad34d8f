package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/protobuf/types/known/timestamppb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// KPIQuery is what a KPI is asked for; the zero value is everything, now.
type KPIQuery struct {
	// From is the first business day, To the day after the last; zero is unbounded.
	From, To Date
	// Parameters are values of the KPI's declared parameters, as text.
	Parameters map[string]string
	// AsOf answers from what was published at that time; now where zero.
	AsOf time.Time
	// PageSize is how many rows one call fetches: at most and by default 10,000.
	PageSize int32
}

// Query asks a KPI ("total_revenue" or "kpis/total_revenue") and decodes all its rows into structs; see Decode.
func Query[T any](ctx context.Context, c *Client, kpi string, q KPIQuery) ([]T, error) {
	rows, err := c.QueryRows(ctx, kpi, q)
	if err != nil {
		return nil, err
	}
	out, err := Decode[T](rows)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", kpi, err)
	}
	return out, nil
}

// QueryRows asks a KPI and returns all its rows, page by page.
func (c *Client) QueryRows(ctx context.Context, kpi string, q KPIQuery) (*Rows, error) {
	all := &Rows{}
	err := c.pages(ctx, kpi, q, shoplakev1.RowFormat_ROW_FORMAT_STRUCT, func(set *shoplakev1.RowSet) error {
		all.columns = set.GetColumns()
		all.rows = append(all.rows, set.GetRows()...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Records are Arrow record batches of one schema. Release them when done.
type Records struct {
	Schema  *arrow.Schema
	Batches []arrow.RecordBatch
}

// Rows counts the rows of all batches.
func (r *Records) Rows() int64 {
	var n int64
	for _, b := range r.Batches {
		n += b.NumRows()
	}
	return n
}

// Release frees the batches' memory.
func (r *Records) Release() {
	for _, b := range r.Batches {
		b.Release()
	}
	r.Batches = nil
}

// QueryArrow asks a KPI and returns all its rows as Arrow record batches. The caller releases them.
func (c *Client) QueryArrow(ctx context.Context, kpi string, q KPIQuery) (*Records, error) {
	records := &Records{}
	err := c.pages(ctx, kpi, q, shoplakev1.RowFormat_ROW_FORMAT_ARROW, func(set *shoplakev1.RowSet) error {
		return records.read(set.GetArrow())
	})
	if err != nil {
		records.Release()
		return nil, err
	}
	return records, nil
}

// SQL answers one SELECT over published tables with at most limit rows (1,000 where 0, 10,000 at most). more tells
// whether there were further rows.
func (c *Client) SQL(ctx context.Context, sql string, limit int32) (rows *Rows, more bool, err error) {
	resp, err := c.Tables.QueryTables(ctx, &shoplakev1.QueryTablesRequest{Sql: sql, PageSize: limit})
	if err != nil {
		return nil, false, fmt.Errorf("query tables: %w", err)
	}
	return NewRows(resp.GetRowSet()), resp.GetTruncated(), nil
}

// SQLArrow is SQL with the rows as Arrow record batches. The caller releases them.
func (c *Client) SQLArrow(ctx context.Context, sql string, limit int32) (records *Records, more bool, err error) {
	resp, err := c.Tables.QueryTables(ctx, &shoplakev1.QueryTablesRequest{
		Sql: sql, PageSize: limit, Format: shoplakev1.RowFormat_ROW_FORMAT_ARROW,
	})
	if err != nil {
		return nil, false, fmt.Errorf("query tables: %w", err)
	}
	records = &Records{}
	if err := records.read(resp.GetRowSet().GetArrow()); err != nil {
		records.Release()
		return nil, false, fmt.Errorf("query tables: %w", err)
	}
	return records, resp.GetTruncated(), nil
}

// Preview returns the first rows (20 where limit is 0) of a table, "gold.dim_product" or "tables/gold.dim_product".
func (c *Client) Preview(ctx context.Context, table string, limit int32) (*Rows, error) {
	resp, err := c.Tables.PreviewTable(ctx, &shoplakev1.PreviewTableRequest{Name: resource("tables/", table), PageSize: limit})
	if err != nil {
		return nil, fmt.Errorf("preview %s: %w", table, err)
	}
	return NewRows(resp.GetRowSet()), nil
}

// pages calls QueryKpi until there is no further page. All pages are of one published state: the page token holds it.
func (c *Client) pages(ctx context.Context, kpi string, q KPIQuery, format shoplakev1.RowFormat, page func(*shoplakev1.RowSet) error) error {
	req := &shoplakev1.QueryKpiRequest{
		Name:       resource("kpis/", kpi),
		StartDate:  q.From.String(),
		EndDate:    q.To.String(),
		Parameters: q.Parameters,
		Format:     format,
		PageSize:   q.PageSize,
	}
	if !q.AsOf.IsZero() {
		req.AsOf = timestamppb.New(q.AsOf)
	}
	for {
		resp, err := c.KPIs.QueryKpi(ctx, req)
		if err != nil {
			return fmt.Errorf("query %s: %w", kpi, err)
		}
		if err := page(resp.GetRowSet()); err != nil {
			return fmt.Errorf("query %s: %w", kpi, err)
		}
		if resp.GetNextPageToken() == "" {
			return nil
		}
		req.PageToken = resp.GetNextPageToken()
	}
}

// read appends the batches of one Arrow IPC stream.
func (r *Records) read(stream []byte) error {
	reader, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		return fmt.Errorf("read the Arrow stream: %w", err)
	}
	defer reader.Release()
	if r.Schema == nil {
		r.Schema = reader.Schema()
	} else if !r.Schema.Equal(reader.Schema()) {
		return errors.New("read the Arrow stream: a later page has another schema; ask again")
	}
	for reader.Next() {
		batch := reader.RecordBatch()
		batch.Retain()
		r.Batches = append(r.Batches, batch)
	}
	if err := reader.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the Arrow stream: %w", err)
	}
	return nil
}
