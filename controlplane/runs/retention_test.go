package runs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/shoplake/shoplake/internal/lake"
)

func sized(partition string, sizes ...int64) []lake.File {
	var files []lake.File
	for i, size := range sizes {
		files = append(files, lake.File{Path: fmt.Sprintf("%s/%02d", partition, i), Partition: partition, Bytes: size, Rows: 1})
	}
	return files
}

func TestCompactions(t *testing.T) {
	t.Parallel()
	const target = 3200 // so that a file counts for 100 at least
	for name, tc := range map[string]struct {
		files []lake.File
		want  string
	}{
		"no files":                            {nil, ""},
		"one small file":                      {sized("a", 1), ""},
		"two small files":                     {sized("a", 1, 2), "a:1+2"},
		"partitions are not mixed":            {slices.Concat(sized("b", 1, 2), sized("a", 3), sized("c", 4, 5, 6)), "b:1+2 c:4+5+6"},
		"files that are large enough":         {sized("a", 2400, 3200, 9000), ""},
		"a large file for the sake of a few":  {sized("a", 2000, 1), ""},
		"the few without the large file":      {sized("a", 2000, 1, 2), "a:1+2"},
		"a large file once they are many":     {sized("a", 1000, 300, 300, 300, 300), "a:300+300+300+300+1000"},
		"no more than the target in one file": {sized("a", 1600, 1600, 1600, 1600, 1600), "a:1600+1600 a:1600+1600"},
		"as many as there are":                {sized("a", make([]int64, 100)...), "a:" + strings.Repeat("0+", 99) + "0"},
	} {
		var got []string
		for _, group := range compactions(tc.files, target) {
			var sizes []string
			for _, f := range group {
				sizes = append(sizes, fmt.Sprint(f.Bytes))
			}
			got = append(got, group[0].Partition+":"+strings.Join(sizes, "+"))
		}
		if text := strings.Join(got, " "); text != tc.want {
			t.Errorf("%s: %q, want %q", name, text, tc.want)
		}
	}
}

// TestCompactionsEnd rewrites what is worth rewriting until nothing is: no file is lost, none grows above the target by it, and
// it ends soon.
func TestCompactionsEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		const target = 1000
		files := sized("p", rapid.SliceOf(rapid.Int64Range(0, 1500)).Draw(r, "sizes")...)
		sum := func() (rows, bytes int64) {
			for _, f := range files {
				rows, bytes = rows+f.Rows, bytes+f.Bytes
			}
			return rows, bytes
		}
		rows, bytes := sum()
		for round := 0; ; round++ {
			groups := compactions(files, target)
			if len(groups) == 0 {
				break
			}
			if round > 20 {
				r.Fatalf("after %d rounds there is still %v to rewrite", round, groups)
			}
			for i, group := range groups {
				one := lake.File{Path: fmt.Sprintf("%d-%d", round, i), Partition: "p"}
				for _, f := range group {
					one.Rows, one.Bytes = one.Rows+f.Rows, one.Bytes+f.Bytes
					at := slices.Index(files, f)
					if at < 0 {
						r.Fatalf("%v is rewritten twice, or is no file of the table", f)
					}
					files = slices.Delete(files, at, at+1)
				}
				if one.Bytes > target {
					r.Fatalf("%v would be one file of %d bytes", group, one.Bytes)
				}
				files = append(files, one)
			}
			if nowRows, nowBytes := sum(); nowRows != rows || nowBytes != bytes {
				r.Fatalf("%d rows became %d", rows, nowRows)
			}
		}
		small := slices.DeleteFunc(slices.Clone(files), func(f lake.File) bool { return f.Bytes > target/32 })
		if len(small) > 1 {
			r.Fatalf("%d tiny files are left: %v", len(small), small)
		}
	})
}

func TestExpirable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	var history []lake.Snapshot // one a day, the newest, of now, is 9
	for id := int64(9); id >= 0; id-- {
		history = append(history, lake.Snapshot{ID: id + 100, Time: now.AddDate(0, 0, int(id)-9)})
	}
	day := 24 * time.Hour
	for name, tc := range map[string]struct {
		needed []int64
		age    time.Duration
		last   int
		want   []int64
	}{
		"all limits hold":                 {nil, 7 * day, 5, []int64{102, 101, 100}},
		"the number holds more":           {nil, 3 * day, 9, []int64{100}},
		"what is needed is kept":          {[]int64{100, 102}, 7 * day, 0, []int64{101}},
		"without limits the last is kept": {[]int64{105, 108}, 0, 0, []int64{107, 106, 104, 103, 102, 101, 100}},
		"all are young":                   {nil, 100 * day, 0, nil},
	} {
		needed := map[int64]bool{}
		for _, id := range tc.needed {
			needed[id] = true
		}
		if got := expirable(history, needed, now, tc.age, tc.last); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v expire, want %v", name, got, tc.want)
		}
	}
	if got := expirable(nil, nil, now, 0, 0); len(got) > 0 {
		t.Errorf("of no history %v expire", got)
	}
}

func TestMayRemove(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	over, open := ulid.Make().String(), ulid.Make().String()
	ended := func(run string) bool { return run == over }
	for _, tc := range []struct {
		run  string
		age  time.Duration
		want bool
	}{
		{over, 0, true}, {open, 1000 * time.Hour, false}, // a run's files go with the run, whatever their age
		{ulid.Make().String(), 1000 * time.Hour, false}, // of a run that nobody knows
		{"", 59 * time.Minute, false}, {"", time.Hour, true},
		{"day=2026-01-01", time.Minute, false}, {"day=2026-01-01", 2 * time.Hour, true}, // of another program
	} {
		f := lake.Stored{Run: tc.run, Modified: now.Add(-tc.age)}
		if got := mayRemove(f, ended, now, time.Hour); got != tc.want {
			t.Errorf("a file of the run %q, %v old: may be removed %v, want %v", cmp.Or(tc.run, "nobody"), tc.age, got, tc.want)
		}
	}
}
