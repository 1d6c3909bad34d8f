//go:build unix

package chaos

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/worker"
)

const (
	// maintenance compacts and removes orphans, purge forgets all snapshots besides that nobody needs.
	maintenance = "flows/maintenance"
	purge       = "flows/purge"
	// maintenancePlans is where plans of maintenance lie in the lake; the last one's stay.
	maintenancePlans = "maintenance" + string(filepath.Separator)
)

// purge forgets old snapshots and removes orphans, twice: disturbed, and in peace.
func (s *shop) purge(rng *rand.Rand) {
	s.t.Helper()
	s.maintain(s.draw(rng))
	s.disturbing.Wait()
	s.idle()
	s.maintain(nil)
}

// idle waits until the queue is empty, and then ends the workers: one that was stalled may only now begin a task that another did
// long ago, and what it writes would be there for the next maintenance.
func (s *shop) idle() {
	s.t.Helper()
	s.whole("wait for an empty queue", func(ctx context.Context, _ grpc.ClientConnInterface) error {
		waiting, pending, err := s.bus.Queue(ctx, worker.DefaultPool)
		if err == nil && waiting+pending > 0 {
			err = fmt.Errorf("%d tasks wait and %d are with workers", waiting, pending)
		}
		return err
	})
	for _, m := range s.workers {
		m.kill()
	}
}

// maintain runs the purge until it has succeeded.
func (s *shop) maintain(disturbances []disturbance) {
	s.t.Helper()
	for try := 1; ; try++ {
		s.note("purge: %v", disturbances)
		run := s.runOf(purge, disturbances)
		s.note("%s ended as %v: %v %q", run.GetName(), run.GetState(), run.GetError(), run.GetNotices())
		s.tally.count(func(c *tally) { c.runs["purge "+strings.TrimPrefix(run.GetState().String(), "RUN_STATE_")]++ })
		switch {
		case run.GetState() == shoplakev1.RunState_RUN_STATE_SUCCEEDED:
			return
		case !s.failureAllowed() || try == 8:
			s.problem("the purge %s ended as %v: %v", run.GetName(), run.GetState(), run.GetError())
			s.t.FailNow()
		}
		s.disturbing.Wait()
	}
}

// runOf runs a flow under disturbances.
func (s *shop) runOf(flow string, disturbances []disturbance) *shoplakev1.Run {
	s.t.Helper()
	ctx, stop := context.WithTimeout(s.ctx, patience)
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	for _, d := range disturbances {
		s.arm(d, ended)
	}
	return s.awaitEnd(ctx, s.submit(ctx, &shoplakev1.SubmitRunRequest{Flow: flow, RequestId: uuid.NewString()}))
}

// wantNoOrphans sees that what lies below the tables is what metadata names, and that nothing lies beside the tables.
func (s *shop) wantNoOrphans(l *lake.Lake) {
	s.t.Helper()
	ctx := context.WithoutCancel(s.ctx)
	tables, err := l.Tables(ctx)
	if err != nil {
		s.problem("%v", err)
		return
	}
	named := map[string]bool{}
	for _, table := range tables {
		files, err := l.NamedFiles(ctx, table)
		if err != nil {
			s.problem("%v", err)
			return
		}
		for _, file := range files {
			named[file] = true
		}
	}
	err = filepath.WalkDir(l.Warehouse(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(l.Warehouse(), path)
		if err != nil || named[path] || rel == "lake.json" || strings.HasPrefix(rel, "catalog.db") || strings.HasPrefix(rel, maintenancePlans) {
			delete(named, path)
			return err
		}
		s.problem("after orphans were removed there is %s, which nothing names", rel)
		return nil
	})
	if err != nil {
		s.problem("%v", err)
	}
	for path := range named {
		s.problem("after orphans were removed %s is gone, which is named", path)
	}
}
