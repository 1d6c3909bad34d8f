package runs

import (
	"fmt"
	"slices"
	"strings"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// causesNamed is how many causes of a partition are kept by name.
const causesNamed = 20

// causes are what a chain of changes began with: landing files ("orders/2026-01-15.csv"), or the new definition of a table.
type causes struct {
	// named are sorted, and at most causesNamed.
	named []string
	// total is how many there are; where they are more than are named, at least how many.
	total int64
}

func causedBy(names ...string) causes {
	slices.Sort(names)
	names = slices.Compact(names)
	c := causes{named: names, total: int64(len(names))}
	c.named = c.named[:min(causesNamed, len(names))]
	return c
}

func causesOf(p *dispatchv1.PlannedPartition) causes {
	return causes{named: p.GetCauses(), total: max(p.GetCausesTotal(), int64(len(p.GetCauses())))}
}

// and are the causes of both. Of causes that are not all named nobody knows which are the same.
func (c causes) and(other causes) causes {
	both := causedBy(append(slices.Clone(c.named), other.named...)...)
	both.total = max(both.total, c.total, other.total)
	return both
}

// words names the first and counts the others; it is empty where no cause is known. note, where it is not nil, adds to the one
// that is named.
func (c causes) words(note func(cause string) string) string {
	if len(c.named) == 0 {
		return ""
	}
	first := c.named[0]
	if note != nil {
		if text := note(first); text != "" {
			first += " (" + text + ")"
		}
	}
	switch {
	case c.total == 1:
		return first
	case c.total == 2 && len(c.named) == 2 && note == nil:
		return first + " and " + c.named[1]
	case c.total > causesNamed:
		return fmt.Sprintf("%s and at least %d more", first, c.total-1)
	}
	return fmt.Sprintf("%s and %d more", first, c.total-1)
}

// why is the reason that a partition is built for.
type why struct {
	// words are for a person; changes of several inputs are joined.
	words  string
	causes causes
}

// and is a reason that holds besides another.
func (w why) and(other why) why {
	switch {
	case w.words == "":
		return other
	case other.words == "" || w.words == other.words:
		return why{words: w.words, causes: w.causes.and(other.causes)}
	}
	return why{words: w.words + "; " + other.words, causes: w.causes.and(other.causes)}
}

// whyChanged words the change of an input: of bronze by the files that were read, of another table by what its own change began
// with. how is what a person should know besides, for example " from 2026-03-01 on".
func (in *inputState) whyChanged(c causes, how string) why {
	words := in.Table + " changed" + how
	if in.bronze() {
		note := func(cause string) string {
			return in.reasons[strings.TrimPrefix(cause, in.source()+"/")].GetReason()
		}
		if by := c.words(note); by != "" {
			words += ": " + by
		}
	} else if by := c.words(nil); by != "" {
		words += ", by " + by
	}
	return why{words: words, causes: c}
}

func (in *inputState) bronze() bool { return strings.HasPrefix(in.Table, "bronze.") }

func (in *inputState) source() string { return strings.TrimPrefix(in.Table, "bronze.") }

// causesIn are the causes of the changes of a partition of the input: of bronze, of the rows of a landing file.
func (in *inputState) causesIn(partition string) causes {
	if in.bronze() {
		return causedBy(in.source() + "/" + partition)
	}
	return causesOf(in.reasons[shownPartition(partition)])
}

// whyAtAll is why the input as a whole changed.
func (in *inputState) whyAtAll() why {
	c := causes{}
	if in.bronze() {
		names := make([]string, 0, len(in.reasons))
		for path := range in.reasons {
			names = append(names, in.source()+"/"+path)
		}
		c = causedBy(names...)
	} else {
		for _, partition := range in.changedPartitions() {
			c = c.and(in.causesIn(partition))
		}
	}
	return in.whyChanged(c, "")
}

// changedPartitions are the partitions of the input in which files changed or, in a dry run, would change; sorted.
func (in *inputState) changedPartitions() []string {
	var list []string
	for _, file := range in.added {
		list = append(list, file.Partition)
	}
	for _, file := range in.removed {
		list = append(list, file.Partition)
	}
	for partition := range in.rebuilt {
		list = append(list, partition)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
