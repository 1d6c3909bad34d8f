package worker

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
	// scratchLock is the file in a worker's scratch folder that is locked for as long as the worker runs.
	scratchLock = "lock"
	// claimTries and claimPause bound how long a folder is waited for that another worker is clearing.
	claimTries = 20
	claimPause = 100 * time.Millisecond
)

// errLocked says that a running worker holds a lock.
var errLocked = errors.New("a running worker holds the lock")

// scratch is a worker's own folder.
type scratch struct {
	folder string
	unlock func()
}

// claimScratch makes a worker's own folder below root, empty, and clears those of workers that no longer run: the kernel lets go
// of a process's locks when it ends, however it ends.
func claimScratch(ctx context.Context, root, id string, log *slog.Logger) (*scratch, error) {
	if id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return nil, fmt.Errorf("the worker's id %q cannot name a folder: use letters, digits, - and _ only", id)
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
	unlock, err := lockScratch(made, true)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(made))
	}
	s := &scratch{folder: filepath.Join(root, id), unlock: unlock}
	for range claimTries {
		if err = os.Rename(made, s.folder); err == nil {
			return s, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		// A dead worker of the same id, or one that is alive after all.
		if err = clearFolder(s.folder); err != nil {
			err = fmt.Errorf("%w: give each worker an id of its own", err)
			pause(ctx, claimPause)
		}
	}
	unlock()
	return nil, errors.Join(err, os.RemoveAll(made))
}

// release removes the folder.
func (s *scratch) release() error {
	defer s.unlock()
	return os.RemoveAll(s.folder)
}

// clearDead removes the folders below root whose workers no longer run.
func clearDead(root string, log *slog.Logger) {
	entries, err := os.ReadDir(root)
	if err != nil {
		log.Warn("could not look for scratch folders of dead workers", "error", err)
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		folder := filepath.Join(root, entry.Name())
		switch err := clearFolder(folder); {
		case err == nil:
			log.Info("removed the scratch folder of a worker that no longer runs", "folder", folder)
		case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist), errors.Is(err, errors.ErrUnsupported):
			// It runs, is no worker's, was cleared by another just now, or nobody can tell.
		default:
			log.Warn("could not remove the scratch folder of a dead worker", "folder", folder, "error", err)
		}
	}
}

// clearFolder removes a worker's folder unless the worker runs (errLocked).
func clearFolder(folder string) error {
	unlock, err := lockScratch(folder, false)
	if err != nil {
		return err
	}
	defer unlock()
	return os.RemoveAll(folder)
}
