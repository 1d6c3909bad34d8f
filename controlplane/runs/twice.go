package runs

import (
	"context"
	"fmt"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// readTwice says which of the files that were just read have the content of another file of their source. They are read all the
// same: who is right, the first name or the second, nobody can tell, and models take each key once. Where they have no key, rows
// count twice, which a person must know.
func (l *planner) readTwice(ctx context.Context, f facts, staged *stagedList) ([]string, error) {
	if staged.plan.GetKind() != dispatchv1.StageKind_STAGE_KIND_INGEST {
		return nil, nil
	}
	source := strings.TrimPrefix(f.table, "bronze.")
	var columns []pipeline.Column
	var known []lake.File
	for _, out := range staged.plan.GetOutputs() {
		if out.GetTable() != pipeline.IngestedTable {
			continue
		}
		for _, c := range out.GetColumns() {
			columns = append(columns, pipeline.Column{Name: c.GetName(), Type: c.GetType()})
		}
		files, err := l.files(ctx, out.GetTable(), out.GetBaseSnapshotId())
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if file.Partition == source {
				known = append(known, file)
			}
		}
	}
	var now []lake.File
	for _, file := range staged.files.GetFiles() {
		if file.GetTable() == pipeline.IngestedTable {
			now = append(now, lake.File{Path: file.GetPath()})
		}
	}
	if len(now) == 0 {
		return nil, nil
	}
	var examples []string
	count := 0
	err := l.query(ctx, []viewed{view("planning.known", columns, known), view("planning.now", columns, now)}, `
		WITH other AS (
			SELECT path, sha256, true AS older
			FROM (SELECT * FROM planning.known QUALIFY row_number() OVER (PARTITION BY path ORDER BY ingested_at DESC, run_id DESC) = 1)
			WHERE path NOT IN (SELECT path FROM planning.now)
			UNION ALL
			SELECT path, sha256, false FROM planning.now
		)
		SELECT now.path, min(other.path) FROM planning.now AS now JOIN other
			ON other.sha256 = now.sha256 AND other.path <> now.path AND (other.older OR other.path < now.path)
		WHERE now.rows_bronze > 0
		GROUP BY now.path ORDER BY now.path`, nil,
		func(v []any) error {
			if count++; count <= namesShown {
				path, _ := v[0].(string)
				other, _ := v[1].(string)
				examples = append(examples, fmt.Sprintf("%q is %q again", path, other))
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("find files of %s that have the content of others: %w", source, err)
	}
	if count == 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("%s: %d files have the content of another one (%s): both are read, and models that take each key once count a row once; to take the rows of one out again, leave its name with an empty file",
		source, count, strings.Join(examples, ", "))}, nil
}
