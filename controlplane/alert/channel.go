package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// ErrUnknownChannel says that a channel is not configured.
var ErrUnknownChannel = errors.New("no such channel")

// Channels are the configured ways to reach people, by name.
type Channels struct {
	routers map[string]*router.ServiceRouter
}

// NewChannels reads channels of the form name=url, where the URL is shoutrrr's: slack://..., smtp://..., generic+https://... .
// Errors do not tell the URLs: they hold secrets.
func NewChannels(given []string) (*Channels, error) {
	c := &Channels{routers: map[string]*router.ServiceRouter{}}
	for _, one := range given {
		name, url, ok := strings.Cut(one, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.Contains(name, ":") {
			return nil, fmt.Errorf("a channel has no name: give each as name=url, with a URL of shoutrrr's (https://shoutrrr.nickfedor.com/services)")
		}
		if c.routers[name] != nil {
			return nil, fmt.Errorf("channel %s is given twice", name)
		}
		r, err := router.New(log.New(io.Discard, "", 0), strings.TrimSpace(url))
		if err != nil {
			return nil, fmt.Errorf("channel %s: its URL is not one of shoutrrr's (https://shoutrrr.nickfedor.com/services): %s", name, withoutURLs(err))
		}
		c.routers[name] = r
	}
	return c, nil
}

// Names are the configured channels, sorted.
func (c *Channels) Names() []string { return slices.Sorted(maps.Keys(c.routers)) }

// Send sends a message to a channel.
func (c *Channels) Send(ctx context.Context, channel, title, text string) error {
	r := c.routers[channel]
	if r == nil {
		return fmt.Errorf("channel %s: %w: give its URL with --channel %s=URL", channel, ErrUnknownChannel, channel)
	}
	params := types.Params{}
	params.SetTitle(title)
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(r.Send(text, &params)...) }() // it takes no context, but has a time limit of its own
	select {
	case err := <-sent:
		if err != nil {
			return fmt.Errorf("send to channel %s: %s", channel, withoutURLs(err))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("send to channel %s: %w", channel, ctx.Err())
	}
}

var anyURL = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"']+`)

// withoutURLs is an error's text without URLs, which hold tokens.
func withoutURLs(err error) string { return anyURL.ReplaceAllString(err.Error(), "[url]") }
