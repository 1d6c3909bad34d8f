package sample

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// output is a file that is being written, with what there is to say of it.
type output struct {
	path   string
	file   *os.File
	zip    *gzip.Writer
	w      *bufio.Writer
	info   FileManifest
	closed bool
}

// create begins a file below a source's folder; a name that ends in .gz is compressed.
func (g *generator) create(source, name string) (*output, error) {
	path := filepath.Join(g.landing, source, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	o := &output{path: path, file: f, info: FileManifest{Path: name}}
	var w io.Writer = f
	if strings.HasSuffix(name, ".gz") {
		o.zip, err = gzip.NewWriterLevel(f, gzip.BestSpeed)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		w = o.zip
	}
	o.w = bufio.NewWriterSize(w, 64<<10)
	return o, nil
}

// row counts a record that breaks these rules, none for a good one.
func (o *output) row(rules []string) {
	o.info.Rows++
	if len(rules) > 0 {
		o.info.Bad = append(o.info.Bad, BadRow{Row: o.info.Rows, Rules: rules})
	}
}

func (o *output) variety(kind string) {
	if o.info.Variety == nil {
		o.info.Variety = map[string]int{}
	}
	o.info.Variety[kind]++
}

// close ends the file and records it.
func (g *generator) close(source string, o *output) error {
	o.closed = true
	err := o.w.Flush()
	if o.zip != nil {
		err = errors.Join(err, o.zip.Close())
	}
	at, seekErr := o.file.Seek(0, io.SeekCurrent)
	if err = errors.Join(err, seekErr, o.file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	o.info.Bytes = at
	g.manifest.add(source, o.info)
	return nil
}

// abandon closes a file that an error has interrupted.
func (o *output) abandon() {
	if o != nil && !o.closed {
		_ = o.file.Close()
	}
}

// plantFile writes a file as it is. Where it cannot be read it counts as one row.
func (g *generator) plantFile(source, name string, content []byte, unreadable bool) error {
	path := filepath.Join(g.landing, source, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	info := FileManifest{Path: name, Bytes: int64(len(content))}
	if unreadable {
		info.Rows, info.Bad = 1, []BadRow{{Row: 0, Rules: []string{"unreadable_file"}}}
	}
	g.manifest.add(source, info)
	return nil
}

// dirtyRows chooses which of n rows break a rule, and the number of the first in the series of all: before rows came in
// earlier files. The count follows from the rate alone; chance moves the places.
func dirtyRows(r *rand.Rand, rate float64, before, n int) (rows []int, first int) {
	first = int(float64(before) * rate)
	count := int(float64(before+n)*rate) - first
	for k := range count {
		at := int((float64(k) + r.Float64()) * float64(n) / float64(count))
		if len(rows) > 0 && at <= rows[len(rows)-1] {
			at = rows[len(rows)-1] + 1
		}
		if at >= n {
			break
		}
		rows = append(rows, at)
	}
	return rows, first
}
