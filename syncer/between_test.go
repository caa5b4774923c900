package syncer

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// between is a proxy in front of a real store that can be told to answer in
// its place, or to spoil what it answers.
type between struct {
	*httptest.Server
	// answer reports whether it has answered instead of the store.
	answer atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	// admit lets a request in, until it is answered, or answers it and is nil.
	admit atomic.Pointer[func(http.ResponseWriter, *http.Request) (leave func())]
	// spoil changes what the store answered.
	spoil atomic.Pointer[func(*http.Response) error]
	// requests are all that were made, whoever answered; among them puts, and
	// asked, the listings of all files.
	requests, puts, asked atomic.Int64
}

// between puts a proxy in front of the rig's store, for nodes that are made
// afterwards.
func (r *rig) between(t *testing.T) *between {
	t.Helper()
	to, err := url.Parse(r.server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // it is part of what was signed
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		ModifyResponse: func(response *http.Response) error {
			if f := b.spoil.Load(); f != nil { //nolint:bodyclose // the proxy closes it
				return (*f)(response)
			}
			return nil
		},
		// What the client gave up, or the store, is part of what is tested.
		ErrorLog:     log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		b.requests.Add(1)
		if request.Method == http.MethodPut && !strings.Contains(request.URL.Path, contract.Reserved) {
			b.puts.Add(1)
		}
		if listsFiles(request) && !request.URL.Query().Has("continuation-token") {
			b.asked.Add(1)
		}
		if f := b.answer.Load(); f != nil && (*f)(w, request) {
			return
		}
		if f := b.admit.Load(); f != nil {
			leave := (*f)(w, request)
			if leave == nil {
				return
			}
			defer leave()
		}
		proxy.ServeHTTP(w, request)
	}))
	b.Config.ErrorLog = log.New(io.Discard, "", 0)
	b.Start()
	t.Cleanup(b.Close)
	r.endpoint = b.URL
	return b
}

func (b *between) answers(f func(http.ResponseWriter, *http.Request) bool)  { b.answer.Store(&f) }
func (b *between) spoils(f func(*http.Response) error)                      { b.spoil.Store(&f) }
func (b *between) admits(f func(http.ResponseWriter, *http.Request) func()) { b.admit.Store(&f) }

// honest ends all of it.
func (b *between) honest() {
	b.answer.Store(nil)
	b.admit.Store(nil)
	b.spoil.Store(nil)
}

// listsFiles reports whether a request is for a page of a listing of everything
// below the prefix.
func listsFiles(r *http.Request) bool {
	q := r.URL.Query()
	return r.Method == http.MethodGet && q.Has("list-type") && q.Get("prefix") == "app/"
}
