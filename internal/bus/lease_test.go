package bus

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLeaseResign(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	if _, err := b.Campaign(ctx, "a", time.Millisecond); err == nil {
		t.Error("a lease of a millisecond was given")
	}
	first := must[*Lease](t)(b.Campaign(ctx, "a", 2*time.Second))

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err := b.Campaign(short, "b", 2*time.Second)
	wantError(t, err, context.DeadlineExceeded)

	elected := make(chan *Lease, 1)
	go func() {
		l, err := b.Campaign(ctx, "b", 2*time.Second)
		if err != nil {
			t.Error(err)
		}
		elected <- l
	}()
	check(t, first.Resign(ctx))
	check(t, first.Resign(ctx))
	second := receive(t, ctx, elected)
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d follows %d", second.Epoch(), first.Epoch())
	}
	select {
	case <-first.Lost():
		t.Error("a lease that was given back is lost")
	default:
	}
	check(t, second.Resign(ctx))
}

// The holder renews for as long as it lives, with the same epoch.
func TestLeaseRenewal(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	l := must[*Lease](t)(b.Campaign(ctx, "a", time.Second))
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := b.Campaign(short, "b", time.Second)
	wantError(t, err, context.DeadlineExceeded)
	select {
	case <-l.Lost():
		t.Error("the lease was lost")
	default:
	}
	epoch := l.Epoch()
	check(t, l.Resign(ctx))
	next := must[*Lease](t)(b.Campaign(ctx, "a", time.Second))
	if next.Epoch() <= epoch {
		t.Errorf("epoch %d follows %d", next.Epoch(), epoch)
	}
	check(t, next.Resign(ctx))
}

// A holder that is cut off steps down before another is elected.
func TestLeaseFailOver(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := startTestServer(t, ServerConfig{})
	standby := other(t, s)
	check(t, standby.Setup(ctx))
	p := startProxy(t, strings.TrimPrefix(s.URL(), "nats://"))
	cut := connect(t, Config{URL: "nats://" + p.listener.Addr().String(), CredentialsFile: s.CredentialsFile()})
	first := must[*Lease](t)(cut.Campaign(ctx, "a", time.Second))
	elected := make(chan *Lease, 1)
	steppedDown := make(chan bool, 1)
	go func() {
		l, err := standby.Campaign(ctx, "b", time.Second)
		if err != nil {
			t.Error(err)
		}
		select {
		case <-first.Lost():
			steppedDown <- true
		default:
			steppedDown <- false
		}
		elected <- l
	}()
	begin := time.Now()
	p.set(true)
	second := receive(t, ctx, elected)
	t.Logf("failed over in %v", time.Since(begin))
	if !<-steppedDown {
		t.Error("two held the lease")
	}
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d follows %d", second.Epoch(), first.Epoch())
	}
	p.set(false)
	check(t, first.Resign(ctx)) // does nothing
	select {
	case <-second.Lost():
		t.Error("the former holder took the lease from the present one")
	default:
	}
	check(t, second.Resign(ctx))
}

// Whoever finds that another wrote the key steps down at once.
func TestLeaseTaken(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	l := must[*Lease](t)(b.Campaign(ctx, "a", 3*time.Second))
	if _, err := b.js.Publish(ctx, leaseSubject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	receiveClosed(t, ctx, l.Lost())
	if d := time.Since(begin); d > 2500*time.Millisecond {
		t.Errorf("stepped down after %v", d)
	}
}

func TestLeaseOneHolder(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := setup(t)
	var holders atomic.Int32
	var last atomic.Uint64
	var wg sync.WaitGroup
	wg.Go(func() { // whatever raises the epochs meanwhile
		for range 20 {
			if _, err := b.RaiseEpochs(ctx, last.Load()+5); err != nil {
				t.Error(err)
			}
		}
	})
	for range 6 {
		wg.Go(func() {
			l, err := b.Campaign(ctx, "a", 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			if holders.Add(1) != 1 {
				t.Error("two hold the lease")
			}
			if last.Swap(l.Epoch()) >= l.Epoch() {
				t.Error("the epoch did not grow")
			}
			holders.Add(-1)
			if err := l.Resign(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func receiveClosed(t *testing.T, ctx context.Context, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-ctx.Done():
		t.Fatal("channel was not closed")
	}
}
