package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	keepAlive   = 15 * time.Second
	// bufferSize of a connection, each way: one small object with its headers
	// goes out in a single write.
	bufferSize = 16 << 10
)

// newTransport keeps a connection per concurrent call, and gives up one that
// stands still.
func newTransport(cfg Config) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	up, down := newThrottle(cfg.BandwidthLimit), newThrottle(cfg.BandwidthLimit)
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return newWatchedConn(conn, cfg.StallTimeout, up, down), nil
		},
		// One for each call, and one for each piece of a large object.
		MaxIdleConnsPerHost: 2 * cfg.Concurrency,
		// Shorter than the patience with a silent connection, which would
		// otherwise end idle ones in the middle of being used again.
		IdleConnTimeout:     cfg.StallTimeout / 2,
		TLSHandshakeTimeout: dialTimeout,
		WriteBufferSize:     bufferSize,
		ReadBufferSize:      bufferSize,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		// An object stored with Content-Encoding: gzip is restored as stored.
		DisableCompression: true,
	}
}

// watchedConn fails a read or a write when nothing at all has moved for as
// long as its patience lasts, however long the whole transfer takes. While a
// request is being sent the answer is not yet due, so writing renews the
// deadline of both. So does waiting for a turn under a bandwidth limit, which
// is nobody's standing still: the limit is held here, where all that travels
// comes by, with every retry, header and listing.
type watchedConn struct {
	net.Conn
	patience time.Duration
	up, down *throttle
	closed   chan struct{}
	close    func() // closes closed

	mu  sync.Mutex
	set time.Time // when the deadline was last renewed
}

func newWatchedConn(conn net.Conn, patience time.Duration, up, down *throttle) *watchedConn {
	c := &watchedConn{Conn: conn, patience: patience, up: up, down: down, closed: make(chan struct{})}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	return c
}

// Close also ends every wait for a turn: net/http closes the connection of a
// request whose context has ended.
func (c *watchedConn) Close() error {
	c.close()
	return c.Conn.Close()
}

// Read hands out what has arrived when its turn has come. Meanwhile the buffers
// of the system fill up, and then the store has to wait.
func (c *watchedConn) Read(b []byte) (int, error) {
	if err := c.renew(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b[:c.down.portion(len(b))])
	if waitErr := c.wait(c.down, n); waitErr != nil {
		return 0, waitErr
	}
	return n, err
}

func (c *watchedConn) wait(t *throttle, n int) error {
	return t.wait(n, c.closed, c.patience/4, c.renew)
}

func (c *watchedConn) Write(b []byte) (int, error) {
	// A large buffer may take many round trips; each piece that gets through
	// is progress.
	const piece = 256 << 10
	var written int
	for {
		portion := c.up.portion(min(len(b), piece))
		if err := c.wait(c.up, portion); err != nil {
			return written, err
		}
		if err := c.renew(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(b[:portion])
		written += n
		if b = b[n:]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// renew moves the deadline, but not so often that it costs anything.
func (c *watchedConn) renew() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.set) < c.patience/16 {
		return nil
	}
	c.set = now
	return c.SetDeadline(now.Add(c.patience))
}

// guard refuses answers that cannot have come from a store, where minio-go
// would believe them: it takes any XML for a listing, and any 404 for word of a
// missing object. A proxy's polite excuse must not read as an empty bucket.
// And it bounds all answers but the content of objects, which minio-go takes
// into memory whole.
type guard struct{ idleTransport }

// idleTransport is a transport that keeps connections.
type idleTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := g.idleTransport.RoundTrip(r)
	if err != nil || r.Method == http.MethodHead || isContent(r, response) {
		return response, err
	}
	if response.StatusCode >= 300 {
		response.Body, err = wholeError(response.Body)
	} else {
		response.Body = newAnswerBody(response.Body)
	}
	if err != nil {
		return nil, err
	}
	if r.Method != http.MethodGet {
		return response, nil
	}
	var root string
	switch {
	case response.StatusCode == http.StatusNotFound:
		root = "<Error"
	case response.StatusCode == http.StatusOK && r.URL.Query().Has("list-type"):
		root = "<ListBucketResult"
	case response.StatusCode == http.StatusOK && r.URL.Query().Has("versions"):
		root = "<ListVersionsResult"
	default:
		return response, nil
	}
	// The root element comes right after the declaration.
	body := bufio.NewReaderSize(response.Body, 512)
	if start, _ := body.Peek(512); !bytes.Contains(start, []byte(root)) {
		response.Body.Close()
		return nil, fmt.Errorf("the answer (%s) is not one of a store: does this endpoint speak S3?", response.Status)
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{body, response.Body}
	return response, nil
}

// trustingTransport trusts the authorities of the credentials folder besides
// the system's, also after they have changed.
type trustingTransport struct {
	creds *credentialsDir
	base  *http.Transport

	mu         sync.Mutex
	current    *http.Transport
	generation uint64
}

func (t *trustingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.transport().RoundTrip(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (t *trustingTransport) CloseIdleConnections() { t.transport().CloseIdleConnections() }

func (t *trustingTransport) transport() *http.Transport {
	roots, generation := t.creds.roots()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil || t.generation != generation {
		if t.current != nil {
			t.current.CloseIdleConnections()
		}
		t.current = t.base.Clone()
		t.current.TLSClientConfig.RootCAs = roots
		t.generation = generation
	}
	return t.current
}
