package server

import (
	"mime"
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

// plainJSON lets a POST of JSON be what curl users expect: a unary call by the Connect protocol, whose version header they
// need not know.
func plainJSON(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const version = "Connect-Protocol-Version"
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err == nil && media == "application/json" && r.Method == http.MethodPost && r.Header.Get(version) == "" {
			r.Header.Set(version, "1")
		}
		next.ServeHTTP(w, r)
	})
}
