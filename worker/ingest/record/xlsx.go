package record

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/flate"
)

// workbook is an opened XLSX file.
type workbook struct {
	ctx     context.Context
	parts   map[string]*zip.File // by lower-cased path
	sheets  []sheetPart
	strings *sharedStrings
	styles  []bool // by style index: numbers are shown as dates
	epoch04 bool   // serials count from 1904
}

type sheetPart struct{ name, path string }

func readXLSX(ctx context.Context, in *input, layout *compiled, w *Writer) (*extras, error) {
	at, size, release, err := randomAccess(ctx, in, w.folder)
	defer release()
	if err != nil {
		return nil, err
	}
	book, err := openWorkbook(ctx, at, size)
	if err != nil {
		return nil, err
	}
	sheet, err := book.sheet(layout.Sheet)
	if err != nil {
		return nil, err
	}
	return book.readSheet(sheet, layout, w)
}

// openWorkbook reads everything but the sheets.
func openWorkbook(ctx context.Context, at io.ReaderAt, size int64) (*workbook, error) {
	head := make([]byte, 64<<10)
	n, err := at.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := workbookSignature(head[:n]); err != nil {
		return nil, err
	}
	archive, err := openArchive(at, size)
	if err != nil {
		return nil, fmt.Errorf("open workbook: %w", err)
	}
	b := &workbook{ctx: ctx, parts: map[string]*zip.File{}}
	for _, f := range archive.File {
		name := strings.ToLower(strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(f.Name, `\`, "/")), "/"))
		if _, twice := b.parts[name]; !twice {
			b.parts[name] = f
		}
	}
	return b, b.readParts()
}

// workbookSignature tells what a file is that cannot be an XLSX workbook.
func workbookSignature(head []byte) error {
	utf16 := func(s string) []byte {
		var b []byte
		for _, c := range []byte(s) {
			b = append(b, c, 0)
		}
		return b
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil
	case bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
		if bytes.Contains(head, utf16("EncryptedPackage")) || bytes.Contains(head, utf16("EncryptionInfo")) {
			return errors.New("the workbook is encrypted; save it without a password")
		}
		return errors.New("it is a legacy Office file (.xls); save it as .xlsx")
	case bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return errors.New("it is an empty zip archive, not a workbook")
	}
	return errors.New("it is not an XLSX workbook (not a zip archive)")
}

// maxDirectoryBytes bounds what is read to list an archive's parts, and so the
// memory of the list.
const maxDirectoryBytes = 32 << 20

// openArchive lists the parts of a zip archive.
func openArchive(at io.ReaderAt, size int64) (*zip.Reader, error) {
	bounded := &directoryReader{at: at, left: maxDirectoryBytes}
	archive, err := zip.NewReader(bounded, size)
	if bounded.left < 0 {
		return nil, errors.New("its zip archive lists too many parts")
	}
	if err != nil {
		return nil, err
	}
	bounded.left = 1 << 62
	archive.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser { return flate.NewReader(r) })
	return archive, nil
}

type directoryReader struct {
	at   io.ReaderAt
	left int64
}

func (d *directoryReader) ReadAt(p []byte, off int64) (int, error) {
	if d.left < 1<<62 {
		if d.left -= int64(len(p)); d.left < 0 {
			return 0, errors.New("too many parts")
		}
	}
	return d.at.ReadAt(p, off)
}

// errNoPart is returned for a part that the archive doesn't hold.
var errNoPart = errors.New("part is missing")

// part opens a part for reading, within limits.
func (b *workbook) part(name string) (io.ReadCloser, error) {
	f := b.parts[strings.ToLower(strings.TrimPrefix(name, "/"))]
	if f == nil {
		return nil, fmt.Errorf("workbook: %s: %w", name, errNoPart)
	}
	if f.Flags&1 != 0 {
		return nil, errors.New("the workbook's archive is encrypted; save it without a password")
	}
	if f.UncompressedSize64 > MaxSheetBytes {
		return nil, fmt.Errorf("workbook: %s: unpacks to %d bytes, at most %d are read", name, f.UncompressedSize64, int64(MaxSheetBytes))
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("workbook: open %s: %w", name, err)
	}
	return &partReader{ReadCloser: r, ctx: b.ctx, name: name, packed: int64(f.CompressedSize64)}, nil
}

// partReader bounds what a part unpacks to.
type partReader struct {
	io.ReadCloser
	ctx    context.Context
	name   string
	packed int64
	out    int64
}

func (p *partReader) Read(buf []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.ReadCloser.Read(buf)
	p.out += int64(n)
	if p.out > MaxSheetBytes || p.out > 64<<20 && p.out/MaxSheetRatio > p.packed {
		return n, fmt.Errorf("workbook: %s: %d packed bytes unpack to more than %d; taken for a zip bomb", p.name, p.packed, p.out)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("workbook: unpack %s: %w", p.name, err)
	}
	return n, err
}

// walk reads an XML part whole and calls start for each element, with the path
// of local names from the root down.
func (b *workbook) walk(name string, start func(x *xmlScanner, path []string) error) error {
	r, err := b.part(name)
	if err != nil {
		return err
	}
	defer r.Close()
	x, err := newXMLScanner(r)
	if err != nil {
		return fmt.Errorf("workbook: %s: %w", name, err)
	}
	var at []string
	for {
		token, err := x.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("workbook: %s: %w", name, err)
		}
		switch token {
		case xmlStart:
			at = append(at, string(x.name))
			if err := start(x, at); err != nil {
				return fmt.Errorf("workbook: %s: %w", name, err)
			}
		case xmlEnd:
			at = at[:len(at)-1]
		}
	}
}

// relation is an entry of a relationships part.
type relation struct{ kind, target string }

// relations reads the relationships of a part ("" is the package), by id;
// targets are paths in the package.
func (b *workbook) relations(of string) (map[string]relation, error) {
	folder, base := path.Split(of)
	found := map[string]relation{}
	err := b.walk(folder+"_rels/"+base+".rels", func(x *xmlScanner, at []string) error {
		if len(at) != 2 || at[1] != "Relationship" || strings.EqualFold(string(x.attr("TargetMode")), "External") {
			return nil
		}
		target := strings.ReplaceAll(string(x.attr("Target")), `\`, "/")
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", folder, target)
		}
		kind := string(x.attr("Type"))
		if len(found) < 100_000 {
			found[string(x.attr("Id"))] = relation{kind: kind[strings.LastIndexByte(kind, '/')+1:], target: strings.TrimPrefix(path.Clean(target), "/")}
		}
		return nil
	})
	return found, err
}

// readParts finds the workbook part, its sheets, styles and shared strings.
func (b *workbook) readParts() error {
	main := "xl/workbook.xml"
	roots, err := b.relations("")
	if err != nil && !errors.Is(err, errNoPart) {
		return err
	}
	for _, r := range roots {
		if r.kind == "officeDocument" {
			main = r.target
		}
	}
	switch {
	case strings.HasSuffix(main, ".bin"):
		return errors.New("it is a binary workbook (.xlsb); save it as .xlsx")
	case b.parts[strings.ToLower(main)] == nil && b.parts["content.xml"] != nil:
		return errors.New("it is an OpenDocument file (.ods); save it as .xlsx")
	case b.parts[strings.ToLower(main)] == nil:
		return errors.New("it is a zip archive without a workbook")
	}
	relations, err := b.relations(main)
	if err != nil {
		return err
	}
	if err := b.readSheetList(main, relations); err != nil {
		return err
	}
	for _, r := range relations {
		switch r.kind {
		case "styles":
			err = b.readStyles(r.target)
		case "sharedStrings":
			b.strings, err = b.readStrings(r.target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *workbook) readSheetList(main string, relations map[string]relation) error {
	isWorkbook := false
	err := b.walk(main, func(x *xmlScanner, at []string) error {
		switch strings.Join(at, "/") {
		case "workbook":
			isWorkbook = true
		case "workbook/workbookPr":
			date1904 := string(x.attr("date1904"))
			b.epoch04 = date1904 == "1" || date1904 == "true"
		case "workbook/sheets/sheet":
			// The relation's id has a namespace; sheetId and a plain id have not.
			if r, known := relations[string(attribute(x.attrs, "id"))]; known && r.kind == "worksheet" {
				b.sheets = append(b.sheets, sheetPart{name: string(x.attr("name")), path: r.target})
			}
		}
		return nil
	})
	if err == nil && !isWorkbook {
		err = errors.New("it is an Office file of another kind, not a workbook")
	}
	return err
}

// sheet finds the sheet of that name, the first for "".
func (b *workbook) sheet(name string) (sheetPart, error) {
	if len(b.sheets) == 0 {
		return sheetPart{}, errors.New("the workbook has no worksheet")
	}
	if name == "" {
		return b.sheets[0], nil
	}
	names := make([]string, len(b.sheets))
	for i, s := range b.sheets {
		if fold(s.name) == fold(name) {
			return s, nil
		}
		names[i] = s.name
	}
	return sheetPart{}, fmt.Errorf("the workbook has no sheet %q, only %.200q", name, names)
}
