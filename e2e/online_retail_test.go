package e2e

import (
	"bytes"
	"encoding/csv"
	"maps"
	"math"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/charmap"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	onlineRetail     = "../examples/online-retail"
	onlineRetailRows = 50999 // by the name of the file
)

var onlineRetailHeader = []string{"InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"}

// invoiceLine is a row of the workbook, its cells as a person sees them.
type invoiceLine struct {
	invoice, stock, description, quantity, price, customer string
	time                                                   time.Time
}

// readOnlineRetail reads the workbook once for all tests.
var readOnlineRetail = sync.OnceValues(func() ([]invoiceLine, error) {
	book, err := excelize.OpenFile("../../shared/data/orders/online-retail-50999.xlsx")
	if err != nil {
		return nil, err
	}
	defer book.Close()
	rows, err := book.Rows(book.GetSheetName(0))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var lines []invoiceLine
	for rows.Next() {
		cells, err := rows.Columns(excelize.Options{RawCellValue: true})
		if err != nil {
			return nil, err
		}
		if len(cells) == 0 || cells[0] == onlineRetailHeader[0] {
			continue // nine tenths of the sheet are formatted, but empty
		}
		cells = append(cells, make([]string, len(onlineRetailHeader)-len(cells))...)
		serial, err := strconv.ParseFloat(cells[4], 64)
		if err != nil {
			return nil, err
		}
		price, err := strconv.ParseFloat(cells[5], 64)
		if err != nil {
			return nil, err
		}
		lines = append(lines, invoiceLine{
			invoice: cells[0], stock: cells[1], description: cells[2], quantity: cells[3], customer: cells[6],
			price: strconv.FormatFloat(price, 'f', -1, 64), // 2.55, where the file has 2.5499999999999998
			time:  time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).Add(time.Duration(math.Round(serial*24*60)) * time.Minute),
		})
	}
	return lines, rows.Error()
})

func onlineRetailLines(t *testing.T) []invoiceLine {
	t.Helper()
	publicData(t, "orders", "online-retail-50999.xlsx")
	lines, err := readOnlineRetail()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != onlineRetailRows {
		t.Fatalf("the workbook has %d lines", len(lines))
	}
	return lines
}

// onlineRetailLedger tells sales from the rest, and counts both as kept_and_dropped does. place says where a customer lives.
func onlineRetailLedger(t *testing.T, lines []invoiceLine, place func(customer string) string) (*ledger, [][]string) {
	t.Helper()
	type kind struct {
		outcome, reason string
		lines, repeats  int
		orders          map[string]bool
		amount          *big.Rat
	}
	var kinds []*kind
	for _, k := range [][2]string{{"kept", "sold"}, {"dropped", "cancelled"}, {"dropped", "quantity_not_positive"}, {"dropped", "price_not_positive"}} {
		kinds = append(kinds, &kind{outcome: k[0], reason: k[1], orders: map[string]bool{}, amount: new(big.Rat)})
	}
	book := &ledger{currency: "GBP", products: map[string]product{}, firstDay: "9999"}
	seen, named := map[invoiceLine]bool{}, map[string]invoiceLine{}
	for _, line := range lines {
		price, ok := new(big.Rat).SetString(line.price)
		if !ok {
			t.Fatalf("price %q", line.price)
		}
		units, err := strconv.ParseInt(line.quantity, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		amount := price.Mul(price, big.NewRat(units, 1))
		priced := line.price != "0" && !strings.HasPrefix(line.price, "-")
		k := kinds[0]
		switch {
		case strings.HasPrefix(line.invoice, "C"):
			k = kinds[1]
		case units <= 0:
			k = kinds[2]
		case !priced:
			k = kinds[3]
		}
		k.lines++
		k.orders[line.invoice] = true
		k.amount.Add(k.amount, amount)
		if seen[line] {
			k.repeats++
		}
		seen[line] = true
		day := line.time.Format(time.DateOnly)
		book.firstDay, book.lastDay = min(book.firstDay, day), max(book.lastDay, day)
		if _, known := book.products[line.stock]; !known {
			book.products[line.stock] = product{"null", "unknown"}
		}
		if k != kinds[0] {
			continue
		}
		book.sales = append(book.sales, sale{line.invoice, line.customer, line.stock, place(line.customer), day, units, amount})
		if name := strings.TrimSpace(line.description); name != "" {
			last, known := named[line.stock]
			if !known || line.time.After(last.time) || line.time.Equal(last.time) && line.invoice >= last.invoice {
				named[line.stock], book.products[line.stock] = line, product{name, "unknown"}
			}
		}
	}
	var counts [][]string
	for _, k := range kinds {
		counts = append(counts, []string{k.outcome, k.reason, count(k.lines), count(len(k.orders)), count(k.repeats), money(k.amount)})
	}
	return book, counts
}

// onlineRetailCSV writes the lines as pandas does: numbers of customers have a point, since some are missing.
func onlineRetailCSV(t *testing.T, lines []invoiceLine) string {
	t.Helper()
	rows := [][]string{onlineRetailHeader}
	for _, l := range lines {
		if l.customer != "" {
			l.customer += ".0"
		}
		rows = append(rows, []string{l.invoice, l.stock, l.description, l.quantity, l.time.Format(time.DateTime), l.price, l.customer})
	}
	return csvText(t, rows)
}

func csvText(t *testing.T, rows [][]string) string {
	t.Helper()
	var text bytes.Buffer
	if err := csv.NewWriter(&text).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func nowhere(string) string { return "" }

// TestOnlineRetail runs the example on the workbook, and on the CSV that people make of it.
func TestOnlineRetail(t *testing.T) {
	t.Parallel()
	lines := onlineRetailLines(t)
	book, counts := onlineRetailLedger(t, lines, nowhere)
	t.Logf("kept and dropped: %v", counts)
	for name, drop := range map[string]func(*shop){
		"workbook": func(s *shop) { s.dropFile("orders", publicData(t, "orders", "online-retail-50999.xlsx")) },
		"csv":      func(s *shop) { s.drop("orders", "online-retail.csv", onlineRetailCSV(t, lines)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, os.DirFS(onlineRetail), 2)
			drop(s)
			run, _ := s.daily()
			if c := run.GetCounts(); c.GetRowsRead() != onlineRetailRows || c.GetRowsBronze() != onlineRetailRows || c.GetRowsQuarantined() != 0 {
				t.Errorf("the run says %v, want %d rows in bronze and none in quarantine", c, onlineRetailRows)
			}
			// The second range begins and ends within months.
			for _, days := range [][2]string{{"", ""}, {"2010-12-08", "2011-01-07"}} {
				want := book.kpis(days[0], days[1])
				want["revenue_by_country"] = book.places(book.within(days[0], days[1]))
				if days[0] == "" {
					want["kept_and_dropped"] = counts
				}
				s.wantKPIs(want, days[0], days[1])
			}
			if got := s.ask("total_revenue", "", "", nil)[1][1]; got != "967819.3700" {
				t.Errorf("revenue is %s; a spreadsheet gives 967819.37", got)
			}
		})
	}
}

// TestOnlineRetailByDay drops the data as one file a day, with countries, American dates and pound signs of one byte, as it
// also goes round; the last day comes later, with a broken file.
func TestOnlineRetailByDay(t *testing.T) {
	t.Parallel()
	lines := onlineRetailLines(t)
	place := func(customer string) string {
		switch {
		case customer == "":
			return "Unspecified"
		case customer > "17000":
			return "EIRE"
		}
		return "United Kingdom"
	}
	book, counts := onlineRetailLedger(t, lines, place)
	days := map[string][][]string{}
	for _, l := range lines {
		day := l.time.Format(time.DateOnly)
		if days[day] == nil {
			days[day] = [][]string{append(slices.Clone(onlineRetailHeader), "Country")}
		}
		days[day] = append(days[day], []string{l.invoice, l.stock, l.description, l.quantity, l.time.Format("1/2/2006 15:04"), l.price, l.customer, place(l.customer)})
	}
	s := setup(t, os.DirFS(onlineRetail), 2)
	dropDay := func(day string) {
		text, err := charmap.ISO8859_1.NewEncoder().String(csvText(t, days[day]))
		if err != nil {
			t.Fatal(err)
		}
		s.drop("orders", day[:7]+"/"+day+".csv", text)
	}
	sorted := slices.Sorted(maps.Keys(days))
	last := sorted[len(sorted)-1]
	for _, day := range sorted[:len(sorted)-1] {
		dropDay(day)
	}
	s.daily()
	before := book.within("", last)
	want := (&ledger{currency: book.currency, sales: before, firstDay: book.firstDay, lastDay: sorted[len(sorted)-2]}).kpis("", "")
	delete(want, "top_products") // names are those of all lines
	s.wantKPIs(want, "", "")

	dropDay(last)
	s.drop("orders", "broken.csv", strings.Join(onlineRetailHeader, ",")+",Country\n"+
		"536365,85123A,HEART,six,12/1/2010 8:26,2.55,17850,United Kingdom\n"+ // a quantity in words
		",85123A,HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"+ // no invoice
		"536365,85123A,HEART,6,13/13/2010 8:26,,17850.5,United Kingdom\n"+ // no such day, no price, half a customer
		"536365,85123A,HEART,6\n")
	run, stages := s.daily()
	if c := run.GetCounts(); c.GetRowsRead() != int64(len(days[last])-1+4) || c.GetRowsQuarantined() != 4 {
		t.Errorf("the run says %v, want the rows of %s and 4 in quarantine", c, last)
	}
	if got := stages["silver.orders"].GetPlanned(); len(got) != 1 || got[0].GetPartition() != last[:7] {
		t.Errorf("silver planned %v, want the month of %s alone", got, last)
	}
	s.wantRules("orders", map[string]int64{
		"type:quantity": 1, "required:invoice_no": 1, "type:invoice_date": 1, "required:unit_price": 1, "type:customer_id": 1, "column_count": 1,
	})
	want = book.kpis("", "")
	want["revenue_by_country"], want["kept_and_dropped"] = book.places(book.sales), counts
	s.wantKPIs(want, "", "")

	incremental := s.everything()
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("full refresh: %v", run.GetError())
	}
	if diff := gocmp.Diff(s.everything(), incremental); diff != "" {
		t.Errorf("day by day is not what a full refresh gives (-full +day by day):\n%s", diff)
	}
}

// wantRules holds the rules that a source's quarantined rows broke.
func (s *shop) wantRules(source string, want map[string]int64) {
	s.t.Helper()
	answer, err := s.rows.SummarizeQuarantine(s.t.Context(), &shoplakev1.SummarizeQuarantineRequest{Parent: "sources/" + source})
	if err != nil {
		s.t.Fatal(err)
	}
	got := map[string]int64{}
	for _, rule := range answer.GetRules() {
		got[rule.GetRule()] = rule.GetRows()
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		s.t.Errorf("rules that rows of %s broke (-want +got):\n%s", source, diff)
	}
}
