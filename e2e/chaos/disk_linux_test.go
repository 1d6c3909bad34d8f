package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// diskBytes is how much a seed's disk holds.
const diskBytes = 192 << 20

// newDisk makes a small disk of its own for a folder, which a ballast file can fill; false where that is not permitted.
func newDisk(t testing.TB, dir string) bool {
	t.Helper()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return false
	}
	if err != nil {
		t.Fatalf("mount a disk at %s: %v", dir, err)
	}
	t.Cleanup(func() {
		if kept(t, dir) {
			return
		}
		// Lazily: whoever still has a file open there does not keep it.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return true
}

// clearDisks unmounts and removes the disks of tests that were killed. The name of a data folder tells whose it is.
func clearDisks() {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		var pid int
		if _, err := os.Stat(filepath.Join(dir, keepFile)); err == nil {
			continue
		}
		if _, err := fmt.Sscanf(filepath.Base(dir), folderPrefix+"%d-", &pid); err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		_ = syscall.Unmount(dir, syscall.MNT_DETACH) // it may have had no disk of its own
		_ = os.RemoveAll(dir)
	}
}

// fill takes all room of a disk, until the function returned gives it back.
func fill(dir string) (free func() error, err error) {
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Large pieces first, so that what is freed at the same moment is taken too.
	for size := 1 << 20; size > 0; size /= 16 {
		piece := make([]byte, size)
		for err == nil {
			_, err = f.Write(piece)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return nil, errors.Join(err, os.Remove(path))
		}
		err = nil
	}
	return func() error { return os.Remove(path) }, nil
}
