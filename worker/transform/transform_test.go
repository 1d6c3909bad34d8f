package transform

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// TestReachedRows holds the rows that a model with reach is given against their definition, on random files.
func TestReachedRows(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	session, err := engine.Open(t.Context(), engine.Options{WritePaths: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	columns := []engine.Column{{Name: "id", Type: "BIGINT"}, {Name: "day", Type: "DATE"}, {Name: "name", Type: "VARCHAR"}, {Name: "number", Type: "BIGINT"}}
	table := func(name string) []string {
		var rows []string
		for n := range 1 + random.IntN(40) {
			day, name := fmt.Sprintf("DATE '2026-01-%02d'", 1+random.IntN(6)), fmt.Sprintf("'k%d'", random.IntN(8))
			if random.IntN(6) == 0 {
				day = "NULL"
			}
			if random.IntN(6) == 0 {
				name = "NULL"
			}
			rows = append(rows, fmt.Sprintf("(%d, %s, %s, %d)", n, day, name, random.IntN(3)))
		}
		file := filepath.Join(dir, name+".parquet")
		query := "SELECT id, CAST(day AS DATE) AS day, CAST(name AS VARCHAR) AS name, number FROM (VALUES " + strings.Join(rows, ", ") + ") AS v(id, day, name, number)"
		if _, err := session.Export(t.Context(), query, file, columns); err != nil {
			t.Fatal(err)
		}
		if err := session.Table(t.Context(), "task."+name, columns, []string{file}, ""); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for round := range 30 {
		var partitions []string
		for day := range 6 {
			if random.IntN(3) == 0 {
				partitions = append(partitions, fmt.Sprintf("2026-01-%02d", 1+day))
			}
		}
		if len(partitions) == 0 || random.IntN(4) == 0 {
			partitions = append(partitions, pipeline.NullPartition)
		}
		var inputs []reachedInput
		var rows [][]string
		for n := range 1 + random.IntN(3) {
			all := fmt.Sprintf("input_%d_%d", round, n)
			rows = append(rows, table(all))
			inputs = append(inputs, reachedInput{table: fmt.Sprintf("silver.reached_%d", n), all: "task." + all, keys: fmt.Sprintf("task.keys_%d_%d", round, n),
				within: pipeline.WithinSQL(pipeline.TransformDay, "day", partitions)})
		}
		by := [][]string{{"name"}, {"name", "number"}}[random.IntN(2)]
		if err := openReached(t.Context(), session, by, inputs); err != nil {
			t.Fatal(err)
		}
		plain := pipeline.PartitionSQL(pipeline.TransformDay, "day") + " IN (" + quoteAll(partitions) + ")"
		on := make([]string, len(by))
		for i, c := range by {
			on[i] = fmt.Sprintf("a.%s IS NOT DISTINCT FROM b.%s", c, c)
		}
		var held []string
		for _, in := range inputs {
			held = append(held, "SELECT * FROM "+in.all+" WHERE "+plain)
		}
		for _, in := range inputs {
			got := ids(t, session, "SELECT id FROM "+in.table+" ORDER BY id")
			want := ids(t, session, fmt.Sprintf("SELECT DISTINCT a.id FROM (SELECT * FROM %[1]s WHERE %[2]s UNION SELECT a.* FROM %[1]s AS a JOIN (%[3]s) AS b ON %[4]s) AS a ORDER BY 1",
				in.all, plain, strings.Join(held, " UNION ALL "), strings.Join(on, " AND ")))
			if !slices.Equal(got, want) {
				t.Errorf("seed %d: partitions %v, by %v, of %v: %s has the rows %v, want %v", seed, partitions, by, rows, in.table, got, want)
			}
		}
	}
}

func ids(t *testing.T, session *engine.Session, sql string) []int64 {
	t.Helper()
	rows, err := session.Query(t.Context(), sql, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := rows.All()
	if err != nil {
		t.Fatal(err)
	}
	var list []int64
	for _, row := range all {
		list = append(list, row[0].(int64))
	}
	return list
}

// TestPartsAreThePartitions writes partitions of each kind, of texts that are no names of files among them.
func TestPartsAreThePartitions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	session, err := engine.Open(t.Context(), engine.Options{WritePaths: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	long := strings.Repeat("long/", 100)
	for i, c := range []struct {
		transform pipeline.Transform
		columnAs  string
		partition []string
	}{
		{pipeline.TransformDay, "DATE", []string{"2026-01-31", "2026-02-01", pipeline.NullPartition}},
		{pipeline.TransformMonth, "DATE", []string{"2025-12", "2026-01", pipeline.NullPartition}},
		{pipeline.TransformIdentity, "VARCHAR", []string{"", "a/b", "a_b", "x=y", "__HIVE_DEFAULT_PARTITION__", long, pipeline.NullPartition}},
		{pipeline.TransformIdentity, "BIGINT", []string{"-5", "7", pipeline.NullPartition}},
	} {
		var values []string
		for _, partition := range c.partition {
			value := literal(partition)
			if partition == pipeline.NullPartition {
				value = "NULL"
			} else if c.transform == pipeline.TransformMonth {
				value = literal(partition + "-17")
			}
			values = append(values, "CAST("+value+" AS "+c.columnAs+")")
		}
		p := pipeline.Partition{Transform: c.transform, Column: "part"}
		query := "SELECT unnest([" + strings.Join(values, ", ") + "]) AS part"
		parts, err := session.ExportParts(t.Context(), query, partSQL(p, c.partition), filepath.Join(dir, fmt.Sprint(i)), []engine.Column{{Name: "part", Type: c.columnAs}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, part := range parts {
			got = append(got, partOf(p, c.partition, part))
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.partition))
		if !slices.Equal(got, want) {
			t.Errorf("partitions by %s of a %s: got %q, want %q", c.transform, c.columnAs, got, want)
		}
		rows, err := session.Query(t.Context(), fmt.Sprintf("SELECT count(*) FROM (%s) WHERE %s", query, pipeline.WithinSQL(c.transform, "part", c.partition)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := rows.All(); err != nil || all[0][0] != int64(len(c.partition)) {
			t.Errorf("of rows of the partitions %q, %v lie within them (%v)", c.partition, all, err)
		}
	}
}
