package lake

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	icebergio "github.com/apache/iceberg-go/io"
)

// durable is the local file system as the library writes metadata to it: what a catalog names after a power cut has to be there
// as well.
type durable struct{ icebergio.LocalFS }

// Every table's files are reached by their path, or by a URL where a path would be spelt in another way.
func init() {
	for _, scheme := range []string{"", "file"} {
		icebergio.Unregister(scheme)
		icebergio.Register(scheme, func(context.Context, *url.URL, map[string]string) (icebergio.IO, error) { return durable{}, nil })
	}
}

// Create makes a file that is flushed when it is closed.
func (d durable) Create(name string) (icebergio.FileWriter, error) {
	w, err := d.LocalFS.Create(name)
	if err != nil {
		return nil, err
	}
	f, ok := w.(*os.File)
	if !ok {
		return nil, errors.Join(fmt.Errorf("create %s: it is no local file, but %T", name, w), w.Close())
	}
	return flushedFile{f}, nil
}

// WriteFile writes a whole file.
func (d durable) WriteFile(name string, content []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

type flushedFile struct{ *os.File }

func (f flushedFile) Close() error { return errors.Join(flush(f.File), f.File.Close()) }

// onFlush is told of each file that was flushed, where a test wants to know.
var onFlush atomic.Pointer[func(path string)]

// flush brings a file, and the name that its folder has of it, to the disk.
func flush(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", f.Name(), err)
	}
	folder, err := os.Open(filepath.Dir(f.Name()))
	if err != nil {
		return fmt.Errorf("flush the folder of %s: %w", f.Name(), err)
	}
	defer folder.Close() //nolint:errcheck // opened to flush only
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("flush the folder of %s: %w", f.Name(), err)
	}
	if told := onFlush.Load(); told != nil {
		(*told)(f.Name())
	}
	return nil
}
