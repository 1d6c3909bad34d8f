package server

import (
	"net"
	"net/http"
	"net/url"
)

// sameOrigin refuses browser calls that come from another page: the Origin, where a browser sends one, must be the Host
// that was asked. Unless told otherwise the Host must be a name of this machine, so that no foreign name can be pointed here.
func sameOrigin(anyHost bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !anyHost && !loopback(host) {
			http.Error(w, "this server answers to names of its own machine only (localhost, 127.0.0.1)", http.StatusForbidden)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" {
			if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
				http.Error(w, "calls from pages of another origin are refused", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
