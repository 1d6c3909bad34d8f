package pipeline_test

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/pipelines"
)

var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// FuzzLoad puts any content into one file of a folder. It is loaded, or its faults are told: each on one line, at a place
// in a file. Nothing else may come of it.
func FuzzLoad(f *testing.F) {
	places := []string{"pipeline.yaml", "contracts/sales.odcs.yaml", "silver/sales.sql", "gold/daily.sql", "kpis/revenue.sql", "checks/positive.sql", "README.md"}
	for place, name := range places {
		f.Add(place, []byte(small[name]))
	}
	err := fs.WalkDir(pipelines.Ecommerce, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(pipelines.Ecommerce, name)
		for place, other := range places {
			if strings.HasPrefix(other, strings.Split(name, "/")[0]) {
				f.Add(place, content)
			}
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"a: &a [*a]", "{<<: {a: b}}", "--- \n...\n---", "? [a]\n: b", "name: !!binary x", "a: 0x1F\nb: 1_000\nc: .inf\nd: 1e999"} {
		f.Add(0, []byte(text))
		f.Add(1, []byte(text))
	}
	for _, text := range []string{"-- key: a\n", "--\n--:\n-- a b: c\nSELECT 1", "SELECT $1, ?, $x", "SELECT 1 AS \"\"", "\ufeff-- key: a\r\nSELECT 1 AS a\r\n", "SELECT E'\\", "SELECT $a$", "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a FROM t) SELECT a FROM t"} {
		f.Add(2, []byte(text))
		f.Add(4, []byte(text))
	}
	f.Fuzz(func(t *testing.T, place int, content []byte) {
		if place < 0 || place >= len(places) || len(content) > 1<<16 {
			t.Skip()
		}
		folder := changed(map[string]string{places[place]: string(content)})
		p, err := pipeline.Load(t.Context(), folder, binder(t))
		if err == nil {
			if len(p.Models) == 0 && len(p.Sources) == 0 || len(p.Digest) != 64 {
				t.Fatalf("loaded %+v", p)
			}
			for _, table := range p.Tables() {
				if pipeline.Fingerprint(p, table, "1") == "" || p.Columns(table) == nil {
					t.Fatalf("%s has no fingerprint or no columns", table)
				}
			}
			return
		}
		var faults pipeline.Faults
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("not faults: %v", err)
		}
		for _, fault := range faults {
			if fault.Message == "" || strings.ContainsAny(fault.Message, "\n\r") || fault.Line < 0 || fault.Column < 0 {
				t.Fatalf("fault %+v", fault)
			}
			// YAML has more line breaks than the line feed.
			if lines := len(lineBreak.FindAll(content, -1)) + 1; fault.File == places[place] && fault.Line > lines+1 {
				t.Fatalf("%v is beyond the %d lines of the file", fault, lines)
			}
		}
		if !slices.IsSortedFunc(faults, func(a, b pipeline.Fault) int { return strings.Compare(a.File, b.File) }) {
			t.Fatalf("not in order:\n%s", faults.Text())
		}
	})
}
