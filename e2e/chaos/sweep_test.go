//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shoplake/shoplake/e2e/deploy"
	"github.com/shoplake/shoplake/internal/failpoint"
	"github.com/shoplake/shoplake/internal/lake"
)

// sweepLake makes the test program one that removes the orphans of this warehouse: it can be killed and frozen at fail points.
const sweepLake = "CHAOS_SWEEP_LAKE"

// sweepAll removes the orphans of all tables, when every run has ended.
func sweepAll(ctx context.Context, warehouse string) error {
	l, err := lake.Open(ctx, lake.Config{Warehouse: warehouse})
	if err != nil {
		return err
	}
	defer l.Close()
	epoch, err := l.HighestEpoch(ctx)
	if err != nil {
		return err
	}
	tables, err := l.Tables(ctx)
	if err != nil {
		return err
	}
	for _, table := range tables {
		removed, err := l.RemoveOrphans(ctx, table, epoch, func(lake.Stored) bool { return true })
		if err = errors.Join(err, removed.Failure); err != nil {
			return err
		}
	}
	fmt.Println("swept")
	return nil
}

// sweep removes orphans in a process that fails where points are armed, and then in one that does not.
func (s *shop) sweep() {
	s.t.Helper()
	for _, armed := range []string{s.armed(nil), ""} {
		m := &member{s: s, name: "sweeper", kind: workerKind, rng: s.nats.rng}
		froze := make(chan struct{}, 1)
		heard := func(line string) {
			point, action, ok := strings.Cut(strings.TrimPrefix(line, "failpoint "), ": ")
			if !ok || !strings.HasPrefix(line, "failpoint ") {
				return
			}
			s.note("%s: fail point %s: %s", m.name, point, action)
			s.tally.count(func(c *tally) { c.fired[shot{point, action}]++ })
			if action == freeze {
				froze <- struct{}{}
			}
		}
		p, err := deploy.Start(s.t, m.name, s.dir, deploy.Environment(sweepLake+"="+s.path("lake"), failpoint.Variable+"="+armed), heard, os.Args[0])
		if err != nil {
			s.problem("%v", err)
			return
		}
		timeout := time.After(patience)
		for waiting := true; waiting; {
			select {
			case <-froze:
				time.AfterFunc(time.Second, p.Thaw) // it says so a moment before it is
			case <-p.Done():
				waiting = false
			case <-timeout:
				p.Kill()
				s.problem("orphans are not removed after %v", patience)
			}
		}
		if armed == "" && !slices.Contains(p.Last(3), "swept") {
			s.problem("orphans are not removed: %v", p.Last(5))
		}
	}
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
		if err != nil || named[path] || rel == "lake.json" || strings.HasPrefix(rel, "catalog.db") {
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
