package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/shoplake/shoplake/internal/telemetry"
)

// serveProbes serves /healthz, which is 200 as long as alive says so, and /metrics, until the function that it returns is called.
func serveProbes(ctx context.Context, address string, alive func() bool, t *telemetry.Telemetry) (stop func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen at %s for probes: %w: give another --listen", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !alive() {
			http.Error(w, "a slot takes no tasks any more", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if metrics := t.MetricsHandler(); metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.Serve(l); err != http.ErrServerClosed {
			t.Logger().Warn("probes are served no more", "error", err)
		}
	}()
	return func() { s.Close() }, nil
}
