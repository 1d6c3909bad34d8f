package quarantine

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/xuri/excelize/v2"

	"github.com/shoplake/shoplake/internal/pipeline"
)

const (
	// headerBytes bounds what is read of a file to find its header.
	headerBytes = 1 << 20
	// workbookBytes bounds the workbooks that are opened for it: a workbook is unpacked whole.
	workbookBytes = 16 << 20
)

// header is the columns of a landing file in their order; nil where they cannot be told. It only helps a person to read a
// row, so that whatever goes wrong means that they are not known.
func header(landing string, source *pipeline.Source, file string) []string {
	if filepath.IsLocal(file) && strings.EqualFold(filepath.Ext(file), ".xlsx") {
		return workbookHeader(filepath.Join(landing, source.Name, file), source.Contract.Format)
	}
	return textHeader(landing, source, file)
}

// textHeader is the header of a text file alone: it is read for each file of a list, for which workbooks take too long.
func textHeader(landing string, source *pipeline.Source, file string) []string {
	if !filepath.IsLocal(file) {
		return nil
	}
	path := filepath.Join(landing, source.Name, file)
	name := strings.ToLower(path)
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	switch filepath.Ext(name) {
	case ".csv", ".tsv", ".txt":
		return csvHeader(path, source.Contract.Format)
	}
	return nil
}

func csvHeader(path string, format pipeline.Format) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	unpacked, err := unpack(path, f)
	if err != nil {
		return nil
	}
	defer unpacked.Close()
	lines := bufio.NewReader(io.LimitReader(unpacked, headerBytes))
	if mark, err := lines.Peek(3); err == nil && string(mark) == "\ufeff" {
		lines.Discard(len(mark))
	}
	for range format.SkipRows {
		if _, err := lines.ReadString('\n'); err != nil {
			return nil
		}
	}
	records := csv.NewReader(lines)
	records.FieldsPerRecord = -1
	records.LazyQuotes = true
	if format.Delimiter != 0 {
		records.Comma = format.Delimiter
	}
	for {
		record, err := records.Read()
		if err != nil {
			return nil
		}
		if names := trimmed(record); names != nil {
			return names
		}
	}
}

func unpack(path string, f io.Reader) (io.ReadCloser, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz":
		return gzip.NewReader(f)
	case ".zst":
		d, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(f), nil
}

func workbookHeader(path string, format pipeline.Format) []string {
	if info, err := os.Stat(path); err != nil || info.Size() > workbookBytes {
		return nil
	}
	book, err := excelize.OpenFile(path)
	if err != nil {
		return nil
	}
	defer book.Close()
	sheet := format.Sheet
	if sheet == "" {
		sheet = book.GetSheetName(0)
	}
	rows, err := book.Rows(sheet)
	if err != nil {
		return nil
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		cells, err := rows.Columns()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil
		}
		if n < format.SkipRows {
			continue
		}
		if names := trimmed(cells); names != nil {
			return names
		}
	}
	return nil
}

// trimmed are the names of a header, in lower case as those of columns are; nil for a blank line.
func trimmed(cells []string) []string {
	names := make([]string, 0, len(cells))
	blank := true
	for _, cell := range cells {
		name := strings.ToLower(strings.TrimSpace(cell))
		blank = blank && name == ""
		names = append(names, name)
	}
	if blank {
		return nil
	}
	return names
}
