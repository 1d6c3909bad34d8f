//go:build unix

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// histories is how many different histories there are: few, since each is first lived undisturbed.
const histories = 3

// wrongHistory is one with data that a check refuses.
const wrongHistory = 1

// step is what is dropped before a run.
type step struct {
	name  string
	files map[string]string
	// fails says that a check finds the data wrong: the run must fail, and publish nothing.
	fails bool
}

// shopDay is the first business day of all histories.
var shopDay = time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)

// writer makes up the files of a history.
type writer struct {
	rng   *rand.Rand
	sales []sale
}

type sale struct {
	id      string
	day     time.Time
	version int
	amount  int // cents
}

// historyOf gives the steps of a history: initial data, then, in an order of its own, a new day, a correction that moves rows
// to other days and months, a late file, a file that is replaced; and in each second history data that a check refuses, which
// is mended by the next step.
func historyOf(number int) []step {
	w := &writer{rng: rand.New(rand.NewPCG(uint64(number), 20260110))}
	first := step{name: "initial data", files: map[string]string{
		"2026/01.csv": w.file(w.fresh(40, 0, 21), 2),
		"2026/02.csv": w.file(w.fresh(40, 22, 70), 1),
	}}
	later := []func() step{
		func() step {
			return step{name: "a new day", files: map[string]string{"2026/day.csv": w.file(w.fresh(15, 71, 72), 1)}}
		},
		func() step {
			return step{name: "a correction", files: map[string]string{"2026/moved.csv": w.file(w.moved(12), 0)}}
		},
		func() step {
			return step{name: "a late file", files: map[string]string{"2026/late.csv": w.file(w.fresh(9, 3, 40), 3)}}
		},
		func() step {
			return step{name: "a replaced file", files: map[string]string{"2026/01.csv": w.file(w.fresh(25, 0, 30), 1), "2026/more.csv": w.file(w.fresh(5, 60, 90), 0)}}
		},
	}
	w.rng.Shuffle(len(later), func(i, j int) { later[i], later[j] = later[j], later[i] })
	steps := []step{first}
	for i, make := range later {
		if number%2 == 1 && i == 2 {
			wrong := w.fresh(1, 10, 11)
			wrong[0].amount = 500_000
			steps = append(steps, step{name: "wrong data", fails: true, files: map[string]string{"2026/wrong.csv": w.file(wrong, 0)}})
			wrong[0].amount, wrong[0].version = 4_200, 2
			steps = append(steps, step{name: "mended data", files: map[string]string{"2026/mended.csv": w.file(wrong, 0)}})
			continue
		}
		steps = append(steps, make())
	}
	return steps
}

// fresh makes up sales of some days, the last one exclusive.
func (w *writer) fresh(n, from, to int) []sale {
	sales := make([]sale, 0, n)
	for range n {
		s := sale{id: fmt.Sprintf("s%03d", len(w.sales)), day: shopDay.AddDate(0, 0, from+w.rng.IntN(to-from)), version: 1, amount: 1 + w.rng.IntN(90_000)}
		w.sales = append(w.sales, s)
		sales = append(sales, s)
	}
	return sales
}

// moved corrects sales: another day, often of another month, and another amount.
func (w *writer) moved(n int) []sale {
	var sales []sale
	for _, i := range w.rng.Perm(len(w.sales))[:n] {
		s := w.sales[i]
		s.version++
		s.day = shopDay.AddDate(0, 0, w.rng.IntN(70))
		s.amount = 1 + w.rng.IntN(90_000)
		sales = append(sales, s)
	}
	return sales
}

// file writes sales, and some rows that break the contract.
func (w *writer) file(sales []sale, bad int) string {
	var b strings.Builder
	b.WriteString("sale_id,sale_date,version,amount\n")
	for _, s := range sales {
		fmt.Fprintf(&b, "%s,%s,%d,%d.%02d\n", s.id, s.day.Format(time.DateOnly), s.version, s.amount/100, s.amount%100)
	}
	for i := range bad {
		fmt.Fprintf(&b, "bad%d,%s,1,-%d\n", i, shopDay.Format(time.DateOnly), 1+w.rng.IntN(100))
	}
	return b.String()
}

// drop puts the files of a step into a landing folder, each whole or not at all, as files that have rested. The time of the
// number'th step makes a file that is replaced younger than it was.
func (s step) drop(t testing.TB, landing string, number int) {
	t.Helper()
	for name, content := range s.files {
		path := filepath.Join(landing, "sales", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		at := shopDay.Add(time.Duration(number) * time.Hour)
		temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
		if err := os.WriteFile(temp, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(temp, at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHistoriesHoldWhatTheyPromise(t *testing.T) {
	t.Parallel()
	for number := range histories {
		steps := historyOf(number)
		if again := historyOf(number); fmt.Sprint(again) != fmt.Sprint(steps) {
			t.Errorf("history %d is another one the second time", number)
		}
		if fails := slices.ContainsFunc(steps, func(s step) bool { return s.fails }); fails != (number%2 == 1) {
			t.Errorf("history %d fails: %v", number, fails)
		}
		if len(steps) < 5 {
			t.Errorf("history %d has %d steps only", number, len(steps))
		}
	}
}
