package pipeline

import (
	"slices"
)

// Tasks splits partitions into at most n groups (one where n is less) whose heaviest is as light as can be. Neighbours stay
// together, since they read the same files. weights are rows read a partition; each counts for one at least.
func Tasks(partitions []string, weights map[string]int64, n int) [][]string {
	if len(partitions) == 0 {
		return nil
	}
	partitions = slices.Clone(partitions)
	slices.Sort(partitions)
	n = max(n, 1)
	weight := func(partition string) int64 { return max(weights[partition], 1) }
	var heaviest, total int64
	for _, partition := range partitions {
		heaviest = max(heaviest, weight(partition))
		total += weight(partition)
	}
	// The lightest load that suffices lies between the heaviest partition and all of them.
	low, high := heaviest, total
	for low < high {
		load := low + (high-low)/2
		if len(fill(partitions, weight, load)) <= n {
			high = load
		} else {
			low = load + 1
		}
	}
	return fill(partitions, weight, low)
}

// fill makes groups of neighbours, none heavier than the load.
func fill(partitions []string, weight func(string) int64, load int64) [][]string {
	var groups [][]string
	var filled int64
	for i, partition := range partitions {
		if i == 0 || filled+weight(partition) > load {
			groups = append(groups, nil)
			filled = 0
		}
		filled += weight(partition)
		last := len(groups) - 1
		groups[last] = append(groups[last], partition)
	}
	return groups
}
