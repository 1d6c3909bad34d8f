// Package bus is what Shoplake's processes say to each other through NATS JetStream: the log of each run, the tasks and
// the reports of workers, the coordinator's lease, and the few records that must last. It alone knows NATS.
//
// Every message is a protobuf of shoplake.dispatch.v1. Calls wait for a server that is away until their context ends, so
// give each call that must not wait a context with a deadline.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Protocol is the version of the messages that this program writes and reads. Another one is refused, never guessed.
const Protocol = 1

// MaxPayload is the largest message in bytes, headers included. What may be larger lies in the lake, and its path is sent.
const MaxPayload = 1 << 20

// MaxMessage is what a message's content may take of MaxPayload, in bytes: proto.Size of events appended together, for example.
const MaxMessage = MaxPayload - headerRoom

// MaxReport is the most that a report takes, in bytes; texts of a larger one are cut. Some fit into one message of a run's log.
const MaxReport = MaxMessage / 8

var (
	// ErrConflict means that somebody else wrote first: read again, and decide again.
	ErrConflict = errors.New("somebody else wrote first")
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrProtocol means a message of another protocol version, or one that cannot be read.
	ErrProtocol = errors.New("message cannot be read by this version of shoplake")
	// ErrShort means a log that ends before the sequence from which it was to be read.
	ErrShort = errors.New("the log ends before that")
	// ErrTooLarge means a message over MaxMessage: split it, or keep the content in the lake and send its path.
	ErrTooLarge = errors.New("message is too large")
	// ErrNotPermitted means that the server's permissions for this user do not let it do this.
	ErrNotPermitted = errors.New("the NATS server does not permit this to this user: check its credentials, and the permissions that the server gives it")
	// ErrUnknownOutcome means that the context ended before the server said whether it stored a message: read again.
	ErrUnknownOutcome = errors.New("it is not known whether the message was stored")
)

// Config says how to reach the server.
type Config struct {
	// URL of the server, or several separated by commas: nats://host:4222 or tls://host:4222. Not read where Server is set.
	URL string
	// CredentialsFile is a NATS .creds file, or the file that the embedded server writes. Empty: none, or those in the URL.
	CredentialsFile string
	// TLSCA is a PEM file of the authorities to trust; TLSCert and TLSKey are the client's own. Empty: the system's, none.
	TLSCA, TLSCert, TLSKey string
	// Name is shown by the server's monitoring.
	Name string
	// Replicas of streams that Setup creates, 1 to 5. 0 keeps what a stream has, 1 for a new one.
	Replicas int
	// Server is an embedded server to talk to without a socket.
	Server *Server
}

// Bus is a connection. It is safe for concurrent use.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	// attempt is how long one try of a request may take before its outcome counts as unknown.
	attempt time.Duration
	refused *refusals
	link    *link

	mu      sync.Mutex
	streams map[string]jetstream.Stream
}

const (
	attemptTimeout    = 5 * time.Second
	reconnectWait     = 250 * time.Millisecond
	pingInterval      = 10 * time.Second
	maxPingsOut       = 2
	firstRetry        = 20 * time.Millisecond
	longestRetry      = time.Second
	firstComplaint    = 3 * time.Second
	complaintInterval = time.Minute
)

// Connect connects, waiting for a server that is not up yet until ctx ends. Once connected it reconnects forever.
// Refused credentials and unreadable files are reported at once.
func Connect(ctx context.Context, c Config) (*Bus, error) {
	refused, link := &refusals{}, newLink()
	where, opts, err := c.options(refused, link)
	if err != nil {
		return nil, err
	}
	var nc *nats.Conn
	err = retry(ctx, "connect to NATS at "+redactURLs(where), func(context.Context) error {
		var err error
		nc, err = nats.Connect(where, opts...)
		if err != nil && errors.Is(err, nats.ErrNoServers) {
			return transient(err)
		}
		if isRefused(err) {
			return fmt.Errorf("%w: check the credentials file and the TLS settings", err)
		}
		if err != nil {
			return transient(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(attemptTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("use JetStream at %s: %w", redactURLs(where), err)
	}
	return &Bus{nc: nc, js: js, replicas: c.Replicas, attempt: attemptTimeout, refused: refused, link: link, streams: make(map[string]jetstream.Stream)}, nil
}

// Received counts the messages that this connection has received, answers included.
func (b *Bus) Received() uint64 { return b.nc.Stats().InMsgs }

// Close closes the connection; calls that wait on it return, channels of watches end with their contexts.
func (b *Bus) Close() { b.nc.Close() }

func (c Config) options(refused *refusals, link *link) (string, []nats.Option, error) {
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.Timeout(attemptTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		// Nothing is kept back while disconnected: a message that leaves later than its caller believes could decide twice.
		nats.ReconnectBufSize(-1),
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			link.down()
			if !nc.IsClosed() {
				slog.Warn("connection to NATS lost, reconnecting", "connection", c.Name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			slog.Info("connected to NATS again", "connection", c.Name, "server", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refused.add(err)
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			slog.Warn("NATS reported an error", "connection", c.Name, "subject", subject, "error", err)
		}),
	}
	where := c.URL
	file := c.CredentialsFile
	if c.Server != nil {
		where = c.Server.URL()
		opts = append(opts, nats.InProcessServer(c.Server))
		if file == "" {
			file = c.Server.CredentialsFile()
		}
	}
	if where == "" {
		return "", nil, errors.New("no NATS server given: set its URL, for example nats://127.0.0.1:4222")
	}
	if file != "" {
		opt, err := Credentials(file)
		if err != nil {
			return "", nil, err
		}
		opts = append(opts, opt)
	}
	if c.TLSCA != "" {
		if _, err := os.Stat(c.TLSCA); err != nil {
			return "", nil, fmt.Errorf("read the TLS authorities for NATS: %w", err)
		}
		opts = append(opts, nats.RootCAs(c.TLSCA))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return "", nil, errors.New("a TLS client certificate for NATS needs both its certificate and its key: give both files")
	}
	if c.TLSCert != "" {
		opts = append(opts, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	return where, opts, nil
}

func isRefused(err error) bool {
	if err == nil {
		return false
	}
	for _, refused := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrClientCertOrRootCAsRequired} {
		if errors.Is(err, refused) {
			return true
		}
	}
	text := err.Error()
	return strings.Contains(text, "x509:") || strings.Contains(text, "tls:") || strings.Contains(text, "parse ") ||
		strings.Contains(text, "nats: error parsing")
}

// redactURLs hides user names and passwords in a comma-separated list of URLs.
func redactURLs(list string) string {
	parts := strings.Split(list, ",")
	for i, part := range parts {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil {
			parts[i] = "(a URL that cannot be read)"
			continue
		}
		if u.User != nil {
			u.User = url.User("redacted")
		}
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}

// token refuses what cannot be one token of a subject, so that no id can reach another subject.
func token(what, value string) error {
	if value == "" {
		return fmt.Errorf("%s is empty", what)
	}
	for _, r := range value {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		default:
			return fmt.Errorf("%s %q holds %q: use letters, digits, - and _ only", what, value, r)
		}
	}
	return nil
}
