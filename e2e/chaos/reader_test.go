//go:build unix

package chaos

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// readEvery is how often a reader asks.
	readEvery = 150 * time.Millisecond
	// readWait is how long a reader waits for an answer.
	readWait = 10 * time.Second
)

// progress is how far a history is published, as far as the one who lives it knows.
type progress struct{ submitted, published int }

// read asks one control plane in a loop, what the KPI says and what two tables say, until the shop closes. Each answer must be
// what some step published: none that is not published yet, none before one that was published when it was asked, and none
// before one that this control plane answered before.
func (s *shop) read(server int, q *quiet) {
	latest := 0
	for n := 0; s.ctx.Err() == nil; n++ {
		ask, what := revenue, "the KPI"
		if n%3 == 2 {
			ask, what = consistent, "SQL"
		}
		before := s.progress()
		answer, err := s.ask(server, ask)
		if err != nil {
			s.refused(server, what, err)
		} else {
			s.tally.count(func(c *tally) { c.answers++ })
			after := s.progress()
			at := -1
			for i := min(after.submitted, len(q.totals)-1); i >= 0 && at < 0; i-- {
				if q.totals[i] == answer {
					at = i
				}
			}
			switch {
			case at < 0:
				s.problem("%s of %s answers %s, which none of the steps up to %d has published: %v", what, s.controls[server].name, answer, after.submitted, q.totals)
			case at < before.published && q.totals[before.published] != answer:
				s.problem("%s of %s answers what step %d published, but step %d had been before it was asked", what, s.controls[server].name, at, before.published)
			case at < latest && q.totals[latest] != answer:
				s.problem("%s of %s went back from step %d to step %d", what, s.controls[server].name, latest, at)
			}
			latest = max(latest, at)
		}
		s.pause(readEvery)
	}
}

func (s *shop) ask(server int, f func(context.Context, grpc.ClientConnInterface) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, readWait)
	defer cancel()
	return f(ctx, s.conns[server])
}

// refused judges an error that a reader got: a control plane may be away, or NATS, or the disk full.
func (s *shop) refused(server int, what string, err error) {
	code := status.Code(err)
	s.tally.count(func(c *tally) { c.disturbances["(a reader got "+code.String()+")"]++ })
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return
	}
	s.mu.Lock()
	allowed := s.mayFail
	s.mu.Unlock()
	if !allowed {
		s.problem("%s of %s fails: %v", what, s.controls[server].name, err)
	}
}

func (s *shop) progress() progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}
