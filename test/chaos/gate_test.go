package chaos

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// gate is a proxy in front of the store that keeps book of what passes, and
// can kill the syncer at a request of one's choice: before the store has seen
// it, or after the store has done it and before the syncer learns of that.
type gate struct {
	*httptest.Server
	root string // path of the prefix

	mu       sync.Mutex
	trap     *trap
	landed   map[string]string // key → what was stored there last, by its own words
	begun    map[string]string // multipart upload → what it is to store
	writes   map[string]int    // key → requests that were to change it
	reads    map[string]int    // key → requests for its content
	needless []string          // uploads of what was stored there already
	touched  map[string]int    // path → how often the app did something to it
}

// trap springs at the nth request that matches.
type trap struct {
	nth    int
	after  bool // the store has answered
	match  func(*http.Request) bool
	spring func()
	sprung chan struct{}
}

func newGate(t *testing.T, server *testenv.Server, bucket string) *gate {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{root: "/" + bucket + "/" + prefix, landed: map[string]string{}, begun: map[string]string{}, touched: map[string]int{}}
	g.forget()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host // it is part of what was signed
		},
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		ModifyResponse: g.answered,
		ErrorLog:       log.New(io.Discard, "", 0),
		// The syncer was killed, or the store: nobody needs an answer.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whatKey{}, g.asked(r))))
	}))
	g.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.Start()
	t.Cleanup(g.Close)
	return g
}

// forget begins the book anew, but for what the store has.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes, g.reads, g.needless = map[string]int{}, map[string]int{}, nil
}

// set arms the trap; the former one is taken away.
func (g *gate) set(t *trap) *trap {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trap = t; t != nil {
		t.sprung = make(chan struct{})
	}
	return t
}

// key is the path in the volume that a request is about, ours left out.
func (g *gate) key(r *http.Request) (string, bool) {
	key, ok := strings.CutPrefix(r.URL.Path, g.root)
	return key, ok && key != "" && !strings.HasPrefix(key, contract.Reserved)
}

// changes reports whether a request makes an object appear, change or vanish.
func (g *gate) changes(r *http.Request) bool {
	_, ok := g.key(r)
	q := r.URL.Query()
	switch r.Method {
	case http.MethodPut:
		return ok && !q.Has("uploadId")
	case http.MethodPost:
		return ok && q.Has("uploadId")
	case http.MethodDelete:
		return ok && !q.Has("uploadId")
	}
	return false
}

// whatKey is under which a request carries what it is to store.
type whatKey struct{}

// asked returns what the request is to store.
func (g *gate) asked(r *http.Request) string {
	g.mu.Lock()
	key, ok := g.key(r)
	// A file that the app has done something to may be uploaded again, even if
	// it looks as before: its content was to be read to know that.
	what := fmt.Sprintf("%s after %d touches", says(r), g.touched[key])
	begins := ok && r.Method == http.MethodPost && r.URL.Query().Has("uploads")
	switch {
	case begins, ok && r.Method == http.MethodPut && g.changes(r):
		if g.landed[key] == what {
			g.needless = append(g.needless, fmt.Sprintf("%q: %s", key, what))
		}
	case ok && r.Method == http.MethodGet:
		g.reads[key]++
	}
	if g.changes(r) { // until it is answered nobody knows what is there
		g.writes[key]++
		delete(g.landed, key)
	}
	t := g.due(r, false)
	g.mu.Unlock()
	if t != nil {
		t.snap()
		panic(http.ErrAbortHandler)
	}
	return what
}

// touch says that the app has done something to path.
func (g *gate) touch(path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.touched[path]++
}

// says is what an upload stores, by its own words.
func says(r *http.Request) string {
	h := r.Header
	return strings.Join([]string{h.Get("X-Amz-Meta-Mode"), h.Get("X-Amz-Meta-Mtime"), h.Get("X-Amz-Checksum-Crc64nvme")}, " ")
}

func (g *gate) answered(response *http.Response) error {
	r := response.Request
	what, _ := r.Context().Value(whatKey{}).(string)
	g.mu.Lock()
	key, ok := g.key(r)
	if ok && response.StatusCode < 300 {
		switch id := r.URL.Query().Get("uploadId"); {
		case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
			g.begins(response, what)
		case r.Method == http.MethodPost && id != "":
			g.landed[key] = g.begun[id]
		case r.Method == http.MethodPut && g.changes(r):
			g.landed[key] = what
		}
	}
	t := g.due(r, true)
	g.mu.Unlock()
	if t != nil {
		t.snap()
		return errGone // closes the answer and ends the request
	}
	return nil
}

var errGone = errors.New("the syncer has been killed")

// begins remembers what a multipart upload is to store.
func (g *gate) begins(response *http.Response, what string) {
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	var answer struct{ UploadId string }
	if err == nil && xml.Unmarshal(body, &answer) == nil {
		g.begun[answer.UploadId] = what
	}
}

// due counts a request, and returns the trap if this is the one.
func (g *gate) due(r *http.Request, after bool) *trap {
	t := g.trap
	if t == nil || t.after != after || !t.match(r) {
		return nil
	}
	if t.nth--; t.nth > 0 {
		return nil
	}
	g.trap = nil
	return t
}

func (t *trap) snap() {
	t.spring()
	close(t.sprung)
}

// wrote is how many requests were to change something.
func (g *gate) wrote() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.writes {
		n += k
	}
	return n
}
