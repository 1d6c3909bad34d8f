// Package scratch gives each process a folder of its own for what may be lost, and clears those of processes that died.
package scratch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// lockFile is the file in a scratch folder that is locked for as long as its owner runs.
	lockFile = "lock"
	// claimTries and claimPause bound how long a folder is waited for that another process is clearing.
	claimTries = 20
	claimPause = 100 * time.Millisecond
)

// ErrLocked says that the folder's owner runs.
var ErrLocked = errors.New("a running process holds the lock")

// Folder is an owner's own folder.
type Folder struct {
	Path   string
	unlock func()
}

// Claim makes an owner's folder below root, empty, and clears those of owners that no longer run: the kernel lets go of a
// process's locks when it ends, however it ends.
func Claim(ctx context.Context, root, id string, log *slog.Logger) (*Folder, error) {
	if id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return nil, fmt.Errorf("the id %q cannot name a folder: use letters, digits, - and _ only", id)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	clearDead(root, log)
	// The folder gets its name when it is locked already, so that nobody takes it for a dead one's.
	made, err := os.MkdirTemp(root, ".new-*")
	if err != nil {
		return nil, err
	}
	unlock, err := lock(made, true)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(made))
	}
	f := &Folder{Path: filepath.Join(root, id), unlock: unlock}
	for range claimTries {
		if err = os.Rename(made, f.Path); err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		// A dead owner of the same id, or one that is alive after all.
		if err = clearFolder(f.Path); err != nil {
			err = fmt.Errorf("%w: give each process an id of its own", err)
			select {
			case <-ctx.Done():
			case <-time.After(claimPause):
			}
		}
	}
	unlock()
	return nil, errors.Join(err, os.RemoveAll(made))
}

// Release removes the folder.
func (f *Folder) Release() error {
	defer f.unlock()
	return os.RemoveAll(f.Path)
}

// clearDead removes the folders below root whose owners no longer run.
func clearDead(root string, log *slog.Logger) {
	entries, err := os.ReadDir(root)
	if err != nil {
		log.Warn("could not look for scratch folders of dead processes", "error", err)
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		folder := filepath.Join(root, entry.Name())
		switch err := clearFolder(folder); {
		case err == nil:
			log.Info("removed the scratch folder of a process that no longer runs", "folder", folder)
		case errors.Is(err, ErrLocked), errors.Is(err, fs.ErrNotExist), errors.Is(err, errors.ErrUnsupported):
			// It runs, is nobody's of ours, was cleared by another just now, or nobody can tell.
		default:
			log.Warn("could not remove the scratch folder of a dead process", "folder", folder, "error", err)
		}
	}
}

// clearFolder removes an owner's folder unless the owner runs (ErrLocked).
func clearFolder(folder string) error {
	unlock, err := lock(folder, false)
	if err != nil {
		return err
	}
	defer unlock()
	return os.RemoveAll(folder)
}
