// Package server is the port: native gRPC straight to the grpc.Server, and beside it, on the same port, gRPC-Web, Connect
// and JSON over HTTP for browsers and curl. Errors become gRPC codes here, once.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/vanguard/vanguardgrpc"
	validate "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/soheilhy/cmux"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"connectrpc.com/vanguard"
)

const (
	// maxRequest bounds a request's message: a pipeline folder is the largest.
	maxRequest = 32 << 20
	// readHeaderTime bounds how long a browser may take to send its headers.
	readHeaderTime = 10 * time.Second
	// graceTime is how long open requests may take when the server stops.
	graceTime = 3 * time.Second
)

// ErrNotLoopback says that the server would be open to other machines without credentials.
var ErrNotLoopback = errors.New("without TLS and tokens the server listens on loopback only: use 127.0.0.1, or say --insecure if the network is yours alone")

// Config is how the port listens.
type Config struct {
	// Listen is host:port.
	Listen string
	// Insecure allows an address that other machines reach.
	Insecure bool
	Log      *slog.Logger
}

// Server is the port.
type Server struct {
	config   Config
	grpc     *grpc.Server
	http     *http.Server
	health   *health.Server
	listener net.Listener
	done     chan struct{}
	// stopping ends, and stop ends it, when the server begins to stop.
	stopping context.Context
	stop     context.CancelFunc
}

// New makes a server; services are registered on it before Start.
func New(c Config) (*Server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("compile the rules of requests: %w", err)
	}
	caught := recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		c.Log.ErrorContext(ctx, "a request met a fault of the program", "panic", p)
		return errPanic
	})
	s := &Server{config: c, health: health.NewServer(), done: make(chan struct{})}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.StatsHandler(otelgrpc.NewServerHandler()),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.ChainUnaryInterceptor(unaryErrors(c.Log), recovery.UnaryServerInterceptor(caught), validate.UnaryServerInterceptor(validator)),
		grpc.ChainStreamInterceptor(streamErrors(c.Log), endWith(s.stopping), recovery.StreamServerInterceptor(caught), validate.StreamServerInterceptor(validator)),
	)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	return s, nil
}

// gRPC knows its codecs from the start: servers of one process share them.
func init() { encoding.RegisterCodec(vanguardgrpc.NewCodec(&vanguard.JSONCodec{})) }

// Registrar is where services are registered.
func (s *Server) Registrar() grpc.ServiceRegistrar { return s.grpc }

// Handler of plain HTTP paths beside the services; nil where there are none.
type Handler = http.Handler

// Start listens and serves until Close.
func (s *Server) Start(ctx context.Context, paths map[string]Handler) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	reflection.Register(s.grpc)
	transcoder, err := vanguardgrpc.NewTranscoder(s.grpc)
	if err != nil {
		s.listener.Close()
		return fmt.Errorf("serve the browser forms of the API: %w", err)
	}
	mux := http.NewServeMux()
	for path, handler := range paths {
		mux.Handle(path, handler)
	}
	mux.Handle("/", plainJSON(transcoder))
	s.http = &http.Server{Handler: sameOrigin(s.config.Insecure, mux), ReadHeaderTimeout: readHeaderTime, Protocols: protocols()}
	port := cmux.New(s.listener)
	port.SetReadTimeout(readHeaderTime)
	native := port.MatchWithWriters(cmux.HTTP2MatchHeaderFieldSendSettings("content-type", "application/grpc"))
	browser := port.Match(cmux.Any())
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	go func() {
		defer close(s.done)
		go s.grpc.Serve(native)
		go s.http.Serve(browser)
		if err := port.Serve(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, cmux.ErrServerClosed) {
			s.config.Log.Error("the port stopped serving", "error", err)
		}
	}()
	return nil
}

func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func (s *Server) listen(ctx context.Context) error {
	host, _, err := net.SplitHostPort(s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w: give host:port, for example 127.0.0.1:8501", s.config.Listen, err)
	}
	if !s.config.Insecure && !loopback(host) {
		return fmt.Errorf("listen on %s: %w", s.config.Listen, ErrNotLoopback)
	}
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen); err != nil {
		return fmt.Errorf("listen on %s: %w: is another shoplake running? choose another port with --listen", s.config.Listen, err)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Address is what the server listens on.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Done is closed when the port has stopped.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close tells health checks, ends streams, lets other open requests end for a while, and stops.
func (s *Server) Close() {
	s.health.Shutdown()
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), graceTime)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	if err := s.http.Shutdown(ctx); err != nil {
		s.http.Close()
	}
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
	}
	s.listener.Close()
	<-s.done
}
