package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	// gather is how long changes of runs are gathered before they are told: a run of many tasks changes thousands of times.
	gather = 100 * time.Millisecond
	// signOfLife is after how long those who watch all runs hear something, though nothing changed.
	signOfLife = 15 * time.Second
)

// crowd are those who watch all runs. What changes is read once, however many they are, and not at all where there are none.
type crowd struct {
	mu      sync.Mutex
	members map[*member]bool
	// stop ends the reader.
	stop context.CancelFunc
}

// member is one of a crowd.
type member struct {
	// called says that something has changed.
	called  chan struct{}
	mu      sync.Mutex
	changed []*shoplakev1.Run
	err     error
}

// tell adds runs to what the member has not heard yet; of each run only the latest.
func (m *member) tell(runs []*shoplakev1.Run, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range runs {
		m.changed = slices.DeleteFunc(m.changed, func(old *shoplakev1.Run) bool { return old.GetName() == r.GetName() })
		m.changed = append(m.changed, r)
	}
	m.err = errors.Join(m.err, err)
	select {
	case m.called <- struct{}{}:
	default: // it was called and has not looked yet
	}
}

func (m *member) hear() ([]*shoplakev1.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := m.changed
	m.changed = nil
	return changed, m.err
}

// WatchAll calls f with the runs that are open, the newest first, then with those that changed, until f fails or ctx ends; without
// runs where nothing has changed for a while. f must not change the runs.
func (l *Log) WatchAll(ctx context.Context, f func([]*shoplakev1.Run) error) error {
	m := &member{called: make(chan struct{}, 1)}
	if err := l.join(ctx, m); err != nil {
		return fmt.Errorf("watch runs: %w", err)
	}
	defer l.leave(m)
	// What changes from here on is told besides.
	open, err := l.open(ctx)
	if err != nil {
		return fmt.Errorf("watch runs: %w", err)
	}
	if err := f(open); err != nil {
		return err
	}
	alive := time.NewTicker(signOfLife)
	defer alive.Stop()
	for {
		var changed []*shoplakev1.Run
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.called:
			if changed, err = m.hear(); err != nil {
				return fmt.Errorf("watch runs: %w", err)
			}
		case <-alive.C:
		}
		if err := f(changed); err != nil {
			return err
		}
	}
}

// open are the runs that have not ended, the newest first.
func (l *Log) open(ctx context.Context) ([]*shoplakev1.Run, error) {
	index, err := l.bus.RunIndex(ctx)
	if err != nil {
		return nil, err
	}
	var open []*shoplakev1.Run
	for _, id := range slices.Backward(index.Open()) {
		err := l.View(ctx, id, func(s *State) error {
			if !s.Terminal() {
				open = append(open, s.Run())
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return open, nil
}

// join makes a member hear of every change from now on.
func (l *Log) join(ctx context.Context, m *member) error {
	c := &l.watched
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members == nil {
		reading, stop := context.WithCancel(context.WithoutCancel(ctx))
		gaveUp := context.AfterFunc(ctx, stop)
		news, err := l.bus.WatchNewRuns(reading)
		if !gaveUp() || err != nil {
			stop()
			return errors.Join(ctx.Err(), err)
		}
		c.members, c.stop = map[*member]bool{}, stop
		go l.read(reading, news)
	}
	c.members[m] = true
	return nil
}

func (l *Log) leave(m *member) {
	c := &l.watched
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
	if c.members != nil && len(c.members) == 0 {
		c.stop()
		c.members = nil
	}
}

// read tells the crowd of the runs that change, until ctx ends.
func (l *Log) read(ctx context.Context, news <-chan string) {
	told := map[string]*shoplakev1.Run{}
	var ids []string
	var due <-chan time.Time
	for {
		select {
		case id, ok := <-news:
			if !ok {
				l.tell(ctx, nil, errors.New("the stream of their logs ended: try again"))
				return
			}
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			if due == nil {
				due = time.After(gather)
			}
			continue
		case <-due:
		}
		changed, err := l.changed(ctx, ids, told)
		l.tell(ctx, changed, err)
		if err != nil {
			return
		}
		ids, due = nil, nil
	}
}

// changed are those of the runs that look otherwise than they were told of.
func (l *Log) changed(ctx context.Context, ids []string, told map[string]*shoplakev1.Run) (changed []*shoplakev1.Run, err error) {
	for _, id := range ids {
		err := l.View(ctx, id, func(s *State) error {
			run := s.Run()
			if proto.Equal(run, told[id]) {
				return nil
			}
			changed = append(changed, run)
			told[id] = run
			if s.Terminal() {
				delete(told, id)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return changed, nil
}

// tell tells all members; after an error none are left, and the next to join makes a new reader.
func (l *Log) tell(ctx context.Context, runs []*shoplakev1.Run, err error) {
	c := &l.watched
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return // all have left, and others may have come
	}
	for m := range c.members {
		m.tell(runs, err)
	}
	if err != nil {
		c.stop()
		c.members = nil
	}
}
