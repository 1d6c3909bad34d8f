package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/xuri/excelize/v2"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// step is one thing that happens to a shop. What it does follows from its kind, its seed and what is there at that moment, so
// that a history from which steps were taken is a history too.
type step struct {
	kind string
	seed uint64
}

func (s step) String() string { return fmt.Sprintf("%s:%d", s.kind, s.seed) }

// steps are the kinds of steps, each with how often it comes. A compare is a run without interval, after which everything
// must be as in a shop that was given all at once.
var steps = []struct {
	kind   string
	weight int
	do     func(*history, *rand.Rand)
}{
	{"new", 8, (*history).newFile},
	{"correct", 9, (*history).correct},
	{"copy", 2, (*history).copyFile},
	{"break", 2, (*history).breakFile},
	{"delete", 2, (*history).deleteFile},
	{"back", 2, (*history).bringBack},
	{"poison", 1, (*history).poison},
	{"edit", 4, (*history).edit},
	{"run", 4, (*history).openRun},
	{"interval", 5, (*history).intervalRun},
	{"full", 1, (*history).fullRun},
	{"cancel", 2, (*history).cancelledRun},
	{"resume", 2, (*history).resumeRun},
	{"part", 2, (*history).partRun},
	{"maintain", 3, (*history).maintenanceRun},
	{"compare", 1, (*history).compare},
}

// generate makes the steps of a seed.
func generate(seed uint64) []step {
	chance := rand.New(rand.NewPCG(seed, 0))
	list := []step{{"new", chance.Uint64N(1000)}, {"new", chance.Uint64N(1000)}, {"new", chance.Uint64N(1000)}}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for range 14 + chance.IntN(12) {
		at := chance.IntN(total)
		for _, s := range steps {
			if at -= s.weight; at < 0 {
				list = append(list, step{s.kind, chance.Uint64N(1000)})
				break
			}
		}
	}
	return append(list, step{"compare", 0})
}

// landingFile is a file in landing: rows, or bytes that are none.
type landingFile struct {
	rows  []map[string]string
	bytes []byte
}

func (f landingFile) clone() landingFile {
	c := landingFile{bytes: f.bytes}
	for _, row := range f.rows {
		c.rows = append(c.rows, maps.Clone(row))
	}
	return c
}

// readFile is a file that was read, and may be deleted from landing by now.
type readFile struct {
	landingFile
	// readBy is the contract and the time zone that it was read by.
	readBy string
}

// place is a file's source and its path below the source's folder.
type place struct{ source, path string }

// history is a shop with what was done to it.
type history struct {
	t       *testing.T
	s       *shop
	seed    uint64
	landing map[place]landingFile
	gone    map[place]readFile
	// read is landing as the last run saw it, where that was good: of what another one read nobody here knows.
	read map[place]readFile
	// open is the last run where it failed or was cancelled: it may be resumed.
	open string
	// edits are the variants of the pipeline's files; see edits.
	edits map[string]int
	clock time.Time
	// stages are those of the last run.
	stages map[string]*shoplakev1.Stage
	// told says what each step did, for people; built why the last run built what.
	told  []string
	built []string
	// differs is what a comparison found; empty where all was equal.
	differs string
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{
		t: t, seed: seed, landing: map[place]landingFile{}, gone: map[place]readFile{}, read: map[place]readFile{}, edits: map[string]int{},
		clock: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
	}
	h.s = setup(t, h.pipeline(), 1+int(seed%2))
	h.put(place{"names", "names.csv"}, landingFile{rows: []map[string]string{{"product": "p0", "title": "Zero"}, {"product": "p1", "title": "One"}}})
	return h
}

func (h *history) tell(format string, args ...any) {
	h.told = append(h.told, fmt.Sprintf(format, args...))
}

// do does a step.
func (h *history) do(s step) {
	for _, known := range steps {
		if known.kind == s.kind {
			h.tell("%s", s)
			known.do(h, rand.New(rand.NewPCG(s.seed, 1)))
			return
		}
	}
	h.t.Fatalf("there is no step %q", s.kind)
}

// What rows are made of. Moments lie about midnight of several zones and about the turns of months.
var (
	moments = []string{
		"2026-01-05T10:00:00", "2026-01-31T02:00:00", "2026-01-31T20:00:00", "2026-02-01T03:00:00", "2026-02-02T12:00:00", "2026-02-27T23:30:00",
		"2026-03-01T00:30:00", "2026-03-02T09:00:00", "2026-03-29T02:30:00", "2026-03-31T23:59:59",
	}
	days    = []string{"2026-01-05", "2026-01-31", "2026-02-01", "2026-02-02", "2026-02-28", "2026-03-01", "2026-03-02", "2026-03-31"}
	regions = []string{"", "north", "south", "o'er the sea", "a/b=c d", "Ünï"}
	formats = map[string]string{"sales": ".csv", "imports": ".ndjson", "stock": ".xlsx", "visits": ".ndjson", "names": ".csv"}
	columns = map[string][]string{
		"sales":   {"sale_id", "sold_at", "version", "due_date", "customer", "product", "region", "amount", "note"},
		"imports": {"sale_id", "sold_at", "version", "due_date", "customer", "product", "region", "amount"},
		"stock":   {"snapshot_date", "product", "cost"},
		"visits":  {"visit_id", "visited_at", "customer"},
		"names":   {"product", "title"},
	}
	dropped = []string{"sales", "sales", "sales", "imports", "imports", "stock", "stock", "visits"}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// maybe is a value, or the null of a cell once in a while.
func maybe(r *rand.Rand, value string) string {
	if r.IntN(6) == 0 {
		return ""
	}
	return value
}

// cell makes a value of a column; bad ones break a rule of the contract.
func cell(r *rand.Rand, source, column string, bad bool) string {
	if bad {
		switch column {
		case "amount", "cost":
			return pick(r, []string{"-1", "much", ""})
		case "version", "sold_at", "visited_at", "snapshot_date":
			return "soon"
		}
	}
	zone := ""
	if source != "sales" {
		zone = "Z"
	}
	switch column {
	case "sale_id":
		return fmt.Sprint("s", r.IntN(12))
	case "visit_id":
		return fmt.Sprint("v", r.IntN(6))
	case "sold_at":
		return maybe(r, pick(r, moments)+zone)
	case "visited_at":
		return pick(r, moments) + zone
	case "version":
		return fmt.Sprint(r.IntN(6))
	case "due_date":
		return maybe(r, pick(r, days))
	case "snapshot_date":
		return pick(r, days)
	case "customer":
		return maybe(r, fmt.Sprint(pick(r, []string{"a", "b", "c", "d"}), "n"))
	case "product":
		return fmt.Sprint("p", r.IntN(3))
	case "region":
		return pick(r, regions)
	case "amount":
		if r.IntN(20) == 0 {
			return fmt.Sprint(600 + r.IntN(300))
		}
		return fmt.Sprintf("%d.%02d", r.IntN(40), r.IntN(100))
	case "cost":
		return fmt.Sprint(r.IntN(20))
	case "note":
		return maybe(r, fmt.Sprint("note ", r.IntN(9)))
	}
	panic("no column " + column)
}

func row(r *rand.Rand, source string) map[string]string {
	made := map[string]string{}
	for _, column := range columns[source] {
		made[column] = cell(r, source, column, false)
	}
	if r.IntN(8) == 0 {
		made[pick(r, columns[source])] = cell(r, source, pick(r, columns[source]), true)
	}
	return made
}

// places are the files of landing that steps may touch, in order. The names of products never change: a lookup is what the
// table was when a row was built, and would not be what a full refresh gives.
func (h *history) places() []place {
	return sortedPlaces(h.landing, func(p place) bool { return p.source != "names" })
}

func sortedPlaces[V any](files map[place]V, which func(place) bool) []place {
	var list []place
	for p := range files {
		if which(p) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b place) int { return strings.Compare(a.source+"/"+a.path, b.source+"/"+b.path) })
	return list
}

func (h *history) newFile(r *rand.Rand) {
	source := pick(r, dropped)
	p := place{source, fmt.Sprintf("%s%c%d%s", pick(r, []string{"", "2026/", "b/"}), 'a'+rune(r.IntN(26)), len(h.landing)+len(h.gone), formats[source])}
	f := landingFile{}
	for range 1 + r.IntN(5) {
		f.rows = append(f.rows, row(r, source))
	}
	h.put(p, f)
}

// correct changes some rows of a file: the day, the key, whatever; some go, some come, some become bad or good.
func (h *history) correct(r *rand.Rand) {
	list := h.places()
	if len(list) == 0 {
		return
	}
	p := pick(r, list)
	f := h.landing[p].clone()
	f.bytes = nil
	for range 1 + r.IntN(3) {
		switch at := r.IntN(10); {
		case len(f.rows) == 0 || at == 0:
			f.rows = append(f.rows, row(r, p.source))
		case at == 1:
			i := r.IntN(len(f.rows))
			f.rows = slices.Delete(f.rows, i, i+1)
		case at == 2:
			pick(r, f.rows)[pick(r, columns[p.source])] = cell(r, p.source, pick(r, columns[p.source]), true)
		case at == 3:
			f.rows[r.IntN(len(f.rows))] = row(r, p.source)
		default:
			column := pick(r, columns[p.source])
			pick(r, f.rows)[column] = cell(r, p.source, column, false)
		}
	}
	h.put(p, f)
}

// copyFile drops the content of a file under a second name.
func (h *history) copyFile(r *rand.Rand) {
	if list := h.places(); len(list) > 0 {
		p := pick(r, list)
		h.put(place{p.source, pick(r, []string{"copy-", "zz-", "0/"}) + strings.ReplaceAll(p.path, "/", "-")}, h.landing[p].clone())
	}
}

// breakFile makes a file unreadable.
func (h *history) breakFile(r *rand.Rand) {
	if list := h.places(); len(list) > 0 {
		p := pick(r, list)
		h.put(p, landingFile{rows: h.landing[p].clone().rows, bytes: []byte("PK\x03\x04 torn")})
	}
}

// readBy is what the files of a source are read by now.
func (h *history) readBy(source string) string {
	by := fmt.Sprint("zone ", h.edits["time zone"])
	for name, n := range h.edits {
		if n != 0 && strings.HasPrefix(name, "contract of "+source) {
			by += fmt.Sprint(", ", name, n)
		}
	}
	return by
}

// deleteFile takes a file that was read out of landing: its rows stay.
func (h *history) deleteFile(r *rand.Rand) {
	list := slices.DeleteFunc(h.places(), func(p place) bool {
		was, ok := h.read[p]
		return !ok || !bytes.Equal(encode(h.t, p.source, was.landingFile), encode(h.t, p.source, h.landing[p]))
	})
	if len(list) == 0 {
		return
	}
	p := pick(r, list)
	h.tell("  %s/%s", p.source, p.path)
	h.gone[p] = h.read[p]
	delete(h.landing, p)
	if err := os.Remove(h.s.path("landing", p.source, p.path)); err != nil {
		h.t.Fatal(err)
	}
}

// bringBack brings a deleted file back, with its old content.
func (h *history) bringBack(r *rand.Rand) {
	if list := sortedPlaces(h.gone, func(place) bool { return true }); len(list) > 0 {
		p := pick(r, list)
		h.put(p, h.gone[p].landingFile)
	}
}

// bringBackUnread brings back what was deleted and would be read in another way by now: nobody can read it again otherwise.
func (h *history) bringBackUnread() {
	for _, p := range sortedPlaces(h.gone, func(p place) bool { return h.gone[p].readBy != h.readBy(p.source) }) {
		h.put(p, h.gone[p].landingFile)
	}
}

// poison makes a check of severity error fail, until it is mended.
func (h *history) poison(r *rand.Rand) {
	list := sortedPlaces(h.landing, func(p place) bool { return p.source == "sales" && len(h.landing[p].rows) > 0 })
	if len(list) == 0 {
		return
	}
	p := pick(r, list)
	f := h.landing[p].clone()
	f.bytes = nil
	bad := pick(r, f.rows)
	bad["amount"], bad["version"] = "5000", "9"
	h.put(p, f)
}

// mend takes the amounts out of landing that are too large for the check.
func (h *history) mend() {
	for _, p := range sortedPlaces(h.gone, func(place) bool { return true }) {
		h.put(p, h.gone[p].landingFile)
	}
	for _, p := range h.places() {
		f, changed := h.landing[p].clone(), false
		for _, row := range f.rows {
			if amount := row["amount"]; len(amount) > 2 && !strings.Contains(amount, ".") {
				row["amount"], changed = "7", true
			}
		}
		if changed {
			h.put(p, f)
		}
	}
}

// put writes a file. Each has a time of its own, some older than the one before.
func (h *history) put(p place, f landingFile) {
	h.tell("  %s/%s: %.400s", p.source, p.path, describeFile(p.source, f))
	h.landing[p] = f
	delete(h.gone, p)
	h.clock = h.clock.Add(time.Second)
	write(h.t, h.s, p, f, h.clock)
}

func write(t *testing.T, s *shop, p place, f landingFile, at time.Time) {
	s.drop(p.source, p.path, string(encode(t, p.source, f)))
	if err := os.Chtimes(s.path("landing", p.source, filepath.FromSlash(p.path)), at, at); err != nil {
		t.Fatal(err)
	}
}

func describeFile(source string, f landingFile) string {
	if f.bytes != nil {
		return "unreadable"
	}
	var rows []string
	for _, row := range f.rows {
		var cells []string
		for _, column := range columns[source] {
			cells = append(cells, row[column])
		}
		rows = append(rows, strings.Join(cells, ","))
	}
	return strings.Join(rows, " | ")
}

// encode writes rows in the format of their source.
func encode(t *testing.T, source string, f landingFile) []byte {
	if f.bytes != nil {
		return f.bytes
	}
	var b bytes.Buffer
	switch formats[source] {
	case ".csv":
		b.WriteString(strings.Join(columns[source], ",") + "\n")
		for _, row := range f.rows {
			for i, column := range columns[source] {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, "%q", row[column])
			}
			b.WriteByte('\n')
		}
	case ".ndjson":
		for _, row := range f.rows {
			line, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
	case ".xlsx":
		book := excelize.NewFile()
		defer book.Close()
		header := columns[source]
		book.SetSheetRow("Sheet1", "A1", &header)
		for i, row := range f.rows {
			for j, column := range header {
				at, err := excelize.CoordinatesToCellName(j+1, i+2)
				if err == nil {
					err = book.SetCellStr("Sheet1", at, row[column])
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := book.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// edits are the changes that a person makes to the pipeline: of a file one text becomes one of others. All of them keep the
// pipeline honest: what a header says of the SQL stays true.
var edits = []struct {
	name, file, from string
	to               []string
}{
	{"time zone", "pipeline.yaml", "time_zone: UTC", []string{"time_zone: America/New_York", "time_zone: Asia/Tokyo"}},
	{"contract of sales: rule", "contracts/sales.odcs.yaml", "minimum: 0", []string{"minimum: 5", "minimum: -10"}},
	{"contract of sales: column", "contracts/sales.odcs.yaml", "      - {name: region,", []string{"      - {name: note, logicalType: string}\n      - {name: region,"}},
	{"contract of imports: required", "contracts/imports.odcs.yaml", "{name: customer, logicalType: string}", []string{"{name: customer, logicalType: string, required: true}"}},
	{"contract of stock: rule", "contracts/stock.odcs.yaml", "minimum: 0", []string{"minimum: 3"}},
	{"SQL of line", "gold/line.sql", "s.amount - stock.cost AS", []string{"s.amount - 2 * stock.cost AS", "s.amount AS"}},
	{"SQL of stock", "silver/stock.sql", "ORDER BY _source_file DESC,", []string{"ORDER BY cost, _source_file DESC,"}},
	{"SQL of sale", "silver/sale.sql", "ORDER BY version DESC, source DESC,", []string{"ORDER BY version, source DESC,"}},
	{"column of daily", "gold/daily.sql", "count(*) AS sales,", []string{"count(*) AS sales, max(amount) AS largest,", "count(*) AS sales, max(sale_id) AS last_sale,"}},
	{"comment in product", "gold/product.sql", "\nSELECT product", []string{"\n-- Products of all kinds.\nSELECT product"}},
	{"key of nth", "gold/nth.sql", "-- key: sale_id\n", []string{"-- key: sale_id, customer\n"}},
	{"reach of trend", "gold/trend.sql", "reach: 2 days", []string{"reach: 4 days"}},
	{"reach of due", "gold/due.sql", "-- key: sale_id\n", []string{"-- key: sale_id\n-- reach: any\n"}},
	{"input of share", "gold/share.sql", "silver.name: lookup", []string{"silver.name: all"}},
	{"input of region", "silver/region.sql", "FROM bronze.sales", []string{
		"FROM (SELECT * FROM bronze.sales WHERE sale_id NOT IN (SELECT visit_id FROM bronze.visits))"}},
	{"partition of sale", "silver/sale.sql", "-- partition: month(sale_date)", []string{"-- partition: sale_date"}},
	{"partition of stock", "silver/stock.sql", "-- partition: snapshot_date", []string{"-- partition: month(snapshot_date)"}},
	{"partition of daily", "gold/daily.sql", "-- partition: month(day)\n-- key: day\n-- input gold.line: same(sale_date)", []string{
		"-- partition: day\n-- key: day\n-- input gold.line: same(sale_date)", "-- key: day\n-- input gold.line: all"}},
	{"partition of customer", "gold/customer.sql", "-- partition: bucket\n-- key: customer\n-- input silver.sale: same(bucket)", []string{"-- key: customer\n-- input silver.sale: all"}},
	{"trend", "gold/trend.sql", "*", []string{""}},
	{"check of amounts", "checks/amount_small.sql", "amount > 1000", []string{"amount > 500", "amount > 800"}},
}

// pipeline is the folder with the edits.
func (h *history) pipeline() fstest.MapFS {
	folder := inMemory(h.t, os.DirFS("testdata/histories"))
	for _, e := range edits {
		n := h.edits[e.name]
		if n == 0 {
			continue
		}
		if e.from == "*" {
			delete(folder, e.file)
			continue
		}
		if folder[e.file] == nil {
			continue
		}
		content := strings.ReplaceAll(string(folder[e.file].Data), e.from, e.to[n-1])
		if content == string(folder[e.file].Data) {
			h.t.Fatalf("the edit %q changes nothing", e.name)
		}
		folder[e.file] = &fstest.MapFile{Data: []byte(content)}
	}
	return folder
}

// edit changes the pipeline, or takes a change back, and activates it.
func (h *history) edit(r *rand.Rand) {
	e := pick(r, edits)
	n := r.IntN(len(e.to) + 1)
	if n == h.edits[e.name] {
		n = (n + 1) % (len(e.to) + 1)
	}
	h.edits[e.name] = n
	h.tell("  %s: %d", e.name, n)
	h.s.activate(h.pipeline())
}

// activate gives the shop another pipeline.
func (s *shop) activate(folder fstest.MapFS) {
	s.t.Helper()
	pipelines := shoplakev1.NewPipelineServiceClient(s.conn)
	request := &shoplakev1.CreatePipelineRequest{}
	for path, file := range folder {
		request.Files = append(request.Files, &shoplakev1.PipelineFile{Path: path, Content: file.Data})
	}
	created, err := pipelines.CreatePipeline(s.t.Context(), request)
	if err == nil {
		_, err = pipelines.ActivatePipeline(s.t.Context(), &shoplakev1.ActivatePipelineRequest{Name: created.GetName()})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
