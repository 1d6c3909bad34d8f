// Package client is the Go SDK of Shoplake: it dials a server, submits runs and waits for them, and reads KPIs and tables
// into typed structs or Arrow records.
//
//	c, err := client.Dial(ctx, "127.0.0.1:8501")
//	run, err := c.Submit(ctx, "daily", client.SubmitOptions{})
//	run, err = c.WaitRun(ctx, run.GetName(), nil)
//	rows, err := client.Query[Revenue](ctx, c, "total_revenue", client.KPIQuery{})
//
// Every service of the API is there as a generated client too: c.Runs, c.Tables and so on.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// DefaultAddress is where a server listens unless told otherwise.
const DefaultAddress = "127.0.0.1:8501"

const (
	defaultPort = "8501"
	// maxMessageBytes bounds an answer: a page of 10,000 wide rows is larger than gRPC's default of 4 MiB.
	maxMessageBytes = 256 << 20
	// defaultDialTimeout bounds Dial where its context has no deadline.
	defaultDialTimeout = 10 * time.Second
	// defaultReconnect is how long WaitRun goes on without a connection: enough for a server to be started again.
	defaultReconnect = 5 * time.Minute
)

// retryPolicy makes gRPC try again what failed because the server was away. Every method is safe to repeat: reads change
// nothing, SubmitRun carries a request id, pipelines are stored by content, and cancelling twice is cancelling once.
const retryPolicy = `{
  "methodConfig": [{
    "name": [
      {"service": "shoplake.v1.RunService"}, {"service": "shoplake.v1.FlowService"},
      {"service": "shoplake.v1.PipelineService"}, {"service": "shoplake.v1.SourceService"},
      {"service": "shoplake.v1.KpiService"}, {"service": "shoplake.v1.TableService"},
      {"service": "shoplake.v1.QuarantineService"}, {"service": "shoplake.v1.HealthService"}, {"service": "shoplake.v1.BackfillService"}
    ],
    "retryPolicy": {
      "maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

// Client is a connection to a server. It is safe for use by several goroutines.
type Client struct {
	// The generated clients, one a service.
	Runs       shoplakev1.RunServiceClient
	Flows      shoplakev1.FlowServiceClient
	Pipelines  shoplakev1.PipelineServiceClient
	Sources    shoplakev1.SourceServiceClient
	KPIs       shoplakev1.KpiServiceClient
	Tables     shoplakev1.TableServiceClient
	Quarantine shoplakev1.QuarantineServiceClient
	Health     shoplakev1.HealthServiceClient
	Backfills  shoplakev1.BackfillServiceClient

	conn      *grpc.ClientConn
	reconnect time.Duration
}

// Option changes how Dial connects.
type Option func(*options)

type options struct {
	tls       *tls.Config
	insecure  bool
	token     string
	lazy      bool
	reconnect time.Duration
	dial      []grpc.DialOption
}

// WithTLS connects with TLS by this configuration, also on loopback. Without it an address that is not loopback is
// dialled with TLS and the system's root certificates.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithInsecure connects without TLS to an address that is not loopback: whoever is on the way reads and changes
// everything, the token included.
func WithInsecure() Option { return func(o *options) { o.insecure = true } }

// WithToken sends the bearer token with every call.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithLazy makes Dial return at once; the first call connects.
func WithLazy() Option { return func(o *options) { o.lazy = true } }

// WithReconnect sets how long WaitRun goes on trying without a connection; 5 minutes by default.
func WithReconnect(d time.Duration) Option { return func(o *options) { o.reconnect = d } }

// WithDialOptions adds options of gRPC: interceptors, a dialer, keepalive.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, opts...) }
}

// Dial connects to the server at host:port (port 8501 where none is given) or at a target of gRPC such as dns:///host:port,
// and checks that it answers. Loopback addresses are dialled without TLS, all others with it. ctx bounds the check
// (10 s where it has no deadline), not the connection.
func Dial(ctx context.Context, addr string, opts ...Option) (*Client, error) {
	o := options{reconnect: defaultReconnect}
	for _, opt := range opts {
		opt(&o)
	}
	target, host := splitTarget(addr)
	transport, plain := o.transport(host)
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(retryPolicy),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithUserAgent("shoplake-go"),
	}
	if o.token != "" {
		if plain && !o.insecure && !loopback(host) {
			return nil, fmt.Errorf("dial %s: a token needs TLS: give a TLS configuration, or WithInsecure if the network is trusted", addr)
		}
		dial = append(dial, grpc.WithPerRPCCredentials(bearer{token: o.token, plain: plain}))
	}
	conn, err := grpc.NewClient(target, append(dial, o.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c := New(conn)
	c.reconnect = o.reconnect
	if o.lazy {
		return c, nil
	}
	if err := c.probe(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s: %w", addr, err), conn.Close())
	}
	return c, nil
}

// New returns a client over a connection that the caller has dialled with its own options. Close closes it.
func New(conn *grpc.ClientConn) *Client {
	return &Client{
		Runs:       shoplakev1.NewRunServiceClient(conn),
		Flows:      shoplakev1.NewFlowServiceClient(conn),
		Pipelines:  shoplakev1.NewPipelineServiceClient(conn),
		Sources:    shoplakev1.NewSourceServiceClient(conn),
		KPIs:       shoplakev1.NewKpiServiceClient(conn),
		Tables:     shoplakev1.NewTableServiceClient(conn),
		Quarantine: shoplakev1.NewQuarantineServiceClient(conn),
		Health:     shoplakev1.NewHealthServiceClient(conn),
		Backfills:  shoplakev1.NewBackfillServiceClient(conn),
		conn:       conn,
		reconnect:  defaultReconnect,
	}
}

// Conn returns the connection, for clients of other services on the same port (grpc.health.v1, reflection).
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// Close closes the connection. Calls that are going on fail.
func (c *Client) Close() error { return c.conn.Close() }

// probe makes one call, so that a wrong address or a refused certificate shows at once and with its reason.
func (c *Client) probe(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDialTimeout)
		defer cancel()
	}
	_, err := healthpb.NewHealthClient(c.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unauthenticated:
		return err
	default:
		// Any other answer is an answer: a server may keep grpc.health.v1 to itself.
		return nil
	}
}

// transport chooses TLS or plaintext; plain tells which.
func (o *options) transport(host string) (_ credentials.TransportCredentials, plain bool) {
	switch {
	case o.tls != nil:
		return credentials.NewTLS(o.tls), false
	case o.insecure, loopback(host):
		return insecure.NewCredentials(), true
	default:
		return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), false
	}
}

// splitTarget returns the target for gRPC and the host in it.
func splitTarget(addr string) (target, host string) {
	if addr == "" {
		addr = DefaultAddress
	}
	if strings.HasPrefix(addr, "unix:") {
		return addr, "localhost"
	}
	rest, scheme := addr, ""
	if i := strings.Index(addr, ":///"); i >= 0 {
		scheme, rest = addr[:i+len(":///")], addr[i+len(":///"):]
	}
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		host = strings.Trim(rest, "[]")
		if scheme == "" || scheme == "dns:///" {
			rest = net.JoinHostPort(host, defaultPort)
		}
	}
	return scheme + rest, host
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// bearer sends a token with every call.
type bearer struct {
	token string
	plain bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return !b.plain }
