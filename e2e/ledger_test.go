package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// ledger computes the KPIs of sales that a test read itself, row by row in exact fractions: no SQL, nothing of the program.
type ledger struct {
	currency string
	sales    []sale
	// firstDay and lastDay are those of lines of any kind, sales or not.
	firstDay, lastDay string
	// products are the names and categories; null where a product has none.
	products map[string]product
}

// sale is a revenue line. An empty customer is a guest.
type sale struct {
	order, customer, product, place string
	day                             string
	units                           int64
	amount                          *big.Rat
}

type product struct{ name, category string }

// tally sums sales up.
type tally struct {
	orders, customers map[string]bool
	units             int64
	amount            *big.Rat
}

func newTally() *tally {
	return &tally{orders: map[string]bool{}, customers: map[string]bool{}, amount: new(big.Rat)}
}

func (t *tally) add(s sale) {
	t.orders[s.order] = true
	if s.customer != "" {
		t.customers[s.customer] = true
	}
	t.units += s.units
	t.amount.Add(t.amount, s.amount)
}

func (t *tally) revenue() string { return money(t.amount) }

// share is the part of a whole, or an amount a piece; both with 6 places.
func (t *tally) share(whole *big.Rat) string { return new(big.Rat).Quo(t.amount, whole).FloatString(6) }

// money is an amount with 4 places; FloatString rounds half away from zero.
func money(amount *big.Rat) string { return amount.FloatString(4) }

func count(n int) string { return strconv.Itoa(n) }

func ratio(part, whole int) string { return big.NewRat(int64(part), int64(whole)).FloatString(6) }

// group sums the sales up by a key.
func group(sales []sale, key func(sale) string) map[string]*tally {
	groups := map[string]*tally{}
	for _, s := range sales {
		if groups[key(s)] == nil {
			groups[key(s)] = newTally()
		}
		groups[key(s)].add(s)
	}
	return groups
}

// byRevenue are the keys, the greatest revenue first, ties by the key.
func byRevenue(groups map[string]*tally) []string {
	return slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(groups[b].amount.Cmp(groups[a].amount), cmp.Compare(a, b))
	})
}

// within are the sales of a range of days; an empty bound is none.
func (l *ledger) within(from, to string) []sale {
	var found []sale
	for _, s := range l.sales {
		if (from == "" || s.day >= from) && (to == "" || s.day < to) {
			found = append(found, s)
		}
	}
	return found
}

// kpis are the rows of every KPI that all examples have, as ask returns them.
func (l *ledger) kpis(from, to string) map[string][][]string {
	sales := l.within(from, to)
	all := newTally()
	for _, s := range sales {
		all.add(s)
	}
	return map[string][][]string{
		"total_revenue": {{l.currency, all.revenue(), count(len(all.orders)), count(len(all.customers)), fmt.Sprint(all.units),
			all.share(big.NewRat(int64(len(all.orders)), 1))}},
		"daily_revenue":        l.daily(sales, from, to),
		"top_products":         l.top(sales),
		"user_retention":       l.retention(sales, from, to),
		"repeat_purchase_rate": repeat(sales),
	}
}

func (l *ledger) daily(sales []sale, from, to string) [][]string {
	days := group(sales, func(s sale) string { return s.day })
	var rows [][]string
	for day := cmp.Or(from, l.firstDay); to == "" && day <= l.lastDay || day < to; day = nextDay(day) {
		if days[day] == nil {
			days[day] = newTally()
		}
		rows = append(rows, []string{day, l.currency, days[day].revenue(), count(len(days[day].orders)), fmt.Sprint(days[day].units)})
	}
	return rows
}

func (l *ledger) top(sales []sale) [][]string {
	products := group(sales, func(s sale) string { return s.product })
	var rows [][]string
	for i, id := range byRevenue(products) {
		p := l.products[id]
		rows = append(rows, []string{count(i + 1), id, p.name, p.category, l.currency, fmt.Sprint(products[id].units), products[id].revenue()})
	}
	return rows
}

func (l *ledger) categories(sales []sale) [][]string {
	categories, whole := group(sales, func(s sale) string { return l.products[s.product].category }), new(big.Rat)
	for _, c := range categories {
		whole.Add(whole, c.amount)
	}
	var rows [][]string
	for _, name := range byRevenue(categories) {
		c := categories[name]
		rows = append(rows, []string{name, l.currency, c.revenue(), c.share(whole), count(len(c.orders)), fmt.Sprint(c.units)})
	}
	return rows
}

func (l *ledger) places(sales []sale) [][]string {
	places := group(sales, func(s sale) string { return cmp.Or(s.place, "unknown") })
	var rows [][]string
	for _, name := range byRevenue(places) {
		rows = append(rows, []string{name, l.currency, places[name].revenue(), count(len(places[name].orders))})
	}
	return rows
}

// retention follows the customers whose first order ever lies in the range through its months.
func (l *ledger) retention(sales []sale, from, to string) [][]string {
	first, last := map[string]string{}, ""
	for _, s := range l.sales {
		if day, known := first[s.customer]; s.customer != "" && (!known || s.day < day) {
			first[s.customer] = s.day
		}
	}
	active := map[string]map[string]bool{} // month, customer
	for _, s := range sales {
		month := s.day[:7]
		if active[month] == nil {
			active[month] = map[string]bool{}
		}
		active[month][s.customer] = true
		last = max(last, month)
	}
	cohorts := map[string][]string{}
	for customer, day := range first {
		if (from == "" || day >= from) && (to == "" || day < to) {
			cohorts[day[:7]] = append(cohorts[day[:7]], customer)
		}
	}
	var rows [][]string
	for _, cohort := range slices.Sorted(maps.Keys(cohorts)) {
		members := cohorts[cohort]
		for number, month := 0, cohort; month <= last; number, month = number+1, nextMonth(month) {
			came := 0
			for _, customer := range members {
				if active[month][customer] {
					came++
				}
			}
			rows = append(rows, []string{cohort, count(number), count(came), count(len(members)), ratio(came, len(members))})
		}
	}
	return rows
}

func repeat(sales []sale) [][]string {
	customers, again := group(sales, func(s sale) string { return s.customer }), 0
	delete(customers, "")
	for _, c := range customers {
		if len(c.orders) > 1 {
			again++
		}
	}
	return [][]string{{count(len(customers)), count(again), ratio(again, len(customers))}}
}

func nextDay(day string) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t.AddDate(0, 0, 1).Format(time.DateOnly)
}

func nextMonth(month string) string {
	t, err := time.Parse("2006-01", month)
	if err != nil {
		panic(err)
	}
	return t.AddDate(0, 1, 0).Format("2006-01")
}

// everyProduct asks top_products for all of them.
var everyProduct = map[string]string{"limit": "10000"}

// wantKPIs holds what the program answers for a range against what a test computed.
func (s *shop) wantKPIs(want map[string][][]string, from, to string) {
	s.t.Helper()
	for _, kpi := range slices.Sorted(maps.Keys(want)) {
		var params map[string]string
		if kpi == "top_products" {
			params = everyProduct
		}
		got := s.ask(kpi, from, to, params)[1:]
		if diff := gocmp.Diff(want[kpi], got); diff != "" {
			s.t.Errorf("%s of [%s, %s) (-computed from the raw files +shoplake):\n%.4000s", kpi, from, to, diff)
		}
	}
}

// publicData is a file of the public data sets that lie beside the project on some machines only.
func publicData(t *testing.T, path ...string) string {
	t.Helper()
	file := filepath.Join(append([]string{"..", "..", "shared", "data"}, path...)...)
	if _, err := os.Stat(file); err != nil {
		t.Skipf("the public data set is not here: %v", err)
	}
	return file
}

// dropFile copies a file into a source's landing folder.
func (s *shop) dropFile(source, file string) {
	s.t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.drop(source, filepath.Base(file), string(content))
}
