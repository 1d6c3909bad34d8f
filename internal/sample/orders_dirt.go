package sample

import (
	"math/rand/v2"
)

// orderDirt is one way for a row to break rules: in its cells, or in the text of the line.
type orderDirt struct {
	rules []string
	cell  func(row *orderRow, r *rand.Rand)
	line  func(b []byte, l orderLayout, row *orderRow) []byte
}

// one returns a cell change that draws from texts.
func orderCell(column int, texts ...string) func(*orderRow, *rand.Rand) {
	return func(row *orderRow, r *rand.Rand) { row.set(column, texts[r.IntN(len(texts))]) }
}

var blanks = []string{"", "NULL", "N/A", " ", "-", "nan"}

// orderDirts are taken in turn, so that even little data has each.
var orderDirts = []orderDirt{
	{rules: []string{"type:unit_price"}, cell: orderCell(oPrice, "abc", "12,5", "1e3", "12.34.56", "1.234,56", "123456789012345", "€ 5 €")},
	{rules: []string{"required:order_id"}, cell: orderCell(oID, blanks...)},
	{rules: []string{"enum:status"}, cell: orderCell(oStatus, "pending", "complete", "in transit", "paid!")},
	{rules: []string{"range:quantity"}, cell: orderCell(oQuantity, "0", "-1", "-2", "-12")},
	{rules: []string{"range:discount"}, cell: func(row *orderRow, _ *rand.Rand) {
		l := row.record.order.lines[row.record.line]
		row.cells[oDiscount] = appendCents(row.cells[oDiscount][:0], l.quantity*l.price+1)
	}},
	{rules: []string{"type:order_time"}, cell: orderCell(oTime, "2026-02-30", "yesterday", "2026-13-01 10:00:00", "31/04/2026", "2026-01-15 25:00:00", "01-15-2026", "15.1.26")},
	{rules: []string{"column_count"}, line: func(b []byte, l orderLayout, row *orderRow) []byte {
		return append(l.line(b, row, ""), ",,"...)
	}},
	{rules: []string{"pattern:currency"}, cell: orderCell(oCurrency, "EURO", "E", "€", "12A", "E-R")},
	{rules: []string{"required:product_id"}, cell: orderCell(oProduct, blanks...)},
	{rules: []string{"type:quantity"}, cell: orderCell(oQuantity, "two", "1.5", "1,000", "1e2", "99999999999999999999")},
	{rules: []string{"malformed"}, line: func(b []byte, l orderLayout, row *orderRow) []byte {
		// Text after the closing quote of the last cell.
		b = l.line(b, row, "")
		return append(b[:lastComma(b)+1], `"paid" late`...)
	}},
	{rules: []string{"encoding"}, cell: orderCell(oCity, "M\xfcnchen", "K\xf6ln", "Saint-\xc9tienne")},
	{rules: []string{"range:unit_price"}, cell: func(row *orderRow, _ *rand.Rand) {
		row.set(oDiscount, "")
		row.cells[oPrice] = appendCents(row.cells[oPrice][:0], -row.record.order.lines[row.record.line].price)
	}},
	{rules: []string{"required:order_time"}, cell: orderCell(oTime, blanks...)},
	{rules: []string{"type:line_number"}, cell: orderCell(oLine, "first", "1.5", "#1")},
	{rules: []string{"column_count"}, line: func(b []byte, l orderLayout, row *orderRow) []byte {
		start := len(b)
		b = l.line(b, row, "")
		return b[:start+lastComma(b[start:])]
	}},
	{rules: []string{"required:unit_price"}, cell: orderCell(oPrice, blanks...)},
	{rules: []string{"range:line_number"}, cell: orderCell(oLine, "0", "-1")},
	{rules: []string{"type:discount"}, cell: orderCell(oDiscount, "ten", "5%", "1,5")},
	{rules: []string{"required:quantity"}, cell: orderCell(oQuantity, blanks...)},
	{rules: []string{"type:updated_at"}, cell: orderCell(oUpdated, "not yet", "2026-02-30 10:00:00", "10:00")},
	{rules: []string{"required:currency"}, cell: orderCell(oCurrency, blanks...)},
	{rules: []string{"range:discount"}, cell: orderCell(oDiscount, "-1.00", "-0.01")},
	{rules: []string{"required:status"}, cell: orderCell(oStatus, blanks...)},
	{rules: []string{"required:line_number"}, cell: orderCell(oLine, blanks...)},
	{rules: []string{"enum:status", "type:unit_price"}, cell: func(row *orderRow, _ *rand.Rand) {
		row.set(oStatus, "??")
		row.set(oPrice, "free")
	}},
	{rules: []string{"pattern:currency", "range:quantity", "required:product_id"}, cell: func(row *orderRow, _ *rand.Rand) {
		row.set(oProduct, "")
		row.set(oQuantity, "-7")
		row.set(oCurrency, "points")
	}},
}

// dirtyOrder appends the row, broken in the way that its number in the series of all broken rows stands for.
func dirtyOrder(number int, b []byte, l orderLayout, row *orderRow, r *rand.Rand) ([]byte, []string) {
	d := orderDirts[number%len(orderDirts)]
	if d.line != nil {
		return d.line(b, l, row), d.rules
	}
	d.cell(row, r)
	return l.line(b, row, ""), d.rules
}

func lastComma(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == ',' {
			return i
		}
	}
	return -1
}
