package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/page"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// allSources stands for every source in a parent.
const allSources = "-"

// ListIngests lists what each run read of each source.
func (h *Handler) ListIngests(ctx context.Context, r *shoplakev1.ListIngestsRequest) (_ *shoplakev1.ListIngestsResponse, err error) {
	name := strings.TrimPrefix(r.GetParent(), "sources/")
	if name != allSources {
		if _, _, err := h.source(ctx, r.GetParent()); err != nil {
			return nil, err
		}
	}
	scope := "ingests of " + name
	offset, err := page.Offset(r.GetPageToken(), scope)
	if err != nil {
		return nil, err
	}
	limit := int(r.GetPageSize())
	if limit == 0 {
		limit = page.DefaultSize
	}
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	session, err := state.Open(ctx, []string{pipeline.IngestedTable}, false)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	// One row more tells whether there is another page.
	rows, err := session.Query(ctx, `
		SELECT source, run_id, max(ingested_at) AS latest, count(*)::BIGINT, count(*) FILTER (WHERE state = $unreadable)::BIGINT,
			sum(rows_read)::BIGINT, sum(rows_bronze)::BIGINT, sum(rows_quarantined)::BIGINT, sum(size_bytes)::BIGINT
		FROM ops.ingested WHERE $source = '-' OR source = $source
		GROUP BY source, run_id ORDER BY latest DESC, run_id DESC, source LIMIT $limit OFFSET $offset`,
		map[string]any{"source": name, "unreadable": pipeline.StateUnreadable, "limit": int64(limit + 1), "offset": int64(offset)})
	if err != nil {
		return nil, fmt.Errorf("read what runs read of %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	response := &shoplakev1.ListIngestsResponse{}
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			return nil, err
		}
		if len(response.GetIngests()) == limit {
			response.NextPageToken = page.Token(scope, offset+limit)
			break
		}
		response.Ingests = append(response.Ingests, presentIngest(v))
	}
	return response, rows.Err()
}

func presentIngest(v []any) *shoplakev1.Ingest {
	ingest := &shoplakev1.Ingest{}
	source, _ := v[0].(string)
	run, _ := v[1].(string)
	ingest.Source, ingest.Run = "sources/"+source, "runs/"+run
	if at, ok := v[2].(time.Time); ok {
		ingest.IngestTime = timestamppb.New(at)
	}
	count := func(i int) int64 {
		n, _ := v[i].(int64)
		return n
	}
	ingest.Files, ingest.FilesUnreadable = int32(count(3)), int32(count(4))
	ingest.RowsRead, ingest.RowsBronze, ingest.RowsQuarantined, ingest.SizeBytes = count(5), count(6), count(7), count(8)
	return ingest
}
