package bus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A disk that was full for a while stops nobody for longer: what could not be stored is stored when there is room, and all that
// was acknowledged is there.
func TestDiskIsFullForAWhile(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("this test needs the right to mount a small disk: %v", err)
	}
	t.Cleanup(func() { check(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	s := startTestServer(t, ServerConfig{StoreDir: dir})
	inside, outside := connect(t, Config{Server: s}), other(t, s)
	check(t, inside.Setup(ctx))
	url := s.URL()
	inner := s.running()
	var seq uint64
	for range 50 {
		seq = must[uint64](t)(inside.AppendRun(ctx, "RUN1", seq, submitted("before")))
	}

	ballast := filepath.Join(dir, "ballast")
	f := must[*os.File](t)(os.Create(ballast))
	for size := 1 << 20; size > 0; size /= 16 {
		for {
			if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
				break
			} else {
				check(t, err)
			}
		}
	}
	check(t, f.Close())
	// Until the server can't write any more: a little fits into what it has already.
	attempt, tooLong := context.WithTimeout(ctx, 30*time.Second)
	defer tooLong()
	var err error
	for one := time.Duration(0); err == nil && attempt.Err() == nil; {
		one = 2 * time.Second
		short, cancel := context.WithTimeout(attempt, one)
		var next uint64
		if next, err = outside.AppendRun(short, "RUN1", seq, submitted("full")); err == nil {
			seq = next
		}
		cancel()
	}
	if !errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("the disk is full, but an append ends with: %v", err)
	}
	check(t, os.Remove(ballast))

	logged := must[[]LoggedEvents](t)(outside.ReadRun(ctx, "RUN1", 0))
	if last := logged[len(logged)-1].Seq; last < seq {
		t.Fatalf("the log ends at %d, but %d was acknowledged", last, seq)
	} else {
		seq = last
	}
	for _, b := range []*Bus{inside, outside} {
		seq = must[uint64](t)(b.AppendRun(ctx, "RUN1", seq, submitted("after")))
	}
	if s.running() == inner {
		t.Error("the server was not started again")
	}
	if s.URL() != url {
		t.Errorf("the server is at %s now, was at %s", s.URL(), url)
	}
}
