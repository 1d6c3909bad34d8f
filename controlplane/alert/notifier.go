package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
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
	Runs   Runs
	Store  Store
	Sender Sender
	// PublicURL is where people reach the page, without a slash at the end; no links where empty.
	PublicURL string
	Log       *slog.Logger

	stop  context.CancelFunc
	ended chan struct{}
}

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
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryPause):
			}
		}
	}()
}

const (
	// sendTime bounds how long a message may take.
	sendTime = 30 * time.Second
	// sendTries is how often a message is tried: then it is in the log alone, and later ones have their turn.
	sendTries = 3
	// retryPause is how long it waits after it could not read what ended, or not remember what it told.
	retryPause = 5 * time.Second
)

// Run tells of what ends, until ctx ends. After a crash between sending and remembering, a message comes twice; none is left out.
func (n *Notifier) Run(ctx context.Context) error {
	err := n.Runs.WatchEnded(ctx, func(e Ended) error {
		return n.tell(ctx, func(m Memory) (*Notice, Memory) { return OnEnded(m, e, n.link(e.RunID)) })
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		err = errors.New("the stream of runs ended")
	}
	return fmt.Errorf("tell people of runs that end: %w", err)
}

// Late tells that a flow is late for a nominal time.
func (n *Notifier) Late(ctx context.Context, flow string, nominal time.Time, why string, channels []string) error {
	return n.tell(ctx, func(m Memory) (*Notice, Memory) { return OnLate(m, flow, nominal, why, channels) })
}

func (n *Notifier) link(runID string) string {
	if n.PublicURL == "" {
		return "shoplake runs get " + runID
	}
	return n.PublicURL + "/runs/" + runID
}

func (n *Notifier) tell(ctx context.Context, decide func(Memory) (*Notice, Memory)) error {
	data, revision, err := n.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("read what people were told: %w", err)
	}
	memory := Memory{Flows: map[string]Told{}}
	if len(data) > 0 {
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

func (n *Notifier) send(ctx context.Context, notice *Notice) {
	channels := notice.Channels
	if len(channels) == 0 {
		channels = n.Sender.Names()
	}
	for _, channel := range channels {
		about := []any{"kind", notice.Kind, "flow", notice.Flow, "run", notice.RunID, "channel", channel}
		if err := n.sendTo(ctx, channel, notice); err != nil {
			n.Log.WarnContext(ctx, "people could not be told", append(about, "title", notice.Title, "error", err)...)
			continue
		}
		n.Log.InfoContext(ctx, "people were told", about...)
	}
}

func (n *Notifier) sendTo(ctx context.Context, channel string, notice *Notice) error {
	var err error
	for range sendTries {
		sending, cancel := context.WithTimeout(ctx, sendTime)
		err = n.Sender.Send(sending, channel, notice.Title, notice.Text)
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnknownChannel) {
			return err
		}
	}
	return err
}
