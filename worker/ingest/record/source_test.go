package record

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// TestPacked reads each format plain, in gzip and in zstd, whatever the name.
func TestPacked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		data   []byte
		layout Layout
		rows   int64
	}{
		{"f.csv", orderLines(2000, true), Layout{Format: CSV, Columns: orderColumns}, 2000},
		{"f.ndjson", eventLines(2000), Layout{Format: NDJSON, Columns: eventColumns}, 2000},
		{"f.json", append(append([]byte("["), bytes.ReplaceAll(bytes.TrimSpace(eventLines(2000)), []byte("\n"), []byte(","))...), ']'), Layout{Format: NDJSON, Columns: eventColumns}, 2000},
		{"f.xlsx", zipped(t, bookParts(headerRow+`<row r="2"><c r="A2"><v>1</v></c></row>`, nil)), book, 1},
		{"f.parquet", parquetBytes(t, 10), parquetLayout, 20},
	} {
		_, want := readBytes(t, c.name, c.data, c.layout)
		for name, data := range map[string][]byte{
			c.name + ".gz": gzipped(t, c.data), c.name + ".GZIP": gzipped(t, c.data), c.name + ".zst": zstded(t, c.data), c.name: gzipped(t, c.data),
			c.name + ".zstd": append(zstded(t, c.data[:len(c.data)/2]), zstded(t, c.data[len(c.data)/2:])...),
			"two.gz":         append(gzipped(t, c.data[:len(c.data)/2]), gzipped(t, c.data[len(c.data)/2:])...),
		} {
			if name == "two.gz" && c.name == "f.json" {
				continue // only a .json file may hold an array
			}
			info, rows := readBytes(t, name, data, c.layout)
			if info.Rows != c.rows || info.Unreadable != nil {
				t.Fatalf("%s: %d rows, %v", name, info.Rows, info.Unreadable)
			}
			if diff := cmp.Diff(want, rows); diff != "" {
				t.Fatalf("%s differs from the plain file:\n%s", name, diff)
			}
		}
	}
}

// TestTruncated cuts packed files everywhere: none of their rows is delivered.
func TestTruncated(t *testing.T) {
	t.Parallel()
	csv := orderLines(200, false)
	setup := newSetup(t)
	for name, packed := range map[string][]byte{"f.csv.gz": gzipped(t, csv), "f.csv.zst": zstded(t, csv)} {
		for n := 1; n < len(packed); n++ {
			if n > 40 && n < len(packed)-40 && n%97 != 0 {
				continue
			}
			info, _ := setup.readBytes(t, name, packed[:n], Layout{Format: CSV, Columns: orderColumns})
			if info.Unreadable == nil {
				t.Fatalf("%s cut to %d of %d bytes gives %d rows", name, n, len(packed), info.Rows)
			}
		}
		for _, n := range []int{len(packed) / 2, len(packed) - 2} {
			damaged := bytes.Clone(packed)
			damaged[n] ^= 0xff
			if info, _ := readBytes(t, name, damaged, Layout{Format: CSV, Columns: orderColumns}); info.Unreadable == nil {
				t.Errorf("%s with byte %d changed gives %d rows", name, n, info.Rows)
			}
		}
		if info, _ := readBytes(t, name, append(bytes.Clone(packed), "junk"...), Layout{Format: CSV, Columns: orderColumns}); info.Unreadable == nil {
			t.Errorf("%s with junk behind it gives %d rows", name, info.Rows)
		}
	}
}

// TestTruncatedLarge cuts a packed file whose rows are long in segments when
// the fault is found.
func TestTruncatedLarge(t *testing.T) {
	t.Parallel()
	packed := gzipped(t, orderLines(250_000, false))
	landing, scratch := t.TempDir(), t.TempDir()
	writeFile(t, landing, "good.csv", orderLines(10, false))
	writeFile(t, landing, "cut.csv.gz", packed[:len(packed)-8])
	writeFile(t, landing, "whole.csv.gz", packed)
	root, err := os.OpenRoot(landing)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	layout := Layout{Format: CSV, Columns: orderColumns}
	w, err := NewWriter(scratch, layout.Columns)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int32]int64{}
	for i, name := range []string{"good.csv", "cut.csv.gz", "good.csv", "whole.csv.gz", "cut.csv.gz", "good.csv"} {
		info, err := Read(context.Background(), root, name, layout, w, i)
		if err != nil {
			t.Fatal(err)
		}
		if cut := name == "cut.csv.gz"; cut != (info.Unreadable != nil) {
			t.Fatalf("%s: %v", name, info.Unreadable)
		}
		counts[int32(i)] = info.Rows
	}
	paths, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	got := map[int32]int64{}
	for _, row := range readScratch(t, paths) {
		got[row.File]++
	}
	want := map[int32]int64{0: 10, 1: 1, 2: 10, 3: 250_000, 4: 1, 5: 10}
	if diff := cmp.Diff(want, got) + cmp.Diff(want, counts); diff != "" {
		t.Error(diff)
	}
	left, err := filepath.Glob(filepath.Join(scratch, "*"))
	if err != nil || len(left) != len(paths) {
		t.Errorf("scratch folder holds %q, the writer names %q", left, paths)
	}
}

func TestFileInfo(t *testing.T) {
	t.Parallel()
	landing := t.TempDir()
	writeFile(t, landing, "f.csv", []byte("a,z,Y\n1,2,3\n"))
	when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(landing, "f.csv"), when, when); err != nil {
		t.Fatal(err)
	}
	info, _ := readFile(t, landing, "f.csv", abc)
	hash := sha256.Sum256([]byte("a,z,Y\n1,2,3\n"))
	want := FileInfo{SHA256: hex.EncodeToString(hash[:]), Size: 12, ModTime: when, Rows: 1, ExtraColumns: []string{"Y", "z"}}
	info.ModTime = info.ModTime.UTC()
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	// The same bytes have the same hash, whether they could be read or not.
	bad, _ := readBytes(t, "f.ndjson.gz", []byte("a,z,Y\n1,2,3\n"), jsonABC)
	if bad.Unreadable == nil || bad.SHA256 != info.SHA256 {
		t.Errorf("%+v", bad)
	}
}

// TestTransient has files that are no file's fault.
func TestTransient(t *testing.T) {
	t.Parallel()
	landing, outside := t.TempDir(), t.TempDir()
	writeFile(t, outside, "secret.csv", []byte("a,b,c\n1,2,3\n"))
	writeFile(t, landing, "f.csv", []byte("a,b,c\n1,2,3\n"))
	if err := os.Symlink(filepath.Join(outside, "secret.csv"), filepath.Join(landing, "link.csv")); err != nil {
		t.Skip(err)
	}
	root, err := os.OpenRoot(landing)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w, err := NewWriter(t.TempDir(), abc.Columns)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"none.csv", "link.csv", "../secret.csv", filepath.Join(outside, "secret.csv"), "."} {
		if info, err := Read(context.Background(), root, name, abc, w, 0); err == nil {
			t.Errorf("%s is read: %+v", name, info)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Read(ended, root, "f.csv", abc, w, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for name, layout := range map[string]Layout{
		"format": {Format: "tsv", Columns: abc.Columns}, "encoding": {Format: CSV, Columns: abc.Columns, Encoding: "klingon"},
		"delimiter": {Format: CSV, Columns: abc.Columns, Delimiter: '"'}, "line end": {Format: CSV, Columns: abc.Columns, Delimiter: '\n'},
		"columns": {Format: CSV, Columns: columns("a")}, "alias": {Format: CSV, Columns: []Column{{Name: "a"}, {Name: "b", Aliases: []string{"A"}}, {Name: "c"}}},
		"name": {Format: CSV, Columns: columns("a", " ", "c")}, "rows": {Format: CSV, Columns: abc.Columns, SkipRows: -1},
	} {
		if _, err := Read(context.Background(), root, "f.csv", layout, w, 0); err == nil {
			t.Errorf("a layout with a bad %s is taken", name)
		}
	}
	paths, err := w.Close()
	if err != nil || len(paths) != 0 {
		t.Fatalf("%q %v", paths, err)
	}
}

// TestScratchFull has a scratch folder that vanishes: no file's fault either.
func TestScratchFull(t *testing.T) {
	t.Parallel()
	landing, scratch := t.TempDir(), filepath.Join(t.TempDir(), "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, landing, "f.csv", orderLines(300_000, false))
	root, err := os.OpenRoot(landing)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w, err := NewWriter(scratch, orderColumns)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(scratch); err != nil {
		t.Fatal(err)
	}
	if info, err := Read(context.Background(), root, "f.csv", Layout{Format: CSV, Columns: orderColumns}, w, 0); err == nil {
		t.Errorf("%+v", info)
	}
	if _, err := w.Close(); err == nil {
		t.Error("the failure is forgotten")
	}
}

// TestEmptyFiles has nothing in them, whatever their name promises.
func TestEmptyFiles(t *testing.T) {
	t.Parallel()
	for name, layout := range map[string]Layout{"f.csv": abc, "f.csv.gz": abc, "f.json": jsonABC, "f.xlsx": book, "f.parquet": parquetLayout} {
		if info, rows := readBytes(t, name, nil, layout); info.Unreadable != nil || len(rows) != 0 {
			t.Errorf("%s: %v", name, info.Unreadable)
		}
	}
	if info, rows := readBytes(t, "f.csv.gz", gzipped(t, nil), abc); info.Unreadable != nil || len(rows) != 0 {
		t.Errorf("gzip of nothing: %v", info.Unreadable)
	}
}

// TestJunk reads binary junk as every format.
func TestJunk(t *testing.T) {
	t.Parallel()
	junk := make([]byte, 1<<20)
	x := uint32(1)
	for i := range junk {
		x = x*1664525 + 1013904223
		junk[i] = byte(x >> 24)
	}
	zeros := make([]byte, 20<<20)
	for _, layout := range []Layout{abc, jsonABC, book, parquetLayout} {
		for _, data := range [][]byte{junk, zeros, []byte(strings.Repeat("\n", 1<<20)), []byte(strings.Repeat("\"", 1<<20+1)), []byte(strings.Repeat("[", 2<<20))} {
			readBytes(t, "f", data, layout)
			readBytes(t, "f.json", data, layout)
		}
	}
}
