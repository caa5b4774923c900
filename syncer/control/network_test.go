package control

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

type flushed bool

func (*flushed) Status() status.Status { return status.Status{} }

func (f *flushed) Flush(context.Context, bool) error { *f = true; return nil }

func TestOnlyLoopbackMayFlush(t *testing.T) {
	for name, c := range map[string]struct {
		peer, host string
		header     http.Header
		allowed    bool
	}{
		"an app by address":       {peer: "127.0.0.1:4000", host: "127.0.0.1:9808", allowed: true},
		"an app by name":          {peer: "127.0.0.1:4000", host: "localhost:9808", allowed: true},
		"an app by IPv6":          {peer: "[::1]:4000", host: "[::1]:9808", allowed: true},
		"IPv4 in IPv6":            {peer: "[::ffff:127.0.0.1]:4000", host: "[::1]", allowed: true},
		"another loopback":        {peer: "127.1.2.3:4000", host: "127.1.2.3", allowed: true},
		"another pod":             {peer: "10.1.2.3:4000", host: "127.0.0.1:9808"},
		"this pod by its address": {peer: "10.1.2.4:4000", host: "10.1.2.4:9808"},
		"another pod by IPv6":     {peer: "[fd00::1]:4000", host: "[::1]:9808"},
		"no peer":                 {peer: "", host: "127.0.0.1:9808"},
		"peer without a port":     {peer: "127.0.0.1", host: "127.0.0.1:9808"},
		"rebound name":            {peer: "127.0.0.1:4000", host: "evil.example:9808"},
		"name that looks local":   {peer: "127.0.0.1:4000", host: "localhost.evil.example:9808"},
		"number that looks local": {peer: "127.0.0.1:4000", host: "127.0.0.1.evil.example"},
		"no host":                 {peer: "127.0.0.1:4000", host: ""},
		"a page from elsewhere": {
			peer: "127.0.0.1:4000", host: "127.0.0.1:9808", header: http.Header{"Origin": {"https://evil.example"}},
		},
		"a page of another port": {
			peer: "127.0.0.1:4000", host: "127.0.0.1:9808",
			header: http.Header{"Origin": {"http://127.0.0.1:3000"}, "Sec-Fetch-Site": {"same-site"}},
		},
		"a sandboxed page": {
			peer: "127.0.0.1:4000", host: "127.0.0.1:9808", header: http.Header{"Origin": {"null"}},
		},
		"a proxy that tells lies": {
			peer: "10.1.2.3:4000", host: "127.0.0.1:9808", header: http.Header{"X-Forwarded-For": {"127.0.0.1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var f flushed
			r := httptest.NewRequest(http.MethodPost, "/flush", nil)
			r.RemoteAddr, r.Host = c.peer, c.host
			for k, v := range c.header {
				r.Header[k] = v
			}
			w := httptest.NewRecorder()
			Network(&f, nil, http.NotFoundHandler()).ServeHTTP(w, r)
			want := http.StatusForbidden
			if c.allowed {
				want = http.StatusOK
			}
			if w.Code != want || bool(f) != c.allowed {
				t.Errorf("%d %q, flushed %v; want %d", w.Code, w.Body, f, want)
			}
		})
	}
}

// Whatever is let through is localhost or a number: no name that a stranger
// could have made resolve to this machine.
func FuzzLoopbackHost(f *testing.F) {
	for _, s := range []string{"", "localhost", "LOCALHOST.:1", "127.0.0.1:9808", "[::1]", "::001", "[::1%lo]:1", "evil.example", "[localhost]"} {
		f.Add(s)
	}
	local := regexp.MustCompile(`(?is)^(\[?localhost\.?\]?(:.*)?|\[?[0-9a-f.:]+(%.*)?\]?(:.*)?)$`)
	f.Fuzz(func(t *testing.T, host string) {
		if loopbackHost(host) && !local.MatchString(host) {
			t.Errorf("%q was taken for loopback", host)
		}
	})
}
