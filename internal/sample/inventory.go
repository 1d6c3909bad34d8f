package sample

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/xuri/excelize/v2"
)

// Columns of an inventory row.
const (
	iDate = iota
	iProduct
	iSKU
	iName
	iCategory
	iSubcategory
	iBrand
	iWarehouse
	iCost
	iPrice
	iStock
	iReorder
	iRestocked
	inventoryColumns
)

var inventoryHeader = [inventoryColumns]string{
	"snapshot_date", "product_id", "sku", "product_name", "category", "subcategory", "brand", "warehouse", "unit_cost", "list_price",
	"stock_on_hand", "reorder_level", "last_restocked",
}

// stock is what lies in the warehouses as the shop sells.
type stock struct {
	*shop
	r      *rand.Rand
	levels []stockLevel // product x warehouse
	sold   []int64      // by product since the last snapshot
	index  int
}

type stockLevel struct {
	onHand, reorder int64
	restocked       time.Time
}

func newStock(s *shop) *stock {
	k := &stock{shop: s, r: s.random(streamStock, int(s.Start.Unix()/86400)), sold: make([]int64, s.Products)}
	first, _ := s.weekOf(0)
	weekly := float64(s.Orders) * 2.6 * 7 / float64(s.Days)
	for i := range s.products {
		share := s.popular.upTo[i]
		if i > 0 {
			share -= s.popular.upTo[i-1]
		}
		expected := weekly * share / s.popular.upTo[s.Products-1] / float64(len(warehouses))
		for range warehouses {
			reorder := int64(expected*1.5) + 2 + k.r.Int64N(4)
			k.levels = append(k.levels, stockLevel{
				onHand: reorder + int64(expected*4*k.r.Float64()), reorder: reorder, restocked: first.AddDate(0, 0, -1-k.r.IntN(60)),
			})
		}
	}
	return k
}

// sell counts a day's units.
func (k *stock) sell(d *day) {
	for _, o := range d.orders {
		for _, l := range o.lines {
			k.sold[l.product] += l.quantity
		}
	}
	k.index = d.index + 1
}

// sheet is one week's workbook.
type sheet struct {
	monday     time.Time
	rows       [][inventoryColumns]any
	rowsBefore int
	index      int
	repeated   int
}

// snapshot takes the week's sales out of the stock, orders what runs low, and counts.
func (k *stock) snapshot(monday time.Time, rowsBefore int) *sheet {
	sh := &sheet{monday: monday, rowsBefore: rowsBefore, index: weekNumber(monday)}
	for i := range k.products {
		p := &k.products[i]
		left := k.sold[i]
		k.sold[i] = 0
		for w := range warehouses {
			l := &k.levels[i*len(warehouses)+w]
			part := left / int64(len(warehouses)-w)
			left -= part
			l.onHand = max(0, l.onHand-part)
			// What runs low is ordered, and comes late now and then.
			if l.onHand < l.reorder && k.r.IntN(5) > 0 {
				l.onHand += l.reorder*4 + k.r.Int64N(10)
				l.restocked = monday.AddDate(0, 0, -k.r.IntN(6))
			}
			if p.unlisted || p.launch > k.index+7 {
				continue
			}
			row := [inventoryColumns]any{
				iDate: monday, iProduct: p.id, iSKU: p.sku, iName: p.name, iCategory: p.category, iSubcategory: p.subcategory, iBrand: p.brand,
				iWarehouse: warehouses[w], iCost: float64(k.unitCost(p, monday)) / 100, iPrice: float64(k.listPrice(p, monday)) / 100,
				iStock: l.onHand, iReorder: l.reorder, iRestocked: l.restocked,
			}
			sh.rows = append(sh.rows, row)
			if k.r.IntN(400) == 0 {
				sh.rows = append(sh.rows, row)
				sh.repeated++
			}
		}
	}
	return sh
}

func (g *generator) writeInventory(ctx context.Context, sh *sheet) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	year, week := sh.monday.ISOWeek()
	name := fmt.Sprintf("%d-W%02d.xlsx", year, week)
	path := filepath.Join(g.landing, "inventory", name)
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	info := FileManifest{Path: name, Variety: map[string]int{"rows_twice_in_a_file": sh.repeated}}
	book := excelize.NewFile()
	defer func() { _ = book.Close() }()
	w := &bookWriter{info: &info, r: g.shop.random(streamInventory, sh.index)}
	if err := w.begin(book, sh); err != nil {
		return err
	}
	dirty, number := dirtyRows(w.r, g.shop.Dirt, sh.rowsBefore, len(sh.rows))
	for i := range sh.rows {
		var rules []string
		if len(dirty) > 0 && dirty[0] == i {
			rules = dirtyInventory(number, &sh.rows[i], sh.monday, w.r)
			dirty, number = dirty[1:], number+1
		} else if w.r.IntN(100) < 6 {
			w.vary(&sh.rows[i])
		}
		info.Rows++
		if len(rules) > 0 {
			info.Bad = append(info.Bad, BadRow{Row: info.Rows, Rules: rules})
		}
		if err := w.row(&sh.rows[i]); err != nil {
			return err
		}
	}
	if err := w.stream.Flush(); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := book.Write(&b); err != nil {
		return err
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return err
	}
	info.Bytes = int64(b.Len())
	g.manifest.add("inventory", info)
	if g.shop.Dirt > 0 && sh.index%8 == 5 {
		// An upload that broke off: the directory at the end of the archive is missing.
		return g.plantFile("inventory", fmt.Sprintf("%d-W%02d-copy.xlsx", year, week), b.Bytes()[:b.Len()*3/4], true)
	}
	return nil
}

// bookWriter writes the rows of one workbook.
type bookWriter struct {
	stream         *excelize.StreamWriter
	info           *FileManifest
	r              *rand.Rand
	next           int
	date, dateTime int // styles
	order          [inventoryColumns]int
}

func (w *bookWriter) begin(book *excelize.File, sh *sheet) (err error) {
	const name = "Inventory"
	if err := book.SetSheetName("Sheet1", name); err != nil {
		return err
	}
	day, minute := "yyyy-mm-dd", "yyyy-mm-dd hh:mm"
	if w.date, err = book.NewStyle(&excelize.Style{CustomNumFmt: &day}); err != nil {
		return err
	}
	if w.dateTime, err = book.NewStyle(&excelize.Style{CustomNumFmt: &minute}); err != nil {
		return err
	}
	if w.stream, err = book.NewStreamWriter(name); err != nil {
		return err
	}
	for c := range w.order {
		w.order[c] = c
	}
	title := func(s string) string { return s }
	if sh.index%5 == 2 {
		// Somebody tidied the sheet: other order, capitals.
		w.order[iSKU], w.order[iBrand] = iBrand, iSKU
		title = func(s string) string { return " " + string(bytes.ToUpper([]byte(s))) }
	}
	header := make([]any, inventoryColumns)
	for place, c := range w.order {
		header[place] = title(inventoryHeader[c])
	}
	w.next = 1
	return w.put(header)
}

func (w *bookWriter) put(cells []any) error {
	at, err := excelize.CoordinatesToCellName(1, w.next)
	if err != nil {
		return err
	}
	w.next++
	return w.stream.SetRow(at, cells)
}

func (w *bookWriter) row(row *[inventoryColumns]any) error {
	cells := make([]any, inventoryColumns)
	for place, c := range w.order {
		v := row[c]
		if t, ok := v.(time.Time); ok {
			style := w.date
			if t.Hour() > 0 {
				style = w.dateTime
			}
			v = excelize.Cell{StyleID: style, Value: serial(t)}
		}
		cells[place] = v
	}
	return w.put(cells)
}

// serial is a day as a workbook counts it: from 1899-12-30, with the time as a fraction.
func serial(t time.Time) float64 {
	return t.Sub(time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)).Hours() / 24
}

func (w *bookWriter) vary(row *[inventoryColumns]any) {
	kind := ""
	switch w.r.IntN(9) {
	case 0:
		row[iCost], kind = fmt.Sprintf("€%.2f", row[iCost]), "currency_symbol"
	case 1:
		row[iPrice], kind = fmt.Sprintf(" %.2f\u00a0", row[iPrice]), "no_break_space"
	case 2:
		row[iDate], kind = row[iDate].(time.Time).Format(time.DateOnly), "date_as_text"
	case 3:
		row[iDate], kind = int64(serial(row[iDate].(time.Time))), "date_as_serial_number"
	case 4:
		row[iRestocked], kind = row[iRestocked].(time.Time).Add(9*time.Hour), "date_with_time"
	case 5:
		row[iRestocked], kind = nil, "never_restocked"
	case 6:
		row[iStock], kind = fmt.Sprintf("%d.0", row[iStock]), "integer_with_fraction_of_zeros"
	case 7:
		row[iBrand], row[iSubcategory], kind = "-", "N/A", "word_for_null"
	case 8:
		row[iReorder] = excelize.Cell{Formula: fmt.Sprintf("%d+0", row[iReorder]), Value: row[iReorder]}
		kind = "formula"
	}
	w.info.Variety[kind]++
}
