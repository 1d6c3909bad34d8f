package e2e

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/pipelines"
)

const orderHeader = "order_id,line_number,order_time,updated_at,customer_id,customer_email,country,payment_method,city,product_id,quantity,unit_price,discount,currency,status\n"

const goodOrder = "o1,1,2026-01-05 10:00,,c1,a@example.com,de,card,Bonn,p1,2,10.00,,EUR,paid\n"

// hostileOrders are files that no shop should get, each with the rows that must be good all the same.
func hostileOrders(t *testing.T) map[string]struct {
	content string
	bronze  int64
} {
	t.Helper()
	zipped := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := io.WriteString(w, s); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	good := orderHeader + strings.Repeat(goodOrder, 2000)
	junk := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	truncated := zipped(good)
	return map[string]struct {
		content string
		bronze  int64
	}{
		"good.csv":              {orderHeader + goodOrder, 1},
		"good.csv.gz":           {zipped(orderHeader + goodOrder), 1},
		"truncated.csv.gz":      {truncated[:len(truncated)/2], 0},
		"semicolons.csv":        {strings.ReplaceAll(orderHeader+goodOrder, ",", ";"), 0},
		"ragged.csv":            {orderHeader + "o1,1\n" + goodOrder + strings.TrimSuffix(goodOrder, "\n") + ",more\n", 1},
		"long-line.csv":         {orderHeader + goodOrder + strings.Repeat("x", 10<<20) + "\n" + goodOrder, 2},
		"junk.csv":              {string(junk), 0},
		"junk.csv.zst":          {string(junk), 0},
		"empty.csv":             {"", 0},
		"header-only.csv":       {orderHeader, 0},
		"twice.csv":             {strings.Replace(orderHeader, "country", "order_id", 1) + goodOrder, 0},
		"quote-left-open.csv":   {orderHeader + goodOrder + `o2,1,"2026-01-05` + strings.Repeat("\n"+goodOrder, 50), 1},
		"nul.csv":               {orderHeader + "o\x001,1,2026-01-05,,,,,,,p1,1,1,,EUR,paid\n", 1},
		"not-utf8.csv":          {orderHeader + strings.Replace(goodOrder, "Bonn", "K\xf6ln", 1) + goodOrder, 1},
		"sql.csv":               {orderHeader + strings.Replace(goodOrder, "Bonn", "'; DROP TABLE bronze.orders; --", 1), 1},
		"ünï cödé '; -- \".csv": {orderHeader + goodOrder, 1},
		"deep/er/still.csv":     {orderHeader + goodOrder, 1},
		".hidden.csv":           {orderHeader + goodOrder, -1},
		"_ignored/x.csv":        {orderHeader + goodOrder, -1},
		"writing.csv.part":      {orderHeader + goodOrder, -1},
	}
}

// bomb is a workbook whose sheet unpacks to a thousand times its size.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"[Content_Types].xml":        `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`,
		"_rels/.rels":                `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml":            `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
	} {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	f, err := w.Create("xl/worksheets/sheet1.xml")
	if err != nil {
		t.Fatal(err)
	}
	blank := bytes.Repeat([]byte(" "), 1<<20)
	for range 600 {
		if _, err := f.Write(blank); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fates are the files of a source by path.
func (s *shop) fates(source string) map[string]*shoplakev1.File {
	s.t.Helper()
	byPath := map[string]*shoplakev1.File{}
	for token := ""; ; {
		list, err := s.sources.ListFiles(s.t.Context(), &shoplakev1.ListFilesRequest{Parent: "sources/" + source, PageSize: 1000, PageToken: token})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range list.GetFiles() {
			byPath[f.GetPath()] = f
		}
		if token = list.GetNextPageToken(); token == "" {
			return byPath
		}
	}
}

func TestHostileFilesLoseNothing(t *testing.T) {
	t.Parallel()
	s := setup(t, pipelines.Ecommerce, 2)
	hostile := hostileOrders(t)
	for name, file := range hostile {
		s.drop("orders", name, file.content)
	}
	if err := os.Symlink("/etc/passwd", s.path("landing", "orders", "link.csv")); err != nil {
		t.Fatal(err)
	}
	s.drop("inventory", "bomb.xlsx", bomb(t))
	s.drop("user_activity", "nested.ndjson", strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)+"\n"+`{"event_id":"e1","event_time":"2026-01-05T10:00:00Z","session_id":"s","event_type":"page_view"}`+"\n")
	run, _ := s.daily()
	if c := run.GetCounts(); c.GetRowsRead() != c.GetRowsBronze()+c.GetRowsQuarantined() {
		t.Errorf("rows were lost: %v", c)
	}
	fates := s.fates("orders")
	for name, file := range hostile {
		fate := fates[name]
		switch {
		case file.bronze < 0:
			if fate != nil {
				t.Errorf("%s was not ignored: %v", name, fate)
			}
		case fate == nil:
			t.Errorf("%s has no fate", name)
		case fate.GetRowsBronze() != file.bronze:
			t.Errorf("%s: %d rows of %d are good, want %d (%s)", name, fate.GetRowsBronze(), fate.GetRowsRead(), file.bronze, fate.GetError())
		}
	}
	if fates["link.csv"] != nil {
		t.Errorf("a link out of the landing folder was followed: %v", fates["link.csv"])
	}
	for name, want := range map[string]shoplakev1.FileState{
		"truncated.csv.gz": shoplakev1.FileState_FILE_STATE_UNREADABLE, "junk.csv.zst": shoplakev1.FileState_FILE_STATE_UNREADABLE,
		"twice.csv": shoplakev1.FileState_FILE_STATE_UNREADABLE, "empty.csv": shoplakev1.FileState_FILE_STATE_INGESTED,
	} {
		if got := fates[name].GetState(); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if f := s.fates("inventory")["bomb.xlsx"]; f.GetState() != shoplakev1.FileState_FILE_STATE_UNREADABLE || f.GetError() == "" {
		t.Errorf("the zip bomb: %v", f)
	}
	if f := s.fates("user_activity")["nested.ndjson"]; f.GetRowsBronze() != 1 || f.GetRowsQuarantined() != 1 {
		t.Errorf("deeply nested JSON: %v", f)
	}
}

// TestConformanceFilesLoseNothing drops every public test file into every source.
func TestConformanceFilesLoseNothing(t *testing.T) {
	t.Parallel()
	const folder = "../../shared/data/conformance"
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the public conformance files are not in %s", folder)
	}
	s := setup(t, pipelines.Ecommerce, 2)
	n := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		name := strings.TrimPrefix(path, folder+"/")
		for _, source := range []string{"orders", "inventory", "user_activity"} {
			s.drop(source, name, string(content))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	run, _ := s.daily()
	if c := run.GetCounts(); c.GetRowsRead() == 0 || c.GetRowsRead() != c.GetRowsBronze()+c.GetRowsQuarantined() {
		t.Errorf("rows were lost: %v", c)
	}
	for _, source := range []string{"orders", "inventory", "user_activity"} {
		fates := s.fates(source)
		for path, f := range fates {
			if f.GetRowsRead() != f.GetRowsBronze()+f.GetRowsQuarantined() || f.GetState() == shoplakev1.FileState_FILE_STATE_NEW {
				t.Errorf("%s/%s: %v", source, path, f)
			}
		}
		if len(fates) < n/2 {
			t.Errorf("%s: %d files were dropped, %d have a fate", source, n, len(fates))
		}
	}
}
