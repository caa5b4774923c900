package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// ErrNotRunning: nobody answers at the control socket.
var ErrNotRunning = errors.New("no syncer is running")

// maxAnswer bounds what a client reads.
const maxAnswer = 16 << 20

// Client talks to the syncer whose state directory it knows.
type Client struct {
	stateDir string
	http     *http.Client
}

// NewClient returns a client; nothing is sent yet.
func NewClient(stateDir string) *Client {
	return &Client{stateDir: stateDir, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // a socket costs nothing to dial, and nothing stays behind
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, stateDir)
		},
	}}}
}

// Status asks for the status. The error is [ErrNotRunning] if nobody answers.
func (c *Client) Status(ctx context.Context) (status.Status, error) {
	var s status.Status
	err := c.call(ctx, http.MethodGet, statusRoute, nil, &s)
	return s, err
}

// Flush returns when all that was written before the call is acknowledged. The
// error is [ErrNotRunning] if nobody answers and a *[Failure] if the syncer
// could not.
func (c *Client) Flush(ctx context.Context, confirmDeletes bool) error {
	query := url.Values{confirmParameter: {strconv.FormatBool(confirmDeletes)}}
	return c.call(ctx, http.MethodPost, flushRoute, query, nil)
}

func (c *Client) call(ctx context.Context, method, route string, query url.Values, into any) error {
	// The host is not looked up, but HTTP wants one.
	target := url.URL{Scheme: "http", Host: "syncer", Path: route, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%w with state directory %s", ErrNotRunning, c.stateDir)
		}
		return fmt.Errorf("ask the running syncer (%s): %w", c.stateDir, unwrapURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the running syncer's answer (%s): %w", c.stateDir, err)
	}
	if response.StatusCode == http.StatusOK {
		if into == nil {
			return nil
		}
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("understand the running syncer's answer (%s): %w", c.stateDir, err)
		}
		return nil
	}
	var failure Failure
	if json.Unmarshal(body, &failure) == nil && failure.Sentence != "" {
		return &failure
	}
	return fmt.Errorf("the running syncer (%s) answered %s: %.200q", c.stateDir, response.Status, body)
}

// unwrapURL drops the made-up URL that net/http puts before an error.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
