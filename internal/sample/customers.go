package sample

import "fmt"

// customer is who a customer number is. Nothing is kept: the same number is the same person.
type customer struct {
	id, email string
	place
}

// place is where somebody lives, and what is paid with there.
type place struct {
	country, city, currency string
}

type country struct {
	code, currency string
	cities         []string
	weight         int
}

var countries = []country{
	{"DE", "EUR", []string{"Berlin", "Hamburg", "München", "Köln", "Frankfurt, Main", "Leipzig"}, 30},
	{"FR", "EUR", []string{"Paris", "Lyon", "Marseille", "Saint-Étienne", "Nîmes"}, 16},
	{"NL", "EUR", []string{"Amsterdam", "Utrecht", `Den "Haag"`, "Groningen"}, 9},
	{"AT", "EUR", []string{"Wien", "Graz", "Linz"}, 7},
	{"ES", "EUR", []string{"Madrid", "A Coruña", "Sevilla"}, 9},
	{"IT", "EUR", []string{"Milano", "L'Aquila", "Roma", "Forlì"}, 10},
	{"BE", "EUR", []string{"Bruxelles", "Gent", "Liège"}, 4},
	{"IE", "EUR", []string{"Dublin", "Dún Laoghaire"}, 2},
	{"GB", "GBP", []string{"London", "Leeds", "Bristol", "Edinburgh"}, 8},
	{"US", "USD", []string{"New York", "Washington, D.C.", "Austin", "Portland"}, 5},
}

var (
	firstNames = []string{"anna", "lukas", "marie", "jan", "sofia", "paul", "emma", "tom", "lea", "noah", "clara", "hugo", "ines", "mats", "zoe", "omar"}
	lastNames  = []string{"schmidt", "dubois", "de.vries", "rossi", "garcia", "smith", "novak", "jansen", "keller", "moreau", "byrne", "costa", "weber", "lang"}
	payments   = []string{"card", "card", "card", "paypal", "paypal", "invoice", "transfer", "klarna", "gift card"}
)

// hundredths of a currency's unit that a euro is worth.
var rates = map[string]int64{"EUR": 100, "GBP": 86, "USD": 108}

var byPopulation = func() []int {
	var out []int
	for i, c := range countries {
		for range c.weight {
			out = append(out, i)
		}
	}
	return out
}()

// customer returns who has this number (from 0).
func (s *shop) customer(n int) customer {
	h := mix(s.Seed^streamCustomer<<32, uint64(n))
	first, last := firstNames[h%uint64(len(firstNames))], lastNames[(h>>8)%uint64(len(lastNames))]
	return customer{
		id:    fmt.Sprintf("C-%06d", n+1),
		email: fmt.Sprintf("%s.%s%d@example.com", first, last, n+1),
		place: placeOf(h >> 16),
	}
}

// guest is somebody without an account; half of them leave an address.
func (s *shop) guest(h uint64) customer {
	c := customer{place: placeOf(h >> 16)}
	if h&1 == 0 {
		c.email = firstNames[h%uint64(len(firstNames))] + fmt.Sprintf("%d@example.org", h%9973)
	}
	return c
}

func placeOf(h uint64) place {
	c := countries[byPopulation[h%uint64(len(byPopulation))]]
	return place{country: c.code, city: c.cities[(h>>12)%uint64(len(c.cities))], currency: c.currency}
}
