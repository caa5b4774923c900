package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// FaultyPath is a network path to a server that can be made bad.
type FaultyPath struct {
	Endpoint string // in the server's place
	proxy    *toxiproxy.Proxy
	api      *toxiproxy.ApiServer
}

// Faulty puts a toxiproxy in front of the server.
func (s *Server) Faulty(t testing.TB) *FaultyPath {
	t.Helper()
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	// Not a port that the kernel chooses: while the path is cut it could become
	// that of somebody's outgoing connection, and there would be no way to mend.
	var proxy *toxiproxy.Proxy
	for attempt := 1; ; attempt++ {
		proxy = toxiproxy.NewProxy(api, t.Name(), fmt.Sprintf("127.0.0.1:%d", freePort(t)), u.Host)
		if err = proxy.Start(); err == nil {
			break
		}
		if attempt == 5 {
			t.Fatalf("start a proxy to %s: %v", s.Name, err)
		}
	}
	p := &FaultyPath{Endpoint: u.Scheme + "://" + proxy.Listen, proxy: proxy, api: api}
	t.Cleanup(func() { p.proxy.Stop() })
	return p
}

// Cut closes all connections and refuses new ones until Mend.
func (p *FaultyPath) Cut() { p.proxy.Stop() }

// Mend ends a Cut.
func (p *FaultyPath) Mend(t testing.TB) {
	t.Helper()
	// A process that is just being started by this one has a copy of all that is
	// open here until it is another program, of the port that was closed as well.
	const tries = 1000
	for try := 1; ; try++ {
		err := p.proxy.Start()
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) || try == tries {
			t.Fatalf("mend the path: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Poison adds a toxic in the direction of the client ("downstream") or of the
// server ("upstream"); kinds and attributes are toxiproxy's: latency, timeout,
// reset_peer, bandwidth, slow_close, slicer, limit_data. It returns the cure.
func (p *FaultyPath) Poison(t testing.TB, kind, stream string, attributes map[string]any) (cure func()) {
	t.Helper()
	name := kind + "-" + stream
	body, err := json.Marshal(map[string]any{
		"name": name, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(string(body))); err != nil {
		t.Fatalf("poison the path with %s: %v", body, err)
	}
	return func() {
		// Where a client was killed in the middle of an answer, toxiproxy may wait
		// for ever for a lock that it holds itself. Then another takes its place.
		const long = 10 * time.Second
		done := make(chan error, 1)
		go func(proxy *toxiproxy.Proxy) { done <- proxy.Toxics.RemoveToxic(context.Background(), name) }(p.proxy)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("take %s away: %v", name, err)
			}
		case <-time.After(long):
			go p.proxy.Stop() // which waits as well, but not with giving up the port
			p.proxy = toxiproxy.NewProxy(p.api, p.proxy.Name, p.proxy.Listen, p.proxy.Upstream)
			p.Mend(t)
		}
	}
}
