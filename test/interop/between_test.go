package interop

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// between is a proxy in front of a server, which can be told what to do with
// the answers that pass.
type between struct {
	*httptest.Server
	answer atomic.Pointer[func(*http.Response)]
}

func newBetween(t *testing.T, server *testenv.Server) *between {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // which is signed
		},
		ModifyResponse: func(response *http.Response) error {
			if f := b.answer.Load(); f != nil { //nolint:bodyclose // the proxy closes it
				(*f)(response)
			}
			return nil
		},
		// That a client gives up is part of what is tested.
		ErrorLog:     log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	b.Server = httptest.NewUnstartedServer(proxy)
	b.Config.ErrorLog = log.New(io.Discard, "", 0)
	b.Start()
	t.Cleanup(b.Close)
	return b
}

func (b *between) answers(f func(*http.Response)) { b.answer.Store(&f) }

// flipped flips a bit of the byte at the offset.
type flipped struct {
	io.ReadCloser
	left int64 // until the byte
}

func (f *flipped) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if f.left >= 0 && f.left < int64(n) {
		b[f.left] ^= 1
	}
	f.left -= int64(n)
	return n, err
}
