package sample

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"
)

// Keys of an event, in the order they are written.
const (
	eID = iota
	eTime
	eUser
	eSession
	eType
	eProduct
	eOrder
	eCountry
	ePage
	eReferrer
	eDevice
	eSearch
	eProperties
	eventKeys
)

var eventNames = [eventKeys]string{
	"event_id", "event_time", "user_id", "session_id", "event_type", "product_id", "order_id", "country", "page_url", "referrer",
	"device", "search_query", "properties",
}

// eventRow is an event as JSON values, key by key; an empty value is left out.
type eventRow struct {
	values [eventKeys][]byte
	at     time.Time
}

// text sets a value to a JSON string. What is written here needs no escapes.
func (e *eventRow) text(key int, s string) {
	e.values[key] = append(append(append(e.values[key][:0], '"'), s...), '"')
}

func (e *eventRow) raw(key int, json string) { e.values[key] = append(e.values[key][:0], json...) }

func (e *eventRow) unset(key int) { e.values[key] = e.values[key][:0] }

func (e *eventRow) setTime(at time.Time) {
	e.at = at
	b := append(e.values[eTime][:0], '"')
	b = at.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	e.values[eTime] = append(b, '"')
}

func (e *eventRow) line(b []byte) []byte {
	sep := byte('{')
	for k, v := range e.values {
		if len(v) == 0 {
			continue
		}
		b = append(b, sep, '"')
		b = append(b, eventNames[k]...)
		b = append(b, '"', ':')
		b = append(b, v...)
		sep = ','
	}
	return append(b, '}')
}

// eventDay writes the events of one day, by the hour they happen in.
type eventDay struct {
	*generator
	day      *day
	r        *rand.Rand
	hours    [24]*output
	target   int
	written  int
	sessions int
	dirty    []int
	number   int // of the next broken row in the series of all
	row      eventRow
	buf      []byte
	err      error
}

// Mean length of a session, and the share of sessions that buy: most orders come from places that send no events.
const (
	eventsPerSession = 5.6
	buyersPercent    = 5
)

func (g *generator) writeEvents(ctx context.Context, d *day) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := &eventDay{
		generator: g, day: d, r: g.shop.random(streamEvents, int(d.date.Unix()/86400)), target: g.shop.eventsOn[d.index],
	}
	e.dirty, e.number = dirtyRows(e.r, g.shop.Dirt, g.shop.eventsBefore[d.index], e.target)
	folder := d.date.Format(time.DateOnly) + "/"
	defer func() {
		for _, o := range e.hours {
			o.abandon()
		}
	}()
	for h := range e.hours {
		name := folder + string([]byte{byte('0' + h/10), byte('0' + h%10)}) + ".ndjson"
		if (d.index*24+h)%37 == 11 {
			name += ".gz"
		}
		o, err := g.create("user_activity", name)
		if err != nil {
			return err
		}
		e.hours[h] = o
	}
	e.buyers()
	for e.written < e.target && e.err == nil {
		e.visitor()
	}
	err := e.err
	for _, o := range e.hours {
		if err == nil && d.index%9 == 4 {
			// Blank lines are no rows.
			_, err = o.w.WriteString("\n\n")
		}
		err = errors.Join(err, g.close("user_activity", o))
	}
	if err != nil {
		return err
	}
	return g.plantEventFiles(d, folder)
}

// session is somebody's visit as it goes on.
type session struct {
	id, user, country, device, referrer string
	at                                  time.Time
}

func (e *eventDay) session(at time.Time, user, country string) *session {
	e.sessions++
	b := strconv.AppendInt([]byte("s"+e.day.date.Format("060102")+"-"), int64(e.sessions), 36)
	return &session{
		id: string(b), user: user, country: country, at: at,
		device:   []string{"mobile", "mobile", "mobile", "desktop", "desktop", "tablet"}[e.r.IntN(6)],
		referrer: []string{"", "", "https://www.google.com/", "https://news.example.net/", "https://www.instagram.com/"}[e.r.IntN(5)],
	}
}

// visitor is a session that buys nothing that we hear of.
func (e *eventDay) visitor() {
	r := e.r
	user, country := "", ""
	if r.IntN(100) < 55 {
		c := e.shop.customer(r.IntN(e.day.customers))
		user, country = c.id, c.country
	} else {
		country = placeOf(r.Uint64()).country
	}
	at := e.day.date.Add(clock(r))
	late := r.IntN(100) == 0 && at.AddDate(0, 0, -3).After(e.shop.Start)
	if late {
		// An app that was offline delivers days later.
		at = at.AddDate(0, 0, -1-r.IntN(3))
		e.hours[0].variety("late_sessions")
	}
	s := e.session(at, user, country)
	for range 1 + r.IntN(3) {
		e.step(s, "page_view", -1, "")
	}
	if r.IntN(100) < 38 {
		e.step(s, "search", -1, "")
	}
	if r.IntN(100) < 28 {
		return
	}
	cart := false
	for range 1 + r.IntN(6) {
		p := e.product()
		e.step(s, "product_view", p, "")
		if r.IntN(100) < 14 {
			e.step(s, "add_to_cart", p, "")
			cart = true
			if r.IntN(100) < 12 {
				e.step(s, "remove_from_cart", p, "")
			}
		}
	}
	if cart && r.IntN(100) < 40 {
		e.step(s, "checkout", -1, "")
	}
}

// buyers are sessions that lead to some of the day's orders.
func (e *eventDay) buyers() {
	orders := e.day.orders
	n := min(len(orders), int(float64(e.target)/eventsPerSession*buyersPercent/100))
	for i := range n {
		if e.written >= e.target || e.err != nil {
			return
		}
		o := orders[i*len(orders)/n]
		lead := time.Duration(120+e.r.IntN(900)) * time.Second
		s := e.session(o.at.Add(-lead), o.customer.id, o.customer.country)
		e.step(s, "page_view", -1, "")
		for _, l := range o.lines {
			e.step(s, "product_view", l.product, "")
			e.step(s, "add_to_cart", l.product, "")
		}
		e.step(s, "checkout", -1, "")
		s.at = o.at
		e.step(s, "purchase", -1, o.id)
	}
}

func (e *eventDay) product() int {
	i := e.shop.popular.draw(e.r)
	if e.shop.products[i].launch > e.day.index {
		return 0
	}
	return i
}

// step writes the next event of a session and lets time pass.
func (e *eventDay) step(s *session, kind string, product int, order string) {
	if e.written >= e.target || e.err != nil {
		return
	}
	r, row := e.r, &e.row
	number := e.written
	e.written++
	row.setEventID(mix(e.shop.Seed^streamEvents<<40, uint64(e.day.date.Unix()/86400)<<32|uint64(number)))
	row.setTime(s.at.Add(time.Duration(r.IntN(1000)) * time.Millisecond))
	row.text(eSession, s.id)
	row.text(eType, kind)
	row.text(eCountry, s.country)
	row.text(eDevice, s.device)
	row.raw(eProperties, "")
	row.unset(eUser)
	row.unset(eProduct)
	row.unset(eOrder)
	row.unset(eReferrer)
	row.unset(eSearch)
	if s.user != "" {
		row.text(eUser, s.user)
	}
	if s.referrer != "" {
		row.text(eReferrer, s.referrer)
	}
	switch {
	case product >= 0:
		p := &e.shop.products[product]
		row.text(eProduct, p.id)
		row.text(ePage, "https://shop.example.com/p/"+p.id)
		row.raw(eProperties, `{"position":`+strconv.Itoa(1+r.IntN(40))+`,"list":"`+p.category+`"}`)
	case order != "":
		row.text(eOrder, order)
		row.text(ePage, "https://shop.example.com/thanks")
	case kind == "search":
		row.text(eSearch, categories[r.IntN(len(categories))].nouns[0].name)
		row.text(ePage, "https://shop.example.com/search")
	case kind == "checkout":
		row.text(ePage, "https://shop.example.com/checkout")
	default:
		row.text(ePage, "https://shop.example.com/c/"+strconv.Itoa(1+r.IntN(len(categories))))
	}
	e.put(number, s, kind)
	pause := time.Duration(5+r.IntN(150)) * time.Second
	if r.IntN(250) == 0 {
		pause = time.Duration(28+r.IntN(30)) * time.Minute
	}
	s.at = s.at.Add(pause)
}

func (e *eventRow) setEventID(n uint64) {
	const digits = "0123456789abcdef"
	b := append(e.values[eID][:0], '"', 'e', '-')
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	e.values[eID] = append(b, '"')
}

// put writes the row into its hour's file: broken, in an unusual form, or as it is; at times twice.
func (e *eventDay) put(number int, s *session, kind string) {
	out := e.hours[e.hourOf(s.at)]
	e.buf = e.buf[:0]
	if len(e.dirty) > 0 && e.dirty[0] == number {
		var rules []string
		e.buf, rules = dirtyEvent(e.number, e.buf, &e.row, e.r)
		e.dirty, e.number = e.dirty[1:], e.number+1
		out.row(rules)
		e.write(out)
		return
	}
	chance := e.r.IntN(1000)
	if chance < 60 {
		e.buf = varyEvent(out, e.buf, &e.row, kind, e.r)
	} else {
		e.buf = e.row.line(e.buf)
	}
	out.row(nil)
	e.write(out)
	switch {
	case chance >= 998:
		out.row(nil)
		out.variety("rows_twice_in_a_file")
		e.write(out)
	case chance == 997:
		// Sent again by an impatient device, with the time of the second try.
		e.row.setTime(s.at.Add(time.Duration(2+e.r.IntN(20)) * time.Second))
		e.buf = e.row.line(e.buf[:0])
		again := e.hours[min(e.hourOf(s.at)+e.r.IntN(2), 23)]
		again.row(nil)
		again.variety("events_sent_again")
		e.write(again)
	}
}

// hourOf is the file an event goes to; what happened on another day is delivered in the first or last hour.
func (e *eventDay) hourOf(at time.Time) int {
	switch {
	case at.Before(e.day.date):
		return 0
	case !at.Before(e.day.date.AddDate(0, 0, 1)):
		return 23
	default:
		return at.Hour()
	}
}

func (e *eventDay) write(out *output) {
	e.buf = append(e.buf, '\n')
	if _, err := out.w.Write(e.buf); err != nil {
		e.err = err
	}
	e.buf = e.buf[:len(e.buf)-1]
}
