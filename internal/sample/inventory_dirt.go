package sample

import (
	"math/rand/v2"
	"time"
)

type inventoryDirt struct {
	rules []string
	cell  func(row *[inventoryColumns]any, monday time.Time, r *rand.Rand)
}

func inventoryCell(column int, values ...any) func(*[inventoryColumns]any, time.Time, *rand.Rand) {
	return func(row *[inventoryColumns]any, _ time.Time, r *rand.Rand) { row[column] = values[r.IntN(len(values))] }
}

var emptyCells = []any{nil, "", "NULL", "n/a", " ", "-"}

// inventoryDirts are taken in turn, so that even little data has each.
var inventoryDirts = []inventoryDirt{
	{[]string{"type:unit_cost"}, inventoryCell(iCost, "abc", "12,5", "see list", "1.234,56")},
	{[]string{"required:product_id"}, inventoryCell(iProduct, emptyCells...)},
	{[]string{"range:stock_on_hand"}, inventoryCell(iStock, int64(-1), int64(-12), "-3")},
	{[]string{"type:snapshot_date"}, inventoryCell(iDate, "2026-02-30", "soon", "05.01.2026", "week 5")},
	{[]string{"required:product_name"}, inventoryCell(iName, emptyCells...)},
	{[]string{"range:last_restocked"}, func(row *[inventoryColumns]any, monday time.Time, r *rand.Rand) {
		row[iRestocked] = monday.AddDate(0, 0, 1+r.IntN(20))
	}},
	{[]string{"type:stock_on_hand"}, inventoryCell(iStock, "many", "1,000", 12.5)},
	{[]string{"required:warehouse"}, inventoryCell(iWarehouse, emptyCells...)},
	{[]string{"range:unit_cost"}, inventoryCell(iCost, -1.5, "-0.01")},
	{[]string{"type:list_price"}, inventoryCell(iPrice, "ask", "9.99 EUR", "1e2")},
	{[]string{"required:snapshot_date"}, inventoryCell(iDate, emptyCells...)},
	{[]string{"type:last_restocked"}, inventoryCell(iRestocked, "31.12.2025", "last week", "2026-13-01")},
	{[]string{"required:sku"}, inventoryCell(iSKU, emptyCells...)},
	{[]string{"range:list_price"}, inventoryCell(iPrice, -9.99, "-1")},
	{[]string{"required:category"}, inventoryCell(iCategory, emptyCells...)},
	{[]string{"type:reorder_level"}, inventoryCell(iReorder, "low", 2.5)},
	{[]string{"required:unit_cost"}, inventoryCell(iCost, emptyCells...)},
	{[]string{"required:list_price"}, inventoryCell(iPrice, emptyCells...)},
	{[]string{"range:reorder_level"}, inventoryCell(iReorder, int64(-2))},
	{[]string{"required:stock_on_hand"}, inventoryCell(iStock, emptyCells...)},
	{[]string{"required:reorder_level"}, inventoryCell(iReorder, emptyCells...)},
	{[]string{"range:stock_on_hand", "type:unit_cost"}, func(row *[inventoryColumns]any, _ time.Time, _ *rand.Rand) {
		row[iCost], row[iStock] = "?", int64(-1)
	}},
}

// dirtyInventory breaks the row in the way that its number in the series of all broken rows stands for.
func dirtyInventory(number int, row *[inventoryColumns]any, monday time.Time, r *rand.Rand) []string {
	d := inventoryDirts[number%len(inventoryDirts)]
	d.cell(row, monday, r)
	return d.rules
}
