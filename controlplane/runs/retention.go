package runs

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/shoplake/shoplake/internal/lake"
)

// compactions are the groups of a table's files that are worth rewriting as one file each: files of one partition that are
// small, several of them, together not above the target. A group whose largest file is larger than all others together is not
// worth it: the same rows would be rewritten again and again for the sake of a few new ones.
func compactions(files []lake.File, target int64) [][]lake.File {
	partitions := map[string][]lake.File{}
	for _, f := range files {
		if f.Bytes < target/4*3 {
			partitions[f.Partition] = append(partitions[f.Partition], f)
		}
	}
	var groups [][]lake.File
	for _, small := range partitions {
		slices.SortFunc(small, func(a, b lake.File) int { return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Path, b.Path)) })
		var group []lake.File
		var bytes int64
		for _, f := range small {
			if len(group) > 0 && bytes+f.Bytes > target {
				groups, group, bytes = append(groups, group), nil, 0
			}
			group, bytes = append(group, f), bytes+f.Bytes
		}
		groups = append(groups, group)
	}
	for i, group := range groups {
		groups[i] = worthwhile(group, target)
	}
	groups = slices.DeleteFunc(groups, func(group []lake.File) bool { return len(group) < 2 })
	slices.SortFunc(groups, func(a, b []lake.File) int {
		return cmp.Or(cmp.Compare(a[0].Partition, b[0].Partition), cmp.Compare(a[0].Path, b[0].Path))
	})
	return groups
}

// worthwhile leaves out the largest files of a group, sorted by size, while they outweigh the others. To open a file costs
// something too, so that each counts for some bytes at least.
func worthwhile(group []lake.File, target int64) []lake.File {
	weight := func(f lake.File) int64 { return max(f.Bytes, target/32) }
	var total int64
	for _, f := range group {
		total += weight(f)
	}
	for len(group) > 1 {
		largest := weight(group[len(group)-1])
		if largest <= total-largest {
			break
		}
		group, total = group[:len(group)-1], total-largest
	}
	return group
}

// expirable are the snapshots of a table, of its history newest first, that may be forgotten: those that nobody needs, that
// are as old as the age, and not among the last ones.
func expirable(history []lake.Snapshot, needed map[int64]bool, now time.Time, age time.Duration, last int) []int64 {
	var ids []int64
	for i, s := range history {
		if i >= max(last, 1) && !needed[s.ID] && now.Sub(s.Time) >= age {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// mayRemove says whether a file may be removed that no metadata names. What lies in a run's folder may go when the run is known
// to have ended, however young it is: no commit of that run will come any more. A run that is open keeps its files, and so does
// one that is not known: a lake may have been restored from a later state than the log of runs. What belongs to no run may be
// of a commit that is under way in a process that was replaced, or of another program: it must be as old as the age.
func mayRemove(f lake.Stored, ended func(run string) bool, now time.Time, age time.Duration) bool {
	if _, err := ulid.ParseStrict(f.Run); err == nil {
		return ended(f.Run)
	}
	return now.Sub(f.Modified) >= age
}
