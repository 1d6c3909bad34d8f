//go:build unix

package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// The actions of fail points.
const (
	kill    = "kill"
	freeze  = "freeze"
	fail    = "error"
	noSpace = "enospc"
)

// shot is an action at a point.
type shot struct{ point, action string }

func (s shot) String() string { return s.point + "=" + s.action }

// shots are a kill and a freeze at each point: the suite as a whole fires them all.
func shots() []shot {
	var all []shot
	for _, action := range []string{kill, freeze} {
		for _, point := range failpoint.Points() {
			all = append(all, shot{point, action})
		}
	}
	return all
}

// tally counts over all seeds what was done.
type tally struct {
	mu           sync.Mutex
	armed, fired map[shot]int
	disturbances map[string]int
	runs         map[string]int // by how they ended
	answers      int            // of readers
	ownDisks     int            // seeds whose disk can be filled
	// cancelled and resumed count the runs that were cancelled, and those that were resumed after that, by what was then under way.
	cancelled, resumed map[string]int
}

func newTally() *tally {
	return &tally{armed: map[shot]int{}, fired: map[shot]int{}, disturbances: map[string]int{}, runs: map[string]int{}, cancelled: map[string]int{}, resumed: map[string]int{}}
}

func (c *tally) count(f func(*tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// unfired are the kills and freezes that never happened.
func (c *tally) unfired() []shot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(shots(), func(s shot) bool { return c.fired[s] > 0 })
}

func countAll(counts map[string]int, keys []string) {
	for _, key := range keys {
		counts[key]++
	}
}

// cancelMoments are the states of a run and of its stages at which runs are cancelled, and resumed then. A run whose end is
// announced is cancelled no more.
var cancelMoments = []string{"run queued", "run running", "stage waiting", "stage running", "stage checking", "stage committing", "stage succeeded"}

// unmet are the moments at which no run was cancelled, or none that was cancelled there was resumed.
func (c *tally) unmet() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(cancelMoments), func(m string) bool { return c.cancelled[m] > 0 && c.resumed[m] > 0 })
}

// undone are the things that were never done to a shop.
func (c *tally) undone() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(kinds(c.ownDisks > 0), func(name string) bool { return c.disturbances[name] > 0 })
}

// print tells all of it: each point with how often an action was armed there and how often it was taken.
func (c *tally) print(out io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POINT (armed/fired)\tKILL\tFREEZE\tERROR\tENOSPC")
	for _, point := range failpoint.Points() {
		fmt.Fprint(w, point)
		for _, action := range []string{kill, freeze, fail, noSpace} {
			s := shot{point, action}
			fmt.Fprintf(w, "\t%d/%d", c.armed[s], c.fired[s])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "\nDISTURBANCE\tTIMES")
	for _, name := range slices.Sorted(maps.Keys(c.disturbances)) {
		fmt.Fprintf(w, "%s\t%d\n", name, c.disturbances[name])
	}
	fmt.Fprintln(w, "\nRUNS\tTIMES")
	for _, name := range slices.Sorted(maps.Keys(c.runs)) {
		fmt.Fprintf(w, "%s\t%d\n", name, c.runs[name])
	}
	fmt.Fprintf(w, "answers to readers\t%d\n", c.answers)
	fmt.Fprintln(w, "\nAT\tCANCELLED\tTHEN RESUMED")
	for _, moment := range append(slices.Clone(cancelMoments), "run suspended", "run failed", "stage up_to_date") {
		fmt.Fprintf(w, "%s\t%d\t%d\n", moment, c.cancelled[moment], c.resumed[moment])
	}
	w.Flush()
}

// shotsASeed is how many kills and freezes a seed arms.
const shotsASeed = 3

// blocksOf deals the shots out to seeds, a kill of one point beside a freeze of quite another.
func blocksOf(all []shot) [][]shot {
	n := (len(all) + shotsASeed - 1) / shotsASeed
	blocks := make([][]shot, n)
	for i, s := range all {
		blocks[i%n] = append(blocks[i%n], s)
	}
	return blocks
}

// often holds the steps that every run does several times.
var often = map[string]bool{"write.object": true, "release.task": true, "report.started": true, "report.succeeded": true, "write.parquet": true,
	"ack.task": true, "ack.report": true, "commit.catalog": true, "commit.table": true, "lease.renew": true, "append.task": true,
	"append.stage_planned": true, "append.stage_committing": true, "append.stage_committed": true, "keep.checkpoint": true}

// pointStep is the step that a point lies before or after.
func pointStep(point string) string { return point[:strings.LastIndexByte(point, '.')] }
