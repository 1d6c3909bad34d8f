package e2e

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const olist = "../examples/olist"

// olistFiles are the files of the data set by the source that reads them.
var olistFiles = map[string]string{
	"orders":               "olist_orders_dataset.csv",
	"order_items":          "olist_order_items_dataset.csv",
	"order_payments":       "olist_order_payments_dataset.csv",
	"order_reviews":        "olist_order_reviews_dataset.csv",
	"customers":            "olist_customers_dataset.csv",
	"products":             "olist_products_dataset.csv",
	"category_translation": "product_category_name_translation.csv",
}

// olistData are the rows of each source by the names of its header.
type olistData map[string][]map[string]string

func readOlist(t *testing.T) olistData {
	t.Helper()
	data := olistData{}
	for source, name := range olistFiles {
		file, err := os.Open(publicData(t, "orders", "olist-sample", name))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(file).ReadAll()
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			cells := map[string]string{}
			for i, name := range rows[0] {
				cells[name] = row[i]
			}
			data[source] = append(data[source], cells)
		}
	}
	return data
}

// index finds the rows of a source by their only key.
func (d olistData) index(source, key string) map[string]map[string]string {
	rows := map[string]map[string]string{}
	for _, row := range d[source] {
		rows[row[key]] = row
	}
	return rows
}

func amountOf(t *testing.T, texts ...string) *big.Rat {
	t.Helper()
	sum := new(big.Rat)
	for _, text := range texts {
		amount, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("amount %q", text)
		}
		sum.Add(sum, amount)
	}
	return sum
}

func purchaseDay(order map[string]string) string { return order["order_purchase_timestamp"][:10] }

// ledger joins the files by hand.
func (d olistData) ledger(t *testing.T) *ledger {
	t.Helper()
	orders, customers := d.index("orders", "order_id"), d.index("customers", "customer_id")
	english := d.index("category_translation", "product_category_name")
	book := &ledger{currency: "BRL", products: map[string]product{}, firstDay: "9999"}
	for _, order := range orders {
		// Days without an item are no days of sales.
		if slices.ContainsFunc(d["order_items"], func(item map[string]string) bool { return item["order_id"] == order["order_id"] }) {
			book.firstDay, book.lastDay = min(book.firstDay, purchaseDay(order)), max(book.lastDay, purchaseDay(order))
		}
	}
	for _, p := range d["products"] {
		category := p["product_category_name"]
		book.products[p["product_id"]] = product{"null", cmp.Or(english[category]["product_category_name_english"], category, "unknown")}
	}
	for _, item := range d["order_items"] {
		order := orders[item["order_id"]]
		if order["order_status"] != "delivered" {
			continue
		}
		customer := customers[order["customer_id"]]
		book.sales = append(book.sales, sale{
			order: item["order_id"], customer: customer["customer_unique_id"], place: customer["customer_state"], product: item["product_id"],
			day: purchaseDay(order), units: 1, amount: amountOf(t, item["price"], item["freight_value"]),
		})
	}
	return book
}

// kept counts lines and orders by status, as kept_and_dropped does.
func (d olistData) kept(t *testing.T) [][]string {
	t.Helper()
	type kind struct {
		lines, orders int
		amount        *big.Rat
	}
	kinds := map[string]*kind{}
	of := func(status string) *kind {
		if kinds[status] == nil {
			kinds[status] = &kind{amount: new(big.Rat)}
		}
		return kinds[status]
	}
	orders, lost := d.index("orders", "order_id"), map[string]bool{}
	for _, order := range orders {
		of(order["order_status"]).orders++
	}
	for _, item := range d["order_items"] {
		status := "no_order"
		if order := orders[item["order_id"]]; order != nil {
			status = order["order_status"]
		} else if !lost[item["order_id"]] {
			lost[item["order_id"]] = true
			of(status).orders++
		}
		k := of(status)
		k.lines++
		k.amount.Add(k.amount, amountOf(t, item["price"], item["freight_value"]))
	}
	var rows [][]string
	for _, status := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[status]
		row := []string{"dropped", status, count(k.lines), count(k.orders), money(k.amount)}
		if status == "delivered" {
			row[0] = "kept"
			rows = slices.Insert(rows, 0, row)
		} else {
			rows = append(rows, row)
		}
	}
	return rows
}

// payments are those of delivered orders, by type.
func (d olistData) payments(t *testing.T) [][]string {
	t.Helper()
	orders := d.index("orders", "order_id")
	var paid []sale
	whole := new(big.Rat)
	for _, p := range d["order_payments"] {
		if orders[p["order_id"]]["order_status"] == "delivered" {
			amount := amountOf(t, p["payment_value"])
			paid = append(paid, sale{order: p["order_id"], product: p["payment_type"], units: 1, amount: amount})
			whole.Add(whole, amount)
		}
	}
	types := group(paid, func(s sale) string { return s.product })
	var rows [][]string
	for _, name := range byRevenue(types) {
		k := types[name]
		rows = append(rows, []string{name, "BRL", fmt.Sprint(k.units), count(len(k.orders)), k.revenue(), k.share(whole)})
	}
	return rows
}

func (d olistData) reviews() [][]string {
	var rows [][]string
	for score := 5; score >= 1; score-- {
		reviews, messages, several := 0, 0, 0
		for _, r := range d["order_reviews"] {
			if r["review_score"] != strconv.Itoa(score) {
				continue
			}
			reviews++
			message := strings.TrimSpace(r["review_comment_message"])
			if message != "" {
				messages++
			}
			if strings.Contains(message, "\n") {
				several++
			}
		}
		rows = append(rows, []string{count(score), count(reviews), ratio(reviews, len(d["order_reviews"])), count(messages), count(several)})
	}
	return rows
}

// kpis are all rows of all KPIs.
func (d olistData) kpis(t *testing.T, from, to string) map[string][][]string {
	t.Helper()
	book := d.ledger(t)
	want := book.kpis(from, to)
	want["category_breakdown"] = book.categories(book.within(from, to))
	want["revenue_by_state"] = book.places(book.within(from, to))
	if from == "" && to == "" {
		want["kept_and_dropped"], want["payment_types"], want["review_scores"] = d.kept(t), d.payments(t), d.reviews()
	}
	return want
}

// query runs a SELECT of two columns, a key and a value.
func (s *shop) query(sql string) map[string]string {
	s.t.Helper()
	answer, err := s.tables.QueryTables(s.t.Context(), &shoplakev1.QueryTablesRequest{Sql: sql, PageSize: 10000})
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string]string{}
	for _, row := range answer.GetRowSet().GetRows() {
		found[text(row.GetFields()["key"].AsInterface())] = text(row.GetFields()["value"].AsInterface())
	}
	return found
}

// TestOlist runs the example on the files as they are.
func TestOlist(t *testing.T) {
	t.Parallel()
	data := readOlist(t)
	s := setup(t, os.DirFS(olist), 2)
	rows := 0
	for source, name := range olistFiles {
		s.dropFile(source, publicData(t, "orders", "olist-sample", name))
		rows += len(data[source])
	}
	run, _ := s.daily()
	if c := run.GetCounts(); c.GetRowsRead() != int64(rows) || c.GetRowsBronze() != int64(rows) || c.GetRowsQuarantined() != 0 {
		t.Errorf("the run says %v, want %d rows in bronze and none in quarantine", c, rows)
	}
	s.wantKPIs(data.kpis(t, "", ""), "", "")
	s.wantKPIs(data.kpis(t, "2017-11-10", "2018-03-05"), "2017-11-10", "2018-03-05")
	if got := s.ask("total_revenue", "", "", nil)[1][1]; got != "624732.3000" {
		t.Errorf("revenue is %s; a spreadsheet gives 624732.30", got)
	}

	// Texts of several lines come whole, and so do the columns whose header is misspelt.
	messages, lengths := map[string]string{}, map[string]string{}
	for _, r := range data["order_reviews"] {
		if message := strings.TrimSpace(r["review_comment_message"]); message != "" {
			messages[r["review_id"]+r["order_id"]] = message
		}
	}
	for _, p := range data["products"] {
		lengths[p["product_id"]] = cmp.Or(p["product_name_lenght"], "0") + " " + cmp.Or(p["product_description_lenght"], "0")
	}
	got := s.query("SELECT review_id || order_id AS key, replace(message, chr(13), '') AS value FROM silver.order_reviews WHERE message IS NOT NULL")
	if diff := gocmp.Diff(messages, got); diff != "" {
		t.Errorf("messages (-file +shoplake):\n%.4000s", diff)
	}
	got = s.query("SELECT product_id AS key, coalesce(product_name_length, 0) || ' ' || coalesce(product_description_length, 0) AS value FROM silver.products")
	if diff := gocmp.Diff(lengths, got); diff != "" {
		t.Errorf("lengths of names and descriptions (-file +shoplake):\n%.4000s", diff)
	}
}

// quotedCSV writes rows as the complete data set has them: a byte order mark, and every name of the header in quotes.
func quotedCSV(t *testing.T, header []string, rows []map[string]string) string {
	t.Helper()
	var cells [][]string
	for _, row := range rows {
		var line []string
		for _, name := range header {
			line = append(line, row[name])
		}
		cells = append(cells, line)
	}
	return "\ufeff\"" + strings.Join(header, "\",\"") + "\"\n" + csvText(t, cells)
}

// TestOlistByMonth drops one file of orders a month, while the items are all there from the beginning. The last month comes
// later, with a file that corrects the status of an older order.
func TestOlistByMonth(t *testing.T) {
	t.Parallel()
	data := readOlist(t)
	header := slices.Sorted(maps.Keys(data["orders"][0]))
	months := map[string][]map[string]string{}
	for _, order := range data["orders"] {
		month := purchaseDay(order)[:7]
		months[month] = append(months[month], order)
	}
	last := slices.Max(slices.Collect(maps.Keys(months)))
	s := setup(t, os.DirFS(olist), 2)
	for source, name := range olistFiles {
		switch source {
		case "orders":
			for month, orders := range months {
				if month != last {
					s.drop(source, month+".csv", quotedCSV(t, header, orders))
				}
			}
		case "order_items":
			names := slices.Sorted(maps.Keys(data[source][0]))
			half := len(data[source]) / 2
			s.drop(source, "1.csv", quotedCSV(t, names, data[source][:half]))
			s.drop(source, "2.csv", quotedCSV(t, names, data[source][half:]))
		case "products":
			content, err := os.ReadFile(publicData(t, "orders", "olist-sample", name))
			if err != nil {
				t.Fatal(err)
			}
			s.drop(source, name, strings.ReplaceAll(string(content), "_lenght", "_length"))
		default:
			s.dropFile(source, publicData(t, "orders", "olist-sample", name))
		}
	}
	s.daily()
	early := maps.Clone(data)
	early["orders"] = slices.DeleteFunc(slices.Clone(data["orders"]), func(o map[string]string) bool { return purchaseDay(o)[:7] == last })
	want := early.kpis(t, "", "")
	if !slices.ContainsFunc(want["kept_and_dropped"], func(row []string) bool { return row[1] == "no_order" }) {
		t.Fatalf("no item waits for its order: %v", want["kept_and_dropped"])
	}
	s.wantKPIs(want, "", "")

	late := slices.IndexFunc(data["orders"], func(o map[string]string) bool { return o["order_status"] == "shipped" && purchaseDay(o)[:7] != last })
	corrected := maps.Clone(data["orders"][late])
	corrected["order_status"] = "delivered"
	data["orders"] = slices.Clone(data["orders"])
	data["orders"][late] = corrected
	s.drop("orders", last+".csv", quotedCSV(t, header, months[last]))
	s.drop("orders", last+"-late.csv", quotedCSV(t, header, []map[string]string{corrected}))
	_, stages := s.daily()
	var planned []string
	for _, partition := range stages["silver.orders"].GetPlanned() {
		planned = append(planned, partition.GetPartition())
	}
	slices.Sort(planned)
	if diff := gocmp.Diff([]string{purchaseDay(corrected)[:7], last}, planned); diff != "" {
		t.Errorf("silver planned (-the month that came, and that of the corrected order +planned):\n%s", diff)
	}
	s.wantKPIs(data.kpis(t, "", ""), "", "")

	incremental := s.everything()
	if run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true}); run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("full refresh: %v", run.GetError())
	}
	if diff := gocmp.Diff(s.everything(), incremental); diff != "" {
		t.Errorf("month by month is not what a full refresh gives (-full +month by month):\n%s", diff)
	}
}
