// Package quarantine shows the rows that broke a rule, as they are published.
package quarantine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/page"
	"github.com/shoplake/shoplake/controlplane/published"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// ErrNotFound says that there is no such source or row.
var ErrNotFound = errors.New("not found")

// Handler serves shoplake.v1.QuarantineService.
type Handler struct {
	shoplakev1.UnimplementedQuarantineServiceServer
	Reader *published.Reader
	// Landing is the folder that holds a folder for each source.
	Landing string
}

const columns = `quarantine_id, source_file, row_number, rules, raw, raw_size, ingested_at, run_id, contract_version`

// ListQuarantinedRows lists the rows of a source, by file and row.
func (h *Handler) ListQuarantinedRows(ctx context.Context, r *shoplakev1.ListQuarantinedRowsRequest) (*shoplakev1.ListQuarantinedRowsResponse, error) {
	source := strings.TrimPrefix(r.GetParent(), "sources/")
	scope := strings.Join([]string{"quarantine", source, r.GetRule(), r.GetSourceFile()}, "\n")
	offset, err := page.Offset(r.GetPageToken(), scope)
	if err != nil {
		return nil, err
	}
	limit := int64(r.GetPageSize())
	if limit == 0 {
		limit = page.DefaultSize
	}
	const where = `FROM ops.quarantine WHERE source = $source AND ($rule = '' OR list_contains(rules, $rule)) AND ($file = '' OR source_file = $file)`
	params := map[string]any{"source": source, "rule": r.GetRule(), "file": r.GetSourceFile()}
	response := &shoplakev1.ListQuarantinedRowsResponse{}
	err = h.read(ctx, source, func(session *engine.Session) error {
		if err := each(ctx, session, `SELECT count(*) `+where, params, func(v []any) error {
			response.TotalSize, _ = v[0].(int64)
			return nil
		}); err != nil {
			return err
		}
		params["limit"], params["offset"] = limit, int64(offset)
		return each(ctx, session, `SELECT `+columns+` `+where+` ORDER BY source_file, row_number LIMIT $limit OFFSET $offset`, params, func(v []any) error {
			row, err := present(source, v)
			response.QuarantinedRows = append(response.QuarantinedRows, row)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if err := h.addColumns(ctx, source, response.GetQuarantinedRows(), textHeader); err != nil {
		return nil, err
	}
	if end := offset + len(response.GetQuarantinedRows()); int64(end) < response.GetTotalSize() {
		response.NextPageToken = page.Token(scope, end)
	}
	return response, nil
}

// GetQuarantinedRow returns one row.
func (h *Handler) GetQuarantinedRow(ctx context.Context, r *shoplakev1.GetQuarantinedRowRequest) (*shoplakev1.QuarantinedRow, error) {
	source, id, _ := strings.Cut(strings.TrimPrefix(r.GetName(), "sources/"), "/quarantinedRows/")
	var row *shoplakev1.QuarantinedRow
	err := h.read(ctx, source, func(session *engine.Session) error {
		return each(ctx, session, `SELECT `+columns+` FROM ops.quarantine WHERE source = $source AND quarantine_id = $id`,
			map[string]any{"source": source, "id": id}, func(v []any) (err error) { row, err = present(source, v); return err })
	})
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, fmt.Errorf("quarantined row %s: %w: see `shoplake quarantine list %s`", id, ErrNotFound, source)
	}
	return row, h.addColumns(ctx, source, []*shoplakev1.QuarantinedRow{row}, header)
}

// addColumns adds the columns of its file to each row.
func (h *Handler) addColumns(ctx context.Context, source string, rows []*shoplakev1.QuarantinedRow, read func(landing string, s *pipeline.Source, file string) []string) error {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return err
	}
	s := state.Pipeline.Source(source)
	if s == nil {
		return nil
	}
	known := map[string][]string{}
	for _, row := range rows {
		file := row.GetSourceFile()
		names, ok := known[file]
		if !ok {
			names = read(h.Landing, s, file)
			known[file] = names
		}
		row.Columns = names
	}
	return nil
}

// SummarizeQuarantine counts rows by rule, column and file.
func (h *Handler) SummarizeQuarantine(ctx context.Context, r *shoplakev1.SummarizeQuarantineRequest) (*shoplakev1.SummarizeQuarantineResponse, error) {
	source := strings.TrimPrefix(r.GetParent(), "sources/")
	params := map[string]any{"source": source}
	response := &shoplakev1.SummarizeQuarantineResponse{}
	err := h.read(ctx, source, func(session *engine.Session) error {
		if err := each(ctx, session, `SELECT rule, count(*) AS n FROM (SELECT unnest(rules) AS rule FROM ops.quarantine WHERE source = $source) GROUP BY rule ORDER BY n DESC, rule`, params, func(v []any) error {
			c := &shoplakev1.RuleCount{}
			c.Rule, _ = v[0].(string)
			c.Rows, _ = v[1].(int64)
			response.Rules = append(response.Rules, c)
			return nil
		}); err != nil {
			return err
		}
		if err := each(ctx, session, `SELECT split_part(rule, ':', 2) AS name, count(DISTINCT quarantine_id) AS n
			FROM (SELECT quarantine_id, unnest(rules) AS rule FROM ops.quarantine WHERE source = $source) WHERE contains(rule, ':') GROUP BY name ORDER BY n DESC, name`, params, func(v []any) error {
			c := &shoplakev1.ColumnCount{}
			c.Column, _ = v[0].(string)
			c.Rows, _ = v[1].(int64)
			response.Columns = append(response.Columns, c)
			return nil
		}); err != nil {
			return err
		}
		return each(ctx, session, `SELECT source_file, count(*) AS n FROM ops.quarantine WHERE source = $source GROUP BY source_file ORDER BY n DESC, source_file`, params, func(v []any) error {
			c := &shoplakev1.FileCount{}
			c.SourceFile, _ = v[0].(string)
			c.Rows, _ = v[1].(int64)
			response.Files = append(response.Files, c)
			response.Rows += c.GetRows()
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// read opens a session that sees the published quarantine.
func (h *Handler) read(ctx context.Context, source string, f func(*engine.Session) error) error {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return err
	}
	if state.Pipeline.Source(source) == nil {
		return fmt.Errorf("source %s: %w: see `shoplake tables list`", source, ErrNotFound)
	}
	session, err := state.Open(ctx, []string{pipeline.QuarantineTable}, false)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := f(session); err != nil {
		return fmt.Errorf("read the quarantine of %s: %w", source, err)
	}
	return nil
}

func each(ctx context.Context, session *engine.Session, sql string, params map[string]any, row func(values []any) error) error {
	rows, err := session.Query(ctx, sql, params)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

func present(source string, v []any) (*shoplakev1.QuarantinedRow, error) {
	row := &shoplakev1.QuarantinedRow{}
	id, ok := v[0].(string)
	if !ok {
		return nil, fmt.Errorf("ops.quarantine holds a row without an id: %v", v[0])
	}
	row.Name = "sources/" + source + "/quarantinedRows/" + id
	row.SourceFile, _ = v[1].(string)
	row.RowNumber, _ = v[2].(int64)
	rules, _ := v[3].([]any)
	for _, rule := range rules {
		row.Rules = append(row.Rules, fmt.Sprint(rule))
	}
	row.Raw, _ = v[4].([]byte)
	row.RawSize, _ = v[5].(int64)
	if at, ok := v[6].(time.Time); ok {
		row.IngestTime = timestamppb.New(at)
	}
	run, _ := v[7].(string)
	row.Run = "runs/" + run
	row.ContractVersion, _ = v[8].(string)
	return row, nil
}
