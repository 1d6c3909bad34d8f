// Package dashboard is the web page: its built files, embedded, and how they are served. The sources are in web/; make
// dashboard builds them into dist/, which is committed, so that building the program needs no Node.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// policy is what the page may do: run its own scripts, use its own styles, call its own server, and nothing else. Elements
// may be styled by script, not by text in the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pages are the paths that show the page; what follows them is for its scripts.
var pages = []string{"/{$}", "/quality", "/quality/", "/pipeline", "/runs/", "/tables", "/tables/"}

// file is a built file, ready to be sent.
type file struct {
	media string
	tag   string
	// forever says that the name holds a hash of the content: another content has another name.
	forever      bool
	plain, small []byte
}

// Paths are the patterns to serve and what serves them.
func Paths() (map[string]http.Handler, error) {
	built, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, fmt.Errorf("open the dashboard's files: %w", err)
	}
	handlers := map[string]http.Handler{}
	err = fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := prepare(built, name)
		if err != nil {
			return err
		}
		if name != "index.html" {
			handlers["GET /"+name] = f
			return nil
		}
		for _, pattern := range pages {
			handlers["GET "+pattern] = f
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the dashboard's files: %w", err)
	}
	return handlers, nil
}

func prepare(from fs.FS, name string) (*file, error) {
	content, err := fs.ReadFile(from, name)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(content)
	return &file{
		media: media(name), tag: `"` + hex.EncodeToString(hash[:12]) + `"`, forever: strings.HasPrefix(name, "assets/"), plain: content, small: packed.Bytes(),
	}, nil
}

// media is a file's type; said here, since the machine's own tables differ.
func media(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// ServeHTTP sends the file, packed where the browser can read that.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.media)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("ETag", f.tag)
	h.Set("Vary", "Accept-Encoding")
	// The page itself is asked for each time, and names the files of its version; these never change.
	h.Set("Cache-Control", "no-cache")
	if f.forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	content := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		content = f.small
	}
	h.Set("Content-Length", fmt.Sprint(len(content)))
	if r.Method != http.MethodHead {
		w.Write(content) // whoever went away needs no answer
	}
}
