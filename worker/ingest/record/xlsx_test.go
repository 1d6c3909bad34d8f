package record

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// bookParts are the parts of a small workbook; more replaces or adds some.
func bookParts(sheetData string, more map[string]string) map[string]string {
	parts := map[string]string{
		"_rels/.rels": `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml": `<?xml version="1.0" encoding="UTF-8"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">` +
			`<sheets><sheet name="Stock" sheetId="1" r:id="rId1"/><sheet name="Ümlaut &amp; Co" sheetId="2" r:id="rId2"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="x"><Relationship Id="rId1" Type="x/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="x/worksheet" Target="/xl/worksheets/sheet2.xml"/>` +
			`<Relationship Id="rId3" Type="x/styles" Target="styles.xml"/><Relationship Id="rId4" Type="x/sharedStrings" Target="sharedStrings.xml"/></Relationships>`,
		"xl/styles.xml": `<styleSheet><numFmts count="3"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/><numFmt numFmtId="165" formatCode="[h]:mm"/><numFmt numFmtId="166" formatCode="0.00 &quot;days&quot;"/></numFmts>` +
			`<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="166"/><xf numFmtId="20"/></cellXfs></styleSheet>`,
		"xl/sharedStrings.xml":     `<sst><si><t>a</t></si><si><t xml:space="preserve"> b </t></si><si><r><rPr><b/></rPr><t>rich</t></r><r><t> text</t></r><rPh sb="0" eb="1"><t>hint</t></rPh></si><si><t>1 &lt; 2&#33; _x000D__x005F_x_</t></si><si/></sst>`,
		"xl/worksheets/sheet1.xml": `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>` + sheetData + `</sheetData></worksheet>`,
		"xl/worksheets/sheet2.xml": `<worksheet><sheetData><row><c t="inlineStr"><is><t>a</t></is></c></row><row><c><v>7</v></c></row></sheetData></worksheet>`,
	}
	for name, text := range more {
		if parts[name] = text; text == "" {
			delete(parts, name)
		}
	}
	return parts
}

func zipped(t testing.TB, parts map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range parts {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		part.Write([]byte(text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// headerRow names columns a, b, c.
const headerRow = `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>B</t></is></c><c r="C1" t="str"><v>c</v></c></row>`

var book = Layout{Format: XLSX, Columns: columns("a", "b", "c")}

func TestXLSX(t *testing.T) {
	t.Parallel()
	row := func(cells string) string { return headerRow + `<row r="2">` + cells + `</row>` }
	for name, c := range map[string]struct {
		sheet string
		want  [][]string
	}{
		"numbers":          {row(`<c r="A2"><v>19.989999999999998</v></c><c r="B2"><v>536365.0</v></c><c r="C2"><v>1.5E-3</v></c>`), [][]string{{"\x0319.99", "\x03536365", "\x030.0015"}}},
		"more numbers":     {row(`<c r="A2"><v>-0</v></c><c r="B2"><v>1E3</v></c><c r="C2"><v>1.7976931348623157E+308</v></c>`), [][]string{{"\x030", "\x031000", "\x0317976931348623157" + strings.Repeat("0", 292)}}},
		"no numbers":       {row(`<c r="A2"><v>1e999</v></c><c r="B2"><v>inf</v></c><c r="C2"><v>0x10</v></c>`), [][]string{{"1e999", "inf", "0x10"}}},
		"kinds":            {row(`<c r="A2" t="b"><v>1</v></c><c r="B2" t="e"><v>#N/A</v></c><c r="C2" t="str"><f>A1&amp;"x"</f><v>x_x0009_y</v></c>`), [][]string{{"true", "\x02#N/A", "x\ty"}}},
		"shared strings":   {row(`<c r="A2" t="s"><v>2</v></c><c r="B2" t="s"><v>1</v></c><c r="C2" t="s"><v>3</v></c>`), [][]string{{"rich text", " b ", "1 < 2! \r_x_"}}},
		"inline rich":      {row(`<c r="A2" t="inlineStr"><is><r><t>a</t></r><r><t><![CDATA[<b>]]></t></r><rPh><t>no</t></rPh></is></c><c r="B2" t="n"/><c r="C2" t="s"/>`), [][]string{{"a<b>", null, null}}},
		"dates":            {row(`<c r="A2" s="1"><v>44197</v></c><c r="B2" s="2"><v>44197.354166666664</v></c><c r="C2" s="5"><v>0.5</v></c>`), [][]string{{"\x052021-01-01", "\x052021-01-01T08:30:00", "12:00:00"}}},
		"early dates":      {row(`<c r="A2" s="1"><v>1</v></c><c r="B2" s="1"><v>60</v></c><c r="C2" s="1"><v>61</v></c>`), [][]string{{"\x051900-01-01", "\x051900-02-28", "\x051900-03-01"}}},
		"no dates":         {row(`<c r="A2" s="3"><v>1.5</v></c><c r="B2" s="4"><v>44197</v></c><c r="C2" s="1"><v>9999999</v></c>`), [][]string{{"\x031.5", "\x0344197", "\x039999999"}}},
		"date without end": {row(`<c r="A2" s="1"><v>2958465.99999999999</v></c><c r="B2" s="1"><v>-1</v></c><c r="C2" s="99"><v>3</v></c>`), [][]string{{"\x032958466", "\x03-1", "\x033"}}},
		"ISO dates":        {row(`<c r="A2" t="d"><v>2021-01-01T00:00:00</v></c><c r="B2" t="d"><v>2021-01-01T10:11:12.5</v></c><c r="C2" t="d"><v>soon</v></c>`), [][]string{{"\x052021-01-01", "\x052021-01-01T10:11:12.5", "soon"}}},
		"no references":    {`<row><c t="str"><v>c</v></c><c t="str"><v>a</v></c></row><row><c><v>1</v></c><c><v>2</v></c></row>`, [][]string{{"\x032", null, "\x031"}}},
		"gaps":             {headerRow + `<row r="5"><c r="C5"><v>3</v></c></row><row r="6"/><row r="7"><c r="A7" t="str"><v> </v></c></row><row r="1048576"><c r="A1048576"><v>1</v></c></row>`, [][]string{{null, null, "\x033"}, {"\x031", null, null}}},
		"beyond header":    {row(`<c r="A2"><v>1</v></c><c r="E2" t="str"><v>x</v></c>`), [][]string{{"\x031", null, null, `{"column 5":"x"}`}}},
		"no value":         {row(`<c r="A2"><f>1/0</f></c><c r="B2"><v>1</v></c>`), [][]string{{null, "\x031", null}}},
		"prefixes":         {row(`<c r="A2" t="str"><v>&#1;x</v></c>`), [][]string{{"\x04\x01x", null, null}}},
		"comments":         {row(`<!-- <c r="A2"><v>9</v></c> --><c r="A2"><v><!-- x -->1</v></c><?pi x?>`), [][]string{{"\x031", null, null}}},
		"header only":      {headerRow, nil},
		"empty":            {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, rows := readBytes(t, "f.xlsx", zipped(t, bookParts(c.sheet, nil)), book)
			if info.Unreadable != nil {
				t.Fatal(info.Unreadable)
			}
			if diff := cmp.Diff(c.want, shown(rows)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestXLSXRaw(t *testing.T) {
	t.Parallel()
	_, rows := readBytes(t, "f.xlsx", zipped(t, bookParts(headerRow+`<row r="2"><c r="A2" s="1"><v>44197</v></c><c r="C2" t="e"><v>#N/A</v></c><c r="D2" t="str"><v>"é"</v></c><c r="F2"/></row>`, nil)), book)
	if want := `["2021-01-01",null,"#N/A","\"é\""]`; rows[0].Raw != want {
		t.Errorf("raw is %s, want %s", rows[0].Raw, want)
	}
}

// TestXLSXPackages has workbooks put together in other ways.
func TestXLSXPackages(t *testing.T) {
	t.Parallel()
	sheet := headerRow + `<row r="2"><c r="A2"><v>1</v></c><c r="B2" s="1"><v>42735</v></c></row>`
	workbook := bookParts("", nil)["xl/workbook.xml"]
	strict := strings.NewReplacer("http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://purl.oclc.org/ooxml/spreadsheetml/main",
		"http://schemas.openxmlformats.org/officeDocument/2006/relationships", "http://purl.oclc.org/ooxml/officeDocument/relationships")
	for name, c := range map[string]struct {
		more   map[string]string
		change func(*Layout)
		want   [][]string
	}{
		"plain":       {want: [][]string{{"\x031", "\x052016-12-31", null}}},
		"second":      {change: func(l *Layout) { l.Sheet = "ÜMLAUT & co " }, want: [][]string{{"\x037", null, null}}},
		"1904":        {more: map[string]string{"xl/workbook.xml": strings.Replace(workbook, "<sheets>", `<workbookPr date1904="true"/><sheets>`, 1)}, want: [][]string{{"\x061", "\x052021-01-01", null}}},
		"strict":      {more: map[string]string{"xl/workbook.xml": strict.Replace(workbook), "_rels/.rels": strict.Replace(bookParts("", nil)["_rels/.rels"])}, want: [][]string{{"\x031", "\x052016-12-31", null}}},
		"namespaced":  {more: map[string]string{"xl/workbook.xml": strings.NewReplacer("<sheet", "<x:sheet", "</sheet", "</x:sheet", "<workbook xmlns=", "<x:workbook xmlns:x=", "</work", "</x:work").Replace(workbook)}, want: [][]string{{"\x031", "\x052016-12-31", null}}},
		"no styles":   {more: map[string]string{"xl/styles.xml": ""}, want: [][]string{{"\x031", "\x0342735", null}}},
		"chart first": {more: map[string]string{"xl/workbook.xml": strings.Replace(workbook, "<sheets>", `<sheets><sheet name="Chart" sheetId="9" r:id="rId9"/>`, 1), "xl/_rels/workbook.xml.rels": strings.Replace(bookParts("", nil)["xl/_rels/workbook.xml.rels"], "<Relationship ", `<Relationship Id="rId9" Type="x/chartsheet" Target="chartsheets/sheet1.xml"/><Relationship `, 1)}, want: [][]string{{"\x031", "\x052016-12-31", null}}},
		"other paths": {more: map[string]string{"_rels/.rels": "", "xl/workbook.xml": "", "XL/Workbook.xml": workbook}, want: [][]string{{"\x031", "\x052016-12-31", null}}},
		"skipped row": {change: func(l *Layout) { l.SkipRows = 1; l.Columns = columns("1", "2016-12-31") }, want: nil},
		"UTF-16": {more: map[string]string{"xl/worksheets/sheet1.xml": "\xff\xfe" + utf16le(`<worksheet><sheetData><row><c t="str"><v>a</v></c></row><row><c t="str"><v>é</v></c></row></sheetData></worksheet>`)},
			want: [][]string{{"é", null, null}}},
		"latin-1": {more: map[string]string{"xl/worksheets/sheet1.xml": `<?xml version="1.0" encoding="ISO-8859-1"?><worksheet><sheetData><row><c t="str"><v>a</v></c></row><row><c t="str"><v>` + "\xe9" + `</v></c></row></sheetData></worksheet>`},
			want: [][]string{{"é", null, null}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layout := book
			if c.change != nil {
				c.change(&layout)
			}
			info, rows := readBytes(t, "f.xlsx", zipped(t, bookParts(sheet, c.more)), layout)
			if info.Unreadable != nil {
				t.Fatal(info.Unreadable)
			}
			if diff := cmp.Diff(c.want, shown(rows)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

func utf16le(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

func TestXLSXUnreadable(t *testing.T) {
	t.Parallel()
	whole := zipped(t, bookParts(headerRow, nil))
	sheet := func(xml string) []byte {
		return zipped(t, bookParts("", map[string]string{"xl/worksheets/sheet1.xml": xml}))
	}
	rows := func(data string) []byte { return zipped(t, bookParts(headerRow+data, nil)) }
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"junk":                {[]byte("junk"), "not a zip"},
		"CSV":                 {[]byte("a,b,c\n1,2,3\n"), "not a zip"},
		"legacy":              {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 ..."), "legacy"},
		"encrypted":           {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + utf16le("EncryptedPackage")), "encrypted"},
		"empty zip":           {zipped(t, nil), "empty zip"},
		"another zip":         {zipped(t, map[string]string{"x": "y"}), "without a workbook"},
		"OpenDocument":        {zipped(t, map[string]string{"content.xml": "y"}), "OpenDocument"},
		"document":            {zipped(t, bookParts("", map[string]string{"xl/workbook.xml": "<document/>"})), "another kind"},
		"cut in half":         {whole[:len(whole)/2], "zip"},
		"cut at the end":      {whole[:len(whole)-1], "zip"},
		"no sheets":           {zipped(t, bookParts("", map[string]string{"xl/workbook.xml": "<workbook/>"})), "no worksheet"},
		"sheet missing":       {zipped(t, bookParts("", map[string]string{"xl/worksheets/sheet1.xml": ""})), "missing"},
		"strings missing":     {zipped(t, bookParts(headerRow, map[string]string{"xl/sharedStrings.xml": ""})), "shared text"},
		"string out of range": {rows(`<row><c t="s"><v>99</v></c></row>`), "shared text"},
		"repeated column":     {zipped(t, bookParts(`<row><c t="str"><v>a</v></c><c t="str"><v>A </v></c></row>`, nil)), "repeated"},
		"not a worksheet":     {sheet(`<chartsheet/>`), "not a worksheet"},
		"XML ends early":      {sheet(`<worksheet><sheetData><row>`), "ends early"},
		"XML with two roots":  {sheet(`<worksheet/><worksheet/>`), "more than one root"},
		"XML text outside":    {sheet(`<worksheet/>x`), "outside"},
		"XML crossed":         {sheet(`<worksheet><a><b></a></b></worksheet>`), "ends where"},
		"XML entity":          {rows(`<row><c t="str"><v>&x;</v></c></row>`), "entity"},
		"XML long entity":     {rows(`<row><c t="str"><v>&` + strings.Repeat("x", 100) + `</v></c></row>`), "entity"},
		"XML doctype":         {sheet(`<!DOCTYPE x [<!ENTITY a "b">]><worksheet/>`), "document type"},
		"XML attribute":       {rows(`<row r=1/>`), "attributes"},
		"XML tag in tag":      {rows(`<row <c/>`), "inside"},
		"XML deep":            {sheet(`<worksheet>` + strings.Repeat("<a>", 1000)), "too deep"},
		"XML endless tag":     {sheet(`<worksheet ` + strings.Repeat(" ", 3<<20)), "does not end"},
		"not UTF-8":           {rows("<row><c t=\"str\"><v>\xff</v></c></row>"), "UTF-8"},
		"cell twice":          {rows(`<row><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>`), "twice"},
		"bad reference":       {rows(`<row><c r="1A"><v>1</v></c></row>`), "a cell at"},
		"bad row":             {rows(`<row r="x"/>`), "row with number"},
		"far column":          {rows(`<row><c r="XFD2"><v>1</v></c></row>`), "more than 10000 columns"},
		"long cell":           {rows(`<row><c t="str"><v>` + strings.Repeat("x", MaxRecordBytes+1) + `</v></c></row>`), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, _ := readBytes(t, "f.xlsx", c.data, book)
			if info.Unreadable == nil || !strings.Contains(info.Unreadable.Error(), c.want) {
				t.Fatalf("unreadable: %v, want %q", info.Unreadable, c.want)
			}
		})
	}
	layout := book
	layout.Sheet = "none"
	if info, _ := readBytes(t, "f.xlsx", whole, layout); info.Unreadable == nil || !strings.Contains(info.Unreadable.Error(), `no sheet "none", only ["Stock"`) {
		t.Error(info.Unreadable)
	}
}

// TestXLSXDamage changes bytes of a workbook: damage is found, or was in
// something that doesn't matter.
func TestXLSXDamage(t *testing.T) {
	t.Parallel()
	whole := zipped(t, bookParts(headerRow+`<row r="2"><c r="A2"><v>1</v></c><c r="B2"><v>2</v></c></row>`, nil))
	_, want := readBytes(t, "f.xlsx", whole, book)
	unreadable := 0
	setup := newSetup(t)
	for i := 0; i < len(whole); i += 3 {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x55
		info, rows := setup.readBytes(t, "f.xlsx", damaged, book)
		if info.Unreadable != nil {
			unreadable++
		} else if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("byte %d of %q: %s", i, whole[max(0, i-20):min(len(whole), i+20)], diff)
		}
	}
	if unreadable < len(whole)/6 {
		t.Errorf("only %d of %d damages were found", unreadable, len(whole)/3)
	}
}

// zeros is an endless part of a zip bomb.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n <= 0 {
		return 0, fmt.Errorf("done")
	}
	for i := range p {
		p[i] = ' '
	}
	z.n -= int64(len(p))
	return len(p), nil
}

func TestXLSXBomb(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"} {
		parts := bookParts(headerRow, nil)
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for name, text := range parts {
			f, err := w.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if name == part {
				f.Write([]byte(`<worksheet><sheetData>`))
				z := &zeros{n: 200 << 20}
				buf := make([]byte, 1<<20)
				for {
					if _, err := z.Read(buf); err != nil {
						break
					}
					f.Write(buf)
				}
			}
			f.Write([]byte(text))
		}
		w.Close()
		info, _ := readBytes(t, "f.xlsx", b.Bytes(), book)
		if info.Unreadable == nil || !strings.Contains(info.Unreadable.Error(), "zip bomb") {
			t.Errorf("%s: %v", part, info.Unreadable)
		}
	}
}

// TestXLSXLikeExcelize writes a workbook with another library.
func TestXLSXLikeExcelize(t *testing.T) {
	t.Parallel()
	f := excelize.NewFile()
	defer f.Close()
	when := time.Date(2024, 2, 29, 13, 37, 5, 0, time.UTC)
	for i, row := range [][]any{
		{"Lagerbestand"}, nil,
		{"a", "b", "c"},
		{"text & <more>", 12.5, when},
		{true, 3, nil},
		{"  spaced  ", -0.1, "2024-01-01"},
	} {
		if row != nil {
			if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.MergeCell("Sheet1", "A1", "C1"); err != nil {
		t.Fatal(err)
	}
	data, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	layout := book
	layout.SkipRows = 2
	info, rows := readBytes(t, "f.xlsx", data.Bytes(), layout)
	want := [][]string{
		{"text & <more>", "\x0312.5", "\x052024-02-29T13:37:05"},
		{"true", "\x033", null},
		{"  spaced  ", "\x03-0.1", "2024-01-01"},
	}
	if diff := cmp.Diff(want, shown(rows)); diff != "" || info.Unreadable != nil {
		t.Errorf("%v, rows differ (-want +got):\n%s", info.Unreadable, diff)
	}
}

func TestDateFormat(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"General": false, "0.00": false, "@": false, "yyyy-mm-dd": true, "d/m/yy h:mm": true, "[$-409]mmmm d, yyyy;@": true,
		`0.00 "days"`: false, `0\d`: false, "[Red]0;[Blue]0": false, "[h]:mm:ss": false, "[mm]:ss": false, "mm:ss.0": true,
		"0.00E+00": false, `_-* #,##0.00\ "€"_-`: false, "h:mm AM/PM": true, `"yyyy`: false, "[": false, "0;yyyy": false, "": false,
	} {
		if got := dateFormat(code); got != want {
			t.Errorf("%q is a date: %v", code, got)
		}
	}
}
