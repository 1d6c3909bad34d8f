package sample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
	"time"
)

// shop is what does not change from day to day: articles, who the customers are, how busy a day is.
type shop struct {
	Config
	products []product
	popular  *weighted
	// ordersOn and eventsOn are how many of each a day has; ordersBefore and eventsBefore sum the days before it.
	ordersOn, eventsOn         []int
	ordersBefore, eventsBefore []int
}

type product struct {
	id, sku, name, category, subcategory, brand string
	// list and cost are in cents of euro, before changes of price.
	list, cost int64
	// period and offset say in which weeks the price changes.
	period, offset int
	// launch is the first day (of this shop's period) it is sold; unlisted articles are in no inventory.
	launch   int
	unlisted bool
	// code stands for the article where chance follows from it.
	code uint64
}

type category struct {
	name          string
	subcategories []string
	nouns         []noun
	weight        int
}

// noun is a kind of article with its usual price in euros.
type noun struct {
	name  string
	price float64
}

var categories = []category{
	{"Electronics", []string{"Audio", "Phones", "Computers", "Smart home"}, []noun{
		{"Headphones", 89}, {"Speaker", 120}, {"Phone case", 19}, {"Charger", 25}, {"Keyboard", 70}, {"Monitor", 260}, {"Smart bulb", 18}, {"Laptop", 980},
	}, 14},
	{"Home & Kitchen", []string{"Cookware", "Bedding", "Lighting", "Storage"}, []noun{
		{"Saucepan", 45}, {"Duvet", 80}, {"Desk lamp", 40}, {"Basket", 18}, {"Kettle", 35}, {"Knife set", 95}, {"Shelf", 60},
	}, 20},
	{"Fashion", []string{"Women", "Men", "Shoes", "Accessories"}, []noun{
		{"Shirt", 30}, {"Jacket", 110}, {"Sneaker", 85}, {"Scarf", 25}, {"Dress", 65}, {"Belt", 28}, {"Jeans", 70},
	}, 22},
	{"Beauty", []string{"Skin", "Hair", "Fragrance"}, []noun{{"Cream", 22}, {"Shampoo", 9}, {"Perfume", 65}, {"Serum", 34}, {"Soap", 5}}, 12},
	{"Sports", []string{"Outdoor", "Fitness", "Cycling"}, []noun{
		{"Tent", 190}, {"Yoga mat", 30}, {"Dumbbell", 35}, {"Helmet", 60}, {"Water bottle", 15}, {"Backpack", 75},
	}, 10},
	{"Toys", []string{"Games", "Building", "Plush"}, []noun{{"Board game", 35}, {"Brick set", 60}, {"Bear", 22}, {"Puzzle", 17}}, 9},
	{"Books", []string{"Fiction", "Cooking", "Children", "Science"}, []noun{{"Novel", 14}, {"Cookbook", 29}, {"Picture book", 13}, {"Atlas", 45}}, 8},
	{"Garden", []string{"Tools", "Plants", "Furniture"}, []noun{{"Rake", 24}, {"Lavender", 8}, {"Chair", 90}, {"Hose", 32}, {"Planter", 28}}, 5},
}

var (
	brands     = []string{"Nordvik", "Almera", "Kestrel", "Bonté", "Haus & Hof", "Tamaro", "O'Connor", "Lumière", "Birch", "Quadrat", "Señal", "Fjord"}
	adjectives = []string{"Classic", "Light", "Compact", "Pro", "Soft", "Urban", "Essential", "Deluxe", "Mini", "Everyday"}
	warehouses = []string{"AMS-1", "BER-1", "LYS-2"}
)

// streams of chance: each has its own generator, so that more of one thing changes nothing of another.
const (
	streamProduct = iota + 1
	streamCalendar
	streamCustomer
	streamPlan
	streamOrders
	streamEvents
	streamStock
	streamInventory
	streamPrice
)

// random is the generator of a stream; day and customer numbers go into part.
func (s *shop) random(stream, part int) *rand.Rand {
	return rand.New(rand.NewPCG(mix(s.Seed, uint64(stream)), mix(uint64(part), uint64(stream)+977)))
}

// mix is the finaliser of splitmix64: neighbouring inputs give unrelated outputs.
func mix(a, b uint64) uint64 {
	x := a + (b+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func newShop(c Config) *shop {
	s := &shop{Config: c}
	s.makeProducts()
	s.makeCalendar()
	return s
}

func (s *shop) makeProducts() {
	var byWeight []int
	for i, c := range categories {
		for range c.weight {
			byWeight = append(byWeight, i)
		}
	}
	weights := make([]float64, s.Products)
	for i := range s.Products {
		r := s.random(streamProduct, i)
		c := categories[byWeight[r.IntN(len(byWeight))]]
		sub, kind := c.subcategories[r.IntN(len(c.subcategories))], c.nouns[r.IntN(len(c.nouns))]
		brand := brands[r.IntN(len(brands))]
		// From two thirds of the usual price to twice as much.
		price := kind.price * math.Pow(3, r.Float64()) * 0.66
		p := product{
			id:       fmt.Sprintf("P-%05d", i+1),
			sku:      fmt.Sprintf("%s-%04d", strings.ToUpper(kind.name[:3]), 1000+i),
			name:     fmt.Sprintf("%s %s %s", brand, adjectives[r.IntN(len(adjectives))], kind.name),
			category: c.name, subcategory: sub, brand: brand,
			list:   int64(math.Round(price))*100 - 1 - int64(r.IntN(2))*4,
			period: 6 + r.IntN(10), offset: r.IntN(16),
			code: r.Uint64(),
		}
		p.cost = p.list * int64(42+r.IntN(34)) / 100
		if s.Days > 20 && r.IntN(20) == 0 {
			p.launch = 1 + r.IntN(s.Days*2/3)
		}
		// One article in a hundred is sold before anybody counts it (gift cards, services).
		p.unlisted = i%100 == 57
		s.products = append(s.products, p)
		// Popularity falls with the rank; the rank has nothing to do with the number.
		weights[i] = 1 / math.Pow(3+float64(p.code%uint64(s.Products)), 0.85)
	}
	s.popular = newWeighted(weights)
}

// weekNumber counts weeks from a fixed Monday, so that prices do not depend on when the period starts.
func weekNumber(t time.Time) int {
	return int(t.Sub(time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC)).Hours()) / (24 * 7)
}

// listPrice and unitCost are in cents of euro; both move every few weeks.
func (s *shop) listPrice(p *product, day time.Time) int64 {
	step := (weekNumber(day) + p.offset) / p.period
	change := int64(mix(p.code^s.Seed, uint64(step))%25) - 10 // -10 % to +14 %
	return max(99, p.list+(p.list*change/100/10)*10)
}

func (s *shop) unitCost(p *product, day time.Time) int64 {
	step := (weekNumber(day) + p.offset*3) / (p.period + 4)
	change := int64(mix(p.code+1, uint64(step))%13) - 5
	return max(20, p.cost+p.cost*change/100)
}

// makeCalendar spreads orders and events over the days: weekends, pay days and a slow growth.
func (s *shop) makeCalendar() {
	weekday := [...]float64{time.Sunday: 1.15, time.Monday: 0.96, time.Tuesday: 0.9, time.Wednesday: 0.92, time.Thursday: 0.98, time.Friday: 1.06, time.Saturday: 1.2}
	busy := make([]float64, s.Days)
	traffic := make([]float64, s.Days)
	for d := range s.Days {
		day := s.day(d)
		r := s.random(streamCalendar, int(day.Unix()/86400))
		w := weekday[day.Weekday()] * (1 + 0.5*float64(d)/365) * (0.93 + 0.14*r.Float64())
		if day.Day() >= 27 || day.Day() <= 2 {
			w *= 1.12
		}
		switch {
		case day.Month() == time.November && day.Day() >= 22 && day.Weekday() >= time.Thursday:
			w *= 2.1
		case day.Month() == time.December && day.Day() < 21:
			w *= 1.5
		case promotion(day):
			w *= 1.35
		}
		busy[d] = w
		traffic[d] = math.Sqrt(w) * (0.95 + 0.1*r.Float64())
	}
	s.ordersOn, s.ordersBefore = spread(s.Orders, busy)
	s.eventsOn, s.eventsBefore = spread(s.Events, traffic)
}

// promotion tells whether everything is cheaper: three days in the middle of every second month.
func promotion(day time.Time) bool {
	return day.Month()%2 == 0 && day.Day() >= 13 && day.Day() <= 15
}

// spread divides a total by weights; the parts add up to it exactly.
func spread(total int, weights []float64) (parts, before []int) {
	var sum, run float64
	for _, w := range weights {
		sum += w
	}
	parts, before = make([]int, len(weights)), make([]int, len(weights))
	given := 0
	for i, w := range weights {
		run += w
		upTo := int(math.Round(float64(total) * run / sum))
		if i == len(weights)-1 {
			upTo = total
		}
		before[i], parts[i] = given, upTo-given
		given = upTo
	}
	return parts, before
}

func (s *shop) day(d int) time.Time { return s.Start.AddDate(0, 0, d) }

// weekOf tells whether a workbook is written on day d, and gives the Monday that it counts: on Mondays, and on the first day
// for the week that it lies in.
func (s *shop) weekOf(d int) (time.Time, bool) {
	day := s.day(d)
	sinceMonday := (int(day.Weekday()) + 6) % 7
	return day.AddDate(0, 0, -sinceMonday), d == 0 || sinceMonday == 0
}

// weighted draws an index by weight.
type weighted struct {
	upTo []float64 // cumulated; the last is the sum
}

func newWeighted(weights []float64) *weighted {
	w := &weighted{upTo: make([]float64, len(weights))}
	var sum float64
	for i, v := range weights {
		sum += v
		w.upTo[i] = sum
	}
	return w
}

func (w *weighted) draw(r *rand.Rand) int {
	at := r.Float64() * w.upTo[len(w.upTo)-1]
	return min(sort.SearchFloat64s(w.upTo, at), len(w.upTo)-1)
}
