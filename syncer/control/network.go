package control

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Network is the handler behind the metrics port:
//
//	GET  /metrics → metrics
//	GET  /healthz → 200 while the process answers, with one line for people
//	POST /flush   → as behind the socket, for loopback peers; 403 for others
//
// Health does not depend on the store: restarting a syncer because a store is
// down would help nobody. Confirming deletions is for a person at the socket,
// not for whatever shares the pod's loopback.
func Network(e Engine, explain Explain, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsRoute, metrics)
	mux.HandleFunc("GET "+healthRoute, func(w http.ResponseWriter, _ *http.Request) {
		s := e.Status()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s, %s: %s", s.Phase, s.Condition, s.Message), ": "))
	})
	mux.Handle("POST "+flushRoute, loopbackOnly(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flush(w, r, e, explain, false)
	})))
	return mux
}

// loopbackOnly lets only programs on this machine, or in this pod, through. A
// loopback peer is not enough, because a browser is one as well, whatever page
// it shows: requests that come from a page of another origin, or were sent to
// a name that somebody made resolve to this machine, are refused too.
func loopbackOnly(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !loopbackPeer(r.RemoteAddr):
			http.Error(w, "only for programs on the loopback address of this pod", http.StatusForbidden)
		case !loopbackHost(r.Host):
			http.Error(w, "the Host header must be localhost or a loopback address", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func loopbackPeer(address string) bool {
	peer, err := netip.ParseAddrPort(address)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// loopbackHost takes a Host header with or without a port.
func loopbackHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
