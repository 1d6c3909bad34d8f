package sample

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// order is what somebody bought. Nothing of it changes once it is planned: a correction is a copy.
type order struct {
	id       string
	at       time.Time
	updated  time.Time // zero where the shop's system left it out
	customer customer
	payment  string
	status   string
	lines    []orderLine
	// moved says that a correction gave it another day.
	moved bool
}

type orderLine struct {
	product         int // index into shop.products
	quantity        int64
	price, discount int64 // cents of the order's currency
}

// record is one row of the day's file.
type record struct {
	order *order
	line  int
}

// day is what happens on a day: its own orders, and the rows that its file holds (corrections of earlier orders and repeated
// rows among them).
type day struct {
	index   int
	date    time.Time
	orders  []*order
	records []record
	// recordsBefore sums the records of earlier files.
	recordsBefore int
	// customers is how many numbers are given away.
	customers int
	variety   map[string]int
}

// planner walks through the days, since customers come back and orders are corrected later.
type planner struct {
	*shop
	r         *rand.Rand
	index     int
	customers int
	records   int
	// later holds corrected copies by the day whose file has them.
	later map[int][]*order
	// again holds rows that a later file repeats.
	again map[int][]*order
}

func newPlanner(s *shop) *planner {
	return &planner{
		shop: s, r: s.random(streamPlan, int(s.Start.Unix()/86400)),
		// The shop had customers before the period began.
		customers: max(20, s.Orders/8),
		later:     map[int][]*order{}, again: map[int][]*order{},
	}
}

// Shares of orders, in percent or per mille as the name says.
const (
	guestPercent     = 13
	newPercent       = 34
	correctedPercent = 6
	repeatedPerMille = 6
	twicePerMille    = 3
)

func (p *planner) next() *day {
	d := &day{
		index: p.index, date: p.day(p.index), recordsBefore: p.records,
		orders: make([]*order, 0, p.ordersOn[p.index]), variety: map[string]int{},
	}
	for n := range p.ordersOn[p.index] {
		o := p.order(d.date, n)
		d.orders = append(d.orders, o)
		d.append(o)
		if p.r.IntN(1000) < twicePerMille {
			d.append(o)
			d.variety["rows_twice_in_a_file"] += len(o.lines)
		}
		p.planCorrections(o)
	}
	for _, o := range p.later[d.index] {
		d.append(o)
		d.variety["corrected_rows"] += len(o.lines)
		if o.moved {
			d.variety["rows_moved_to_another_day"] += len(o.lines)
		}
	}
	for _, o := range p.again[d.index] {
		d.append(o)
		d.variety["rows_of_an_earlier_file_again"] += len(o.lines)
	}
	delete(p.later, d.index)
	delete(p.again, d.index)
	d.customers = p.customers
	p.records += len(d.records)
	p.index++
	return d
}

func (d *day) append(o *order) {
	for i := range o.lines {
		d.records = append(d.records, record{o, i})
	}
}

func (p *planner) order(date time.Time, n int) *order {
	o := &order{
		id:      fmt.Sprintf("O%s-%05d", date.Format("060102"), n+1),
		at:      date.Add(clock(p.r)),
		payment: payments[p.r.IntN(len(payments))],
		status:  firstStatus(p.r.IntN(100)),
	}
	switch who := p.r.IntN(100); {
	case who < guestPercent:
		o.customer = p.guest(p.r.Uint64())
	case who < guestPercent+newPercent:
		o.customer = p.customer(p.customers)
		p.customers++
	default:
		// Few customers order often: low numbers are drawn more.
		u := p.r.Float64()
		o.customer = p.customer(int(u * u * float64(p.customers)))
	}
	if p.r.IntN(12) == 0 {
		o.updated = o.at.Add(time.Duration(30+p.r.IntN(3600)) * time.Second)
	}
	for range lineCount(p.r.IntN(100)) {
		o.lines = append(o.lines, p.line(date, o.customer.currency))
	}
	return o
}

func (p *planner) line(date time.Time, currency string) orderLine {
	i := p.popular.draw(p.r)
	for try := 0; p.products[i].launch > p.index && try < 20; try++ {
		i = p.popular.draw(p.r)
	}
	l := orderLine{product: i, quantity: quantity(p.r.IntN(100), p.r), price: p.listPrice(&p.products[i], date) * rates[currency] / 100}
	switch {
	case promotion(date) && p.r.IntN(3) > 0:
		l.discount = l.quantity * l.price * 15 / 100
	case p.r.IntN(100) < 16:
		l.discount = l.quantity * l.price * int64(5*(1+p.r.IntN(4))) / 100
	}
	return l
}

// planCorrections decides what later files say of an order.
func (p *planner) planCorrections(o *order) {
	if p.r.IntN(1000) < repeatedPerMille {
		if later := p.index + 1 + p.r.IntN(5); later < p.Days {
			again := *o
			again.payment = payments[p.r.IntN(len(payments))]
			p.again[later] = append(p.again[later], &again)
		}
	}
	if p.r.IntN(100) >= correctedPercent {
		return
	}
	later := p.index + 1 + p.r.IntN(21)
	if later >= p.Days {
		return
	}
	c := *o
	c.updated = p.day(later).Add(clock(p.r))
	switch kind := p.r.IntN(100); {
	case kind < 60:
		c.status = nextStatus(o.status, p.r)
	case kind < 75:
		c.at = p.moved(o.at, later)
		c.moved = !c.at.Equal(o.at)
	case kind < 90:
		c.lines = append([]orderLine(nil), o.lines...)
		l := &c.lines[p.r.IntN(len(c.lines))]
		l.quantity, l.discount = 1+int64(p.r.IntN(4)), 0
	default:
		c.lines = append([]orderLine(nil), o.lines...)
		l := &c.lines[p.r.IntN(len(c.lines))]
		l.price, l.discount = l.price*9/10, 0
	}
	p.later[later] = append(p.later[later], &c)
}

// moved is another time of order: mostly a few days away, at times in another month, always within the period and not
// after the file that says so.
func (p *planner) moved(at time.Time, file int) time.Time {
	days := 1 + p.r.IntN(4)
	if p.r.IntN(4) == 0 {
		days = 20 + p.r.IntN(15)
	}
	to := at.AddDate(0, 0, -days)
	if p.r.IntN(3) == 0 {
		to = at.AddDate(0, 0, days)
	}
	if to.Before(p.Start) || !to.Before(p.day(file)) {
		return at
	}
	return to
}

// clock is a time of day: quiet nights, busy evenings.
func clock(r *rand.Rand) time.Duration {
	hour := hourOf[r.IntN(len(hourOf))]
	return time.Duration(hour)*time.Hour + time.Duration(r.IntN(3600))*time.Second
}

var hourOf = func() []int {
	share := [24]int{3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 14, 13, 12, 12, 13, 15, 18, 22, 24, 21, 13, 7}
	var out []int
	for h, n := range share {
		for range n {
			out = append(out, h)
		}
	}
	return out
}()

func lineCount(percent int) int {
	switch {
	case percent < 50:
		return 1
	case percent < 75:
		return 2
	case percent < 88:
		return 3
	case percent < 95:
		return 4
	default:
		return 6
	}
}

func quantity(percent int, r *rand.Rand) int64 {
	switch {
	case percent < 76:
		return 1
	case percent < 92:
		return 2
	case percent < 98:
		return 3
	default:
		return int64(4 + r.IntN(20))
	}
}

func firstStatus(percent int) string {
	switch {
	case percent < 8:
		return "placed"
	case percent < 40:
		return "paid"
	case percent < 66:
		return "shipped"
	case percent < 94:
		return "delivered"
	case percent < 98:
		return "cancelled"
	default:
		return "returned"
	}
}

func nextStatus(status string, r *rand.Rand) string {
	switch status {
	case "placed":
		return []string{"paid", "paid", "cancelled"}[r.IntN(3)]
	case "paid":
		return []string{"shipped", "shipped", "delivered", "cancelled"}[r.IntN(4)]
	case "shipped":
		return "delivered"
	default:
		return "returned"
	}
}
