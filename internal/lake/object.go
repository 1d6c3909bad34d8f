package lake

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// Staging makes and names the folder of a table's staged files: <layer>/<table>/data/<run>/<stage...> in the warehouse.
// Parts that could lead elsewhere are escaped. Where the folder cannot be made, writing into it will say why.
func (l *Lake) Staging(table, run string, stage ...string) string {
	layer, name, _ := strings.Cut(table, ".")
	parts := []string{pathPart(layer), pathPart(name), "data", pathPart(run)}
	for _, s := range stage {
		parts = append(parts, pathPart(s))
	}
	rel := filepath.Join(parts...)
	_ = l.root.MkdirAll(rel, 0o755) // see above: the writer of the first file reports it
	return filepath.Join(l.warehouse, rel)
}

// pathPart escapes a name so that it is one element of a path, whatever it holds.
func pathPart(s string) string {
	switch s {
	case "", ".", "..":
		return "%" + strings.ReplaceAll(s, ".", "2E")
	}
	return url.PathEscape(s)
}

// within gives the path below the warehouse of an absolute path, or of one that is relative to the warehouse.
func (l *Lake) within(path string) (string, error) {
	rel := path
	if filepath.IsAbs(path) {
		// The caller may know the warehouse by a symbolic link.
		for _, base := range []string{l.warehouse, l.given} {
			if r, err := filepath.Rel(base, path); err == nil && filepath.IsLocal(r) {
				rel = r
				break
			}
		}
	}
	rel = filepath.Clean(rel)
	if !filepath.IsLocal(rel) || rel == "." {
		return "", fmt.Errorf("%q is not in the warehouse %s", path, l.warehouse)
	}
	return rel, nil
}

// WriteObject writes a file in the warehouse, whole or not at all, and flushes it to the disk. The path is absolute or
// relative to the warehouse; the lake's own files and tables' metadata are refused.
func (l *Lake) WriteObject(ctx context.Context, path string, data []byte) error {
	rel, err := l.within(path)
	if err != nil {
		return fmt.Errorf("write object: %w", err)
	}
	parts := strings.Split(rel, string(filepath.Separator))
	if len(parts) < 2 || len(parts) > 2 && parts[2] == "metadata" || strings.HasPrefix(filepath.Join(l.warehouse, rel), l.catalog) {
		return fmt.Errorf("write object %q: this place belongs to the lake itself", path)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write object %q: %w", path, err)
	}
	if err := failpoint.Around(ctx, failpoint.WriteObject, func() error { return l.writeWhole(rel, data) }); err != nil {
		return fmt.Errorf("write object %q: %w", path, err)
	}
	return nil
}

// writeWhole writes a file under another name, and gives it its own when it is whole.
func (l *Lake) writeWhole(rel string, data []byte) error {
	dir := filepath.Dir(rel)
	if err := l.root.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make its folder: %w", err)
	}
	temp := filepath.Join(dir, "."+uuid.NewString()+".tmp")
	if err := l.writeSynced(temp, data); err != nil {
		return err
	}
	if err := l.root.Rename(temp, rel); err != nil {
		return errors.Join(err, l.root.Remove(temp))
	}
	return l.syncFolder(dir)
}

// ReadObject reads a file in the warehouse; the path is absolute or relative to the warehouse.
// Where there is none the error wraps fs.ErrNotExist.
func (l *Lake) ReadObject(ctx context.Context, path string) ([]byte, error) {
	rel, err := l.within(path)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read object %q: %w", path, err)
	}
	data, err := l.root.ReadFile(rel)
	if err != nil {
		return nil, fmt.Errorf("read object %q: %w", path, err)
	}
	return data, nil
}

// writeSynced creates a file that must not exist yet; on failure nothing is left.
func (l *Lake) writeSynced(rel string, data []byte) (err error) {
	f, err := l.root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		err = errors.Join(err, l.root.Remove(rel))
	}
	return err
}

// syncFolder flushes a folder, so that a renamed file is found after a power loss.
func (l *Lake) syncFolder(rel string) error {
	f, err := l.root.Open(rel)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
