package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Runs tells of runs that ended.
type Runs interface {
	// WatchEnded calls f with each run that ended: the latest that ended before, the oldest first, then each that ends, until
	// ctx ends or f fails. A run may be told twice.
	WatchEnded(ctx context.Context, f func(Ended) error) error
}

// Store keeps what was told. Save fails with an error where somebody else saved since Load.
type Store interface {
	Load(ctx context.Context) (value []byte, revision uint64, err error)
	Save(ctx context.Context, value []byte, revision uint64) error
}

// Sender reaches people.
type Sender interface {
	// Names are all channels.
	Names() []string
	Send(ctx context.Context, channel, title, text string) error
}

// Notifier tells people of runs. One at a time works on a store: that of the process that leads.
type Notifier struct {
	Config
	// late are flows that people are to be told of.
	late chan late
	// telling is held while people are told, and that is remembered.
	telling sync.Mutex

	stop  context.CancelFunc
	ended chan struct{}
}

// Config is what a notifier works with.
type Config struct {
	Runs   Runs
	Store  Store
	Sender Sender
	// PublicURL is where people reach the page, without a slash at the end; no links where empty.
	PublicURL string
	Log       *slog.Logger
}

// late is a flow that is late for a nominal time.
type late struct {
	flow     string
	nominal  time.Time
	why      string
	channels []string
}

const (
	// sendTime bounds how long a message may take.
	sendTime = 30 * time.Second
	// sendTries is how often a message is tried: then it is in the log alone, and later ones have their turn. Between them it waits
	// for sendPause at first, and each time sendGrowth times as long: a server that is started anew is back by then.
	sendTries  = 5
	sendPause  = 200 * time.Millisecond
	sendGrowth = 4
	// retryPause is how long it waits after it could not read what ended, or not remember what it told.
	retryPause = 5 * time.Second
	// lateWaiting bounds the flows that are late and that nobody was told of yet.
	lateWaiting = 64
)

// New returns a notifier; Lead starts it.
func New(c Config) *Notifier { return &Notifier{Config: c, late: make(chan late, lateWaiting)} }

// Lead starts and stops the notifier as this process begins and ceases to lead. Calls must not overlap.
func (n *Notifier) Lead(ctx context.Context, leads bool) {
	if n.stop != nil {
		n.stop()
		<-n.ended
		n.stop = nil
	}
	if !leads {
		return
	}
	ctx, n.stop = context.WithCancel(ctx)
	n.ended = make(chan struct{})
	go func() {
		defer close(n.ended)
		for {
			err := n.Run(ctx)
			if ctx.Err() != nil {
				return
			}
			n.Log.WarnContext(ctx, "people may not be told of runs; trying again", "error", err)
			if !wait(ctx, retryPause) {
				return
			}
		}
	}()
}

// wait waits for d, or until ctx ends, which it tells by false.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Run tells of what ends and what is late, until ctx ends. After a crash between sending and remembering, a message comes twice;
// none is left out.
func (n *Notifier) Run(ctx context.Context) error {
	if err := n.begin(ctx); err != nil {
		return err
	}
	all, working := errgroup.WithContext(ctx)
	all.Go(func() error { return n.tellLate(working) })
	all.Go(func() error {
		err := n.Runs.WatchEnded(working, func(e Ended) error {
			return n.tell(working, func(m Memory) (*Notice, Memory) { return OnEnded(m, e, n.link(e.RunID)) })
		})
		if err == nil {
			err = errors.New("the stream of runs ended")
		}
		return fmt.Errorf("tell people of runs that end: %w", err)
	})
	err := all.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// begin remembers, where nobody was told anything yet, since when people are told: what ended before is no news.
func (n *Notifier) begin(ctx context.Context) error {
	return n.tell(ctx, func(m Memory) (*Notice, Memory) {
		if m.Flows == nil {
			m = Memory{Flows: map[string]Told{}, Since: time.Now()}
		}
		return nil, m
	})
}

// tellLate tells of flows that are late.
func (n *Notifier) tellLate(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-n.late:
			err := n.tell(ctx, func(m Memory) (*Notice, Memory) { return OnLate(m, l.flow, l.nominal, l.why, l.channels) })
			if err != nil {
				return errors.Join(fmt.Errorf("tell people that flow %s is late: %w", l.flow, err), n.Late(l.flow, l.nominal, l.why, l.channels))
			}
		}
	}
}

// Late lets people be told that a flow is late for a nominal time. It does not wait until they are: a channel may take long.
func (n *Notifier) Late(flow string, nominal time.Time, why string, channels []string) error {
	select {
	case n.late <- late{flow, nominal, why, channels}:
		return nil
	default:
		return fmt.Errorf("%d notices wait already: are the channels to be reached?", lateWaiting)
	}
}

func (n *Notifier) link(runID string) string {
	if n.PublicURL == "" {
		return "shoplake runs get " + runID
	}
	return n.PublicURL + "/runs/" + runID
}

func (n *Notifier) tell(ctx context.Context, decide func(Memory) (*Notice, Memory)) error {
	n.telling.Lock()
	defer n.telling.Unlock()
	data, revision, err := n.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("read what people were told: %w", err)
	}
	var memory Memory
	if len(data) > 0 {
		memory.Flows = map[string]Told{}
		if err := json.Unmarshal(data, &memory); err != nil {
			return fmt.Errorf("read what people were told: %w: the record was written by another version", err)
		}
	}
	notice, next := decide(memory)
	if notice != nil {
		n.send(ctx, notice)
	}
	encoded, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("remember what people were told: %w", err)
	}
	if string(encoded) == string(data) {
		return nil
	}
	if err := n.Store.Save(ctx, encoded, revision); err != nil {
		return fmt.Errorf("remember what people were told: %w", err)
	}
	return nil
}

// send sends to all channels at once: one that can't be reached does not keep the others waiting.
func (n *Notifier) send(ctx context.Context, notice *Notice) {
	channels := notice.Channels
	if len(channels) == 0 {
		channels = n.Sender.Names()
	}
	var sending sync.WaitGroup
	for _, channel := range channels {
		sending.Go(func() {
			about := []any{"kind", notice.Kind, "flow", notice.Flow, "run", notice.RunID, "channel", channel}
			if err := n.sendTo(ctx, channel, notice); err != nil {
				n.Log.WarnContext(ctx, "people could not be told", append(about, "title", notice.Title, "error", err)...)
				return
			}
			n.Log.InfoContext(ctx, "people were told", about...)
		})
	}
	sending.Wait()
}

func (n *Notifier) sendTo(ctx context.Context, channel string, notice *Notice) error {
	for pause, try := sendPause, 1; ; pause, try = pause*sendGrowth, try+1 {
		sending, cancel := context.WithTimeout(ctx, sendTime)
		err := n.Sender.Send(sending, channel, notice.Title, notice.Text)
		cancel()
		if err == nil || try == sendTries || errors.Is(err, ErrUnknownChannel) || !wait(ctx, pause) {
			return err
		}
	}
}
