package record

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/transform"
)

// input is an opened landing file. Its bytes are hashed once, in order, as they
// lie.
type input struct {
	name     string
	file     *os.File
	size     int64
	modified time.Time
	hash     hash.Hash
	fault    error // the file's bytes could not be had; nobody's fault
}

func openInput(root *os.Root, name string) (*input, error) {
	// Looked at before it is opened: opening a named pipe waits for a writer.
	if info, err := root.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &input{name: name, file: f, size: info.Size(), modified: info.ModTime(), hash: sha256.New()}, nil
}

func (in *input) close() { in.file.Close() }

// Read reads on and hashes.
func (in *input) Read(p []byte) (int, error) {
	n, err := in.file.Read(p)
	in.hash.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		in.fault = err
	}
	return n, err
}

// ReadAt reads anywhere, without hashing.
func (in *input) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > in.size {
		return 0, fmt.Errorf("offset %d is outside of the file", off) // a corrupt file names it
	}
	n, err := in.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		in.fault = err
	}
	return n, err
}

// finish hashes what was not read, and tells whether what was read can be
// relied on: an error is transient.
func (in *input) finish(ctx context.Context) error {
	if in.fault != nil {
		return in.fault
	}
	if _, err := io.Copy(io.Discard, stopper{ctx, in}); err != nil {
		return err
	}
	info, err := in.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != in.size || !info.ModTime().Equal(in.modified) {
		return ErrChanged
	}
	return ctx.Err()
}

// stopper ends reading when ctx ends.
type stopper struct {
	ctx context.Context
	r   io.Reader
}

func (s stopper) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// unpack returns the file's bytes, decompressed if they are gzip or zstd by
// content; a name that promises a compression which is not there is a fault.
// stop frees what the decompressor holds.
func unpack(ctx context.Context, in *input) (r io.Reader, stop func(), err error) {
	stop = func() {}
	plain := bufio.NewReaderSize(stopper{ctx, in}, 1<<18)
	head, err := plain.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, stop, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(plain)
		if err != nil {
			return nil, stop, fmt.Errorf("unpack gzip: %w", err)
		}
		return &unpacked{r: z, what: "gzip", packed: in.size}, stop, nil
	case zstdFrame(head):
		z, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, stop, fmt.Errorf("unpack zstd: %w", err)
		}
		return &unpacked{r: z, what: "zstd", packed: in.size}, z.Close, nil
	case packedName(in.name):
		return nil, stop, fmt.Errorf("named %s, but its content is neither gzip nor zstd", path.Ext(in.name))
	}
	return plain, stop, nil
}

// packings are the extensions of compressed files.
var packings = []string{".gz", ".gzip", ".zst", ".zstd"}

func packedName(name string) bool { return unpackedName(name) != strings.ToLower(name) }

// unpackedName is name in lower case without such an extension.
func unpackedName(name string) string {
	name = strings.ToLower(name)
	for _, packing := range packings {
		if cut, found := strings.CutSuffix(name, packing); found {
			return cut
		}
	}
	return name
}

// zstdFrame tells a zstd frame or a skippable one.
func zstdFrame(head []byte) bool {
	return len(head) == 4 && (string(head) == "\x28\xb5\x2f\xfd" || head[0]&0xf0 == 0x50 && string(head[1:]) == "\x2a\x4d\x18")
}

// unpacked bounds what a compressed file may unpack to.
type unpacked struct {
	r      io.Reader
	what   string
	packed int64
	out    int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.out += int64(n)
	if u.out > 1<<30 && u.out/MaxUnpackRatio > u.packed {
		return n, fmt.Errorf("unpack %s: %d bytes unpack to more than %d times that; taken for a bomb", u.what, u.packed, MaxUnpackRatio)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("unpack %s: %w", u.what, err)
	}
	return n, err
}

// ahead reads, decompresses and hashes in a goroutine of its own while the
// records before are taken apart.
type ahead struct {
	full  chan chunk
	free  chan []byte
	done  chan struct{} // closed by close
	ended chan struct{} // closed when the goroutine has ended
	now   chunk
	at    int
}

type chunk struct {
	data []byte
	err  error
}

func readAhead(r io.Reader, size int64) *ahead {
	const chunks = 3
	a := &ahead{
		full: make(chan chunk, chunks), free: make(chan []byte, chunks),
		done: make(chan struct{}), ended: make(chan struct{}),
	}
	for range chunks {
		a.free <- make([]byte, size)
	}
	go func() {
		defer close(a.ended)
		for {
			var buf []byte
			select {
			case buf = <-a.free:
			case <-a.done:
				return
			}
			var n int
			var err error
			for n < len(buf) && err == nil {
				var m int
				m, err = r.Read(buf[n:])
				n += m
			}
			select {
			case a.full <- chunk{buf[:n], err}:
			case <-a.done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	for a.at == len(a.now.data) {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.data != nil {
			a.free <- a.now.data[:cap(a.now.data)]
		}
		a.now, a.at = <-a.full, 0
	}
	n := copy(p, a.now.data[a.at:])
	a.at += n
	return n, nil
}

// close ends the goroutine and waits for it.
func (a *ahead) close() {
	close(a.done)
	<-a.ended
}

// window holds the part of a text that is being taken apart.
type window struct {
	src io.Reader
	buf []byte
	pos int // next byte to take
	end int // bytes in buf
	err error
}

// newWindow makes a window of size bytes, which doubles until it holds a record
// a little longer than MaxRecordBytes.
func newWindow(src io.Reader, size int64) *window {
	return &window{src: src, buf: make([]byte, size)}
}

// fill gets more bytes behind those not yet taken, growing buf when they fill
// it, and tells whether there were any. It may move what is in buf.
func (w *window) fill() bool {
	if w.err != nil {
		return false
	}
	if w.pos > 0 {
		copy(w.buf, w.buf[w.pos:w.end])
		w.pos, w.end = 0, w.end-w.pos
	}
	if w.end == len(w.buf) {
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
	had := w.end
	for w.end < len(w.buf) && w.err == nil {
		var n int
		n, w.err = w.src.Read(w.buf[w.end:])
		w.end += n
	}
	return w.end > had
}

// rest is what is in buf and not yet taken.
func (w *window) rest() []byte { return w.buf[w.pos:w.end] }

// skipBOM takes the byte order mark of UTF-8, if the text begins with one.
func (w *window) skipBOM() {
	if bytes.HasPrefix(w.rest(), []byte("\xef\xbb\xbf")) {
		w.pos += 3
	}
}

// overfull tells whether a record that begins at pos and has not ended is too long.
func (w *window) overfull() bool { return w.end-w.pos > MaxRecordBytes+2 }

// fault is why no more bytes came, nil at the text's proper end.
func (w *window) fault() error {
	if w.err == io.EOF {
		return nil
	}
	return w.err
}

// openText unpacks a file of text, checks that it begins like text, and reads
// ahead. stop must be called.
func openText(ctx context.Context, in *input, enc *encoding) (w *window, stop func(), err error) {
	packed, stop, err := unpack(ctx, in)
	if err != nil {
		return nil, stop, err
	}
	// A small file needs no large buffers, packed or not.
	size := min(in.size*8, 1<<20) + 64
	a := readAhead(packed, size/4)
	free := stop
	stop = func() { a.close(); free() }
	var src io.Reader = a
	if enc.wide != nil {
		src = transform.NewReader(a, enc.wide.NewDecoder())
	}
	w = newWindow(src, size)
	w.fill()
	if what := foreign(w.rest()); what != "" {
		return nil, stop, fmt.Errorf("it is %s", what)
	}
	w.skipBOM()
	return w, stop, nil
}
