package sample_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/shoplake/shoplake/internal/sample"
)

func config(out string) sample.Config {
	return sample.Config{
		Out: out, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Days: 35, Orders: 3000, Events: 12000, Products: 130, Seed: 7, Dirt: 0.02,
	}
}

func generate(t *testing.T, c sample.Config) *sample.Manifest {
	t.Helper()
	m, err := sample.Generate(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read returns a file's bytes, uncompressed.
func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if b, err = io.ReadAll(z); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return b
}

func unreadable(f sample.FileManifest) bool {
	return len(f.Bad) == 1 && f.Bad[0].Rules[0] == "unreadable_file"
}

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	sums := func(c sample.Config) map[string]string {
		generate(t, c)
		got := map[string]string{}
		err := filepath.WalkDir(c.Out, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			rel, _ := filepath.Rel(c.Out, path)
			got[rel] = fmt.Sprintf("%x", sha256.Sum256(b))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first, second := sums(config(t.TempDir())), sums(config(t.TempDir()))
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two runs of one seed differ:\n%s", diff)
	}
	other := config(t.TempDir())
	other.Seed = 8
	if cmp.Equal(first, sums(other)) {
		t.Error("another seed gave the same files")
	}
}

func TestEveryRuleOfTheContractsIsBroken(t *testing.T) {
	t.Parallel()
	m := generate(t, config(t.TempDir()))
	want := map[string][]string{
		"orders": {
			"column_count", "encoding", "enum:status", "malformed", "pattern:currency", "range:discount", "range:line_number", "range:quantity",
			"range:unit_price", "required:currency", "required:line_number", "required:order_id", "required:order_time", "required:product_id",
			"required:quantity", "required:status", "required:unit_price", "type:discount", "type:line_number", "type:order_time", "type:quantity",
			"type:unit_price", "type:updated_at", "unreadable_file",
		},
		"user_activity": {
			"enum:event_type", "future:event_time", "malformed", "pattern:country", "required:event_id", "required:event_time", "required:event_type",
			"required:order_id", "required:product_id", "required:session_id", "type:event_time", "type:properties", "type:session_id", "type:user_id",
			"unreadable_file",
		},
		"inventory": {
			"range:last_restocked", "range:list_price", "range:reorder_level", "range:stock_on_hand", "range:unit_cost", "required:category",
			"required:list_price", "required:product_id", "required:product_name", "required:reorder_level", "required:sku", "required:snapshot_date",
			"required:stock_on_hand", "required:unit_cost", "required:warehouse", "type:last_restocked", "type:list_price", "type:reorder_level",
			"type:snapshot_date", "type:stock_on_hand", "type:unit_cost", "unreadable_file",
		},
	}
	for source, rules := range want {
		for _, rule := range rules {
			if m.Sources[source].Rules[rule] == 0 {
				t.Errorf("%s: no row breaks %s", source, rule)
			}
		}
		if len(m.Sources[source].Rules) != len(rules) {
			t.Errorf("%s: rules %v, want %v", source, m.Sources[source].Rules, rules)
		}
	}
}

func TestOrdersReadBackAsTheManifestSays(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	m := generate(t, c)
	distinct := map[string]bool{}
	for _, f := range m.Sources["orders"].Files {
		if unreadable(f) {
			continue
		}
		bad := map[int][]string{}
		for _, b := range f.Bad {
			bad[b.Row] = b.Rules
		}
		text := strings.TrimPrefix(string(read(t, filepath.Join(c.Out, "landing", "orders", filepath.FromSlash(f.Path)))), "\ufeff")
		// encoding/csv does not end a broken row with its line.
		r := csv.NewReader(strings.NewReader(strings.ReplaceAll(text, `"paid" late`, `paid" late`)))
		r.FieldsPerRecord, r.LazyQuotes = -1, true
		header, err := r.Read()
		if err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		place := map[string]int{}
		for i, h := range header {
			place[strings.ToLower(strings.TrimSpace(h))] = i
		}
		rows := 0
		for {
			rec, err := r.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f.Path, err)
			}
			if strings.Join(rec, "") == "" {
				continue
			}
			rows++
			rules := bad[rows]
			if (len(rec) != len(header)) != (len(rules) == 1 && (rules[0] == "column_count" || rules[0] == "malformed" && rows == f.Rows && len(rec) == 3)) {
				t.Errorf("%s row %d: %d cells of %d, rules %v", f.Path, rows, len(rec), len(header), rules)
			}
			if len(rules) == 0 {
				distinct[rec[place["order_id"]]] = true
				if q := rec[place["quantity"]]; strings.HasPrefix(q, "-") || q == "" {
					t.Errorf("%s row %d: quantity %q is not told of", f.Path, rows, q)
				}
			}
		}
		if rows != f.Rows {
			t.Errorf("%s: %d rows, manifest says %d", f.Path, rows, f.Rows)
		}
	}
	if len(distinct) < c.Orders*97/100 || len(distinct) > c.Orders {
		t.Errorf("%d distinct good orders of %d", len(distinct), c.Orders)
	}
}

func TestEventsReadBackAsTheManifestSays(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	m := generate(t, c)
	distinct := map[string]bool{}
	good := 0
	for _, f := range m.Sources["user_activity"].Files {
		if unreadable(f) {
			continue
		}
		bad := map[int][]string{}
		for _, b := range f.Bad {
			bad[b.Row] = b.Rules
		}
		rows := 0
		for line := range strings.Lines(string(read(t, filepath.Join(c.Out, "landing", "user_activity", filepath.FromSlash(f.Path))))) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			rows++
			if len(bad[rows]) > 0 {
				continue
			}
			good++
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("%s row %d: %v", f.Path, rows, err)
				continue
			}
			distinct[e["event_id"].(string)] = true
		}
		if rows != f.Rows {
			t.Errorf("%s: %d rows, manifest says %d", f.Path, rows, f.Rows)
		}
	}
	s := m.Sources["user_activity"]
	if good != s.Rows-s.Bad {
		t.Errorf("%d good rows, manifest says %d", good, s.Rows-s.Bad)
	}
	if want := c.Events - s.Bad; len(distinct) < want || len(distinct) > want+10 {
		t.Errorf("%d distinct good events, want about %d", len(distinct), want)
	}
}

func TestWorkbooksReadBackAsTheManifestSays(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	m := generate(t, c)
	for _, f := range m.Sources["inventory"].Files {
		book, err := excelize.OpenFile(filepath.Join(c.Out, "landing", "inventory", f.Path))
		if unreadable(f) {
			if err == nil {
				t.Errorf("%s can be read", f.Path)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		rows, err := book.GetRows("Inventory")
		if err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		if len(rows)-1 != f.Rows {
			t.Errorf("%s: %d rows, manifest says %d", f.Path, len(rows)-1, f.Rows)
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestALaterPeriodAddsToTheFirst(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	first := generate(t, c)
	before := first.Sources["orders"].Rows
	next := c
	next.Start, next.Days, next.Orders, next.Events = c.Start.AddDate(0, 0, c.Days), 1, 90, 300
	second := generate(t, next)
	var added int
	for _, f := range second.Sources["orders"].Files {
		if f.Path == "2026-02-05.csv" {
			added = f.Rows
		}
	}
	if added == 0 || second.Sources["orders"].Rows != before+added {
		t.Errorf("%d rows after the second period, %d before, %d in its file", second.Sources["orders"].Rows, before, added)
	}
	if len(second.Runs) != 2 {
		t.Errorf("%d runs are told of", len(second.Runs))
	}
}

func TestWithoutDirtNothingIsBroken(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	c.Dirt, c.Days, c.Orders, c.Events = 0, 25, 500, 2000
	for source, s := range generate(t, c).Sources {
		if s.Bad != 0 {
			t.Errorf("%s: %d bad rows", source, s.Bad)
		}
	}
}

func TestABadConfigurationNamesEverythingWrong(t *testing.T) {
	t.Parallel()
	_, err := sample.Generate(t.Context(), sample.Config{Days: 0, Products: 0, Dirt: 2})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"days is 0", "products is 0", "dirt is 2", "no folder"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
