package sample

import (
	"bytes"
	"compress/gzip"
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Columns of an order line, in the order of the usual file.
const (
	oID = iota
	oLine
	oTime
	oUpdated
	oCustomer
	oEmail
	oCountry
	oPayment
	oCity
	oProduct
	oQuantity
	oPrice
	oDiscount
	oCurrency
	oStatus
	orderColumns
)

var orderHeader = [orderColumns]string{
	"order_id", "line_number", "order_time", "updated_at", "customer_id", "customer_email", "country", "payment_method", "city",
	"product_id", "quantity", "unit_price", "discount", "currency", "status",
}

// orderRow is one row as text, with what the text came from.
type orderRow struct {
	cells  [orderColumns][]byte
	record record
}

func (o *orderRow) set(column int, text string) {
	o.cells[column] = append(o.cells[column][:0], text...)
}

// fill writes the row in its usual form.
func (o *orderRow) fill(s *shop, rec record) {
	o.record = rec
	ord, l := rec.order, &rec.order.lines[rec.line]
	o.set(oID, ord.id)
	o.cells[oLine] = strconv.AppendInt(o.cells[oLine][:0], int64(rec.line+1), 10)
	o.cells[oTime] = ord.at.AppendFormat(o.cells[oTime][:0], time.DateTime)
	o.cells[oUpdated] = o.cells[oUpdated][:0]
	if !ord.updated.IsZero() {
		o.cells[oUpdated] = ord.updated.AppendFormat(o.cells[oUpdated], time.DateTime)
	}
	o.set(oCustomer, ord.customer.id)
	o.set(oEmail, ord.customer.email)
	o.set(oCountry, ord.customer.country)
	o.set(oPayment, ord.payment)
	o.set(oCity, ord.customer.city)
	o.set(oProduct, s.products[l.product].id)
	o.cells[oQuantity] = strconv.AppendInt(o.cells[oQuantity][:0], l.quantity, 10)
	o.cells[oPrice] = appendCents(o.cells[oPrice][:0], l.price)
	o.cells[oDiscount] = o.cells[oDiscount][:0]
	if l.discount > 0 {
		o.cells[oDiscount] = appendCents(o.cells[oDiscount], l.discount)
	}
	o.set(oCurrency, ord.customer.currency)
	o.set(oStatus, ord.status)
}

func appendCents(b []byte, cents int64) []byte {
	if cents < 0 {
		b, cents = append(b, '-'), -cents
	}
	b = strconv.AppendInt(b, cents/100, 10)
	return append(b, '.', byte('0'+cents/10%10), byte('0'+cents%10))
}

// orderLayout is how a day's file is written; the shop's export changed now and then.
type orderLayout struct {
	order    []int // column of each cell; -1 is a column that the contract does not know
	bom      bool
	crlf     bool
	rename   func(string) string
	compress bool
}

func layoutOf(d *day) orderLayout {
	l := orderLayout{rename: func(s string) string { return s }, compress: d.index%15 == 9}
	for c := range orderColumns {
		l.order = append(l.order, c)
	}
	switch d.index % 10 {
	case 3:
		l.bom, l.rename = true, strings.ToUpper
		l.order[oStatus], l.order[oCustomer] = l.order[oCustomer], l.order[oStatus]
	case 5:
		l.crlf = true
	case 7:
		l.order = append(l.order, -1)
		l.rename = func(s string) string { return " " + strings.ToUpper(s[:1]) + s[1:] + " " }
	}
	return l
}

func (l orderLayout) header() []byte {
	var b []byte
	if l.bom {
		b = append(b, "\ufeff"...)
	}
	for i, c := range l.order {
		if i > 0 {
			b = append(b, ',')
		}
		if c < 0 {
			b = append(b, "coupon_code"...)
			continue
		}
		b = append(b, l.rename(orderHeader[c])...)
	}
	return l.end(b)
}

func (l orderLayout) end(b []byte) []byte {
	if l.crlf {
		b = append(b, '\r')
	}
	return append(b, '\n')
}

// line writes a row without its line end.
func (l orderLayout) line(b []byte, row *orderRow, coupon string) []byte {
	for i, c := range l.order {
		if i > 0 {
			b = append(b, ',')
		}
		if c < 0 {
			b = append(b, coupon...)
			continue
		}
		b = appendCSV(b, row.cells[c])
	}
	return b
}

func appendCSV(b, cell []byte) []byte {
	if !bytes.ContainsAny(cell, ",\"\n\r") {
		return append(b, cell...)
	}
	b = append(b, '"')
	for _, c := range cell {
		if c == '"' {
			b = append(b, '"')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

func (g *generator) writeOrders(ctx context.Context, d *day) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l := layoutOf(d)
	name := d.date.Format(time.DateOnly) + ".csv"
	if l.compress {
		name += ".gz"
	}
	out, err := g.create("orders", name)
	if err != nil {
		return err
	}
	defer out.abandon()
	out.info.Variety = d.variety
	r := g.shop.random(streamOrders, int(d.date.Unix()/86400))
	dirty, number := dirtyRows(r, g.shop.Dirt, d.recordsBefore, len(d.records))
	buf := l.header()
	var row orderRow
	for i, rec := range d.records {
		row.fill(g.shop, rec)
		coupon := ""
		var rules []string
		if len(dirty) > 0 && dirty[0] == i {
			buf, rules = dirtyOrder(number, buf, l, &row, r)
			dirty, number = dirty[1:], number+1
		} else {
			if r.IntN(100) < 12 {
				varyOrder(out, &row, r)
			}
			if r.IntN(10) == 0 {
				coupon = "SPRING" + strconv.Itoa(r.IntN(90)+10)
			}
			buf = l.line(buf, &row, coupon)
		}
		out.row(rules)
		buf = l.end(buf)
		if len(buf) > 32<<10 {
			if _, err := out.w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	if _, err := out.w.Write(append(buf, g.endOfOrders(out, d, l)...)); err != nil {
		return err
	}
	if err := g.close("orders", out); err != nil {
		return err
	}
	return g.plantOrderFiles(d)
}

// endOfOrders is what follows the last row: at times empty records, which are no rows, or a row whose quote is never closed.
func (g *generator) endOfOrders(out *output, d *day, l orderLayout) []byte {
	switch {
	case d.index%10 == 1:
		out.variety("empty_records")
		return l.end([]byte(strings.Repeat(",", len(l.order)-1)))
	case d.index%30 == 18 && g.shop.Dirt > 0:
		out.row([]string{"malformed"})
		return []byte(`O-CUT,1,"` + d.date.Format(time.DateOnly) + " 23:59")
	default:
		return nil
	}
}

// plantOrderFiles adds whole files that are odd: an upload that broke off, and one without rows.
func (g *generator) plantOrderFiles(d *day) error {
	if g.shop.Dirt == 0 || d.index%60 != 12 {
		return nil
	}
	date := d.date.Format(time.DateOnly)
	if err := g.plantFile("orders", date+"-returns.csv", layoutOf(d).header(), false); err != nil {
		return err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(layoutOf(d).header()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return g.plantFile("orders", date+"-resend.csv.gz", b.Bytes()[:b.Len()-9], true)
}

// varyOrder writes one value of a row in an unusual, allowed way.
func varyOrder(out *output, row *orderRow, r *rand.Rand) {
	ord, l := row.record.order, row.record.order.lines[row.record.line]
	price := string(row.cells[oPrice])
	at := ord.at
	switch r.IntN(22) {
	case 0:
		row.set(oPrice, map[string]string{"EUR": "€", "GBP": "£", "USD": "$"}[ord.customer.currency]+price)
		out.variety("currency_symbol")
	case 1:
		row.set(oPrice, price+map[string]string{"EUR": "€", "GBP": "£", "USD": "$"}[ord.customer.currency])
		out.variety("currency_symbol")
	case 2:
		if l.price >= 100_000 {
			row.set(oPrice, price[:len(price)-6]+","+price[len(price)-6:])
			out.variety("thousands_separator")
		}
	case 3:
		row.set(oPrice, "  "+price+" ")
		row.set(oProduct, string(row.cells[oProduct])+" ")
		out.variety("spaces")
	case 4:
		row.set(oPrice, "\u00a0"+price)
		row.set(oStatus, string(row.cells[oStatus])+"\u00a0")
		out.variety("no_break_space")
	case 5:
		row.set(oPrice, price+"0000")
		out.variety("many_fraction_digits")
	case 6:
		row.set(oPrice, price+"250") // 12.34250 is 12.3425
		out.variety("many_fraction_digits")
	case 7:
		row.set(oQuantity, string(row.cells[oQuantity])+".0")
		out.variety("integer_with_fraction_of_zeros")
	case 8:
		row.set(oStatus, strings.ToUpper(ord.status))
		out.variety("status_in_capitals")
	case 9:
		row.set(oCurrency, strings.ToLower(ord.customer.currency))
		out.variety("currency_in_lower_case")
	case 10:
		row.set(oCountry, strings.ToLower(ord.customer.country))
		out.variety("country_in_lower_case")
	case 11, 12:
		row.set(oTime, at.Format([]string{"02.01.2006 15:04:05", "02/01/2006 15:04", "2006/01/02 15:04:05", "2006/01/02T15:04"}[r.IntN(4)]))
		out.variety("other_date_format")
	case 13:
		row.set(oTime, at.Format("2006-01-02T15:04:05")+".123456789")
		out.variety("time_with_nanoseconds")
	case 14:
		row.set(oTime, at.Format("2006-01-02T15:04:05Z"))
		out.variety("time_with_zone")
	case 15:
		row.set(oTime, at.In(time.FixedZone("", 3600)).Format("2006-01-02 15:04:05-07:00"))
		out.variety("time_with_zone")
	case 16:
		row.set(oTime, at.Format(time.DateOnly))
		out.variety("date_without_time")
	case 17:
		row.set(oEmail, []string{"NULL", "n/a", "-", "NaN"}[r.IntN(4)])
		out.variety("word_for_null")
	case 18:
		if l.discount == 0 {
			row.set(oDiscount, []string{"0", "0.00", "null", "N/A"}[r.IntN(4)])
			out.variety("discount_spelt_out")
		}
	case 19:
		row.set(oCity, "Zu\u0308rich")
		out.variety("decomposed_letter")
	case 20:
		row.set(oCity, "Berlin,\nPrenzlauer Berg")
		out.variety("line_break_in_quotes")
	case 21:
		row.set(oCountry, "")
		row.set(oCity, "")
		out.variety("no_country")
	}
}
