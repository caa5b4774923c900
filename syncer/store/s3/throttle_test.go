package s3

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// transfer sends size bytes through conn, which is one end of a pipe, while as
// many come the other way.
func transfer(t *testing.T, conn net.Conn, peer net.Conn, size int64) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range []net.Conn{conn, peer} {
		all.Go(func() {
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Errorf("send: %v", err)
			}
		})
		all.Go(func() {
			if n, err := io.CopyN(io.Discard, c, size); err != nil {
				t.Errorf("receive: %v after %d bytes", err, n)
			}
		})
	}
	all.Wait()
}

// TestThrottle: a limit is used up and not exceeded, each way by itself, over
// all connections together, and waiting for a turn is no standing still.
func TestThrottle(t *testing.T) {
	const patience = 100 * time.Millisecond // of the watchdog
	for name, c := range map[string]struct {
		limit       int64
		connections int
		size        int64
	}{
		"one":         {1 << 20, 1, 4 << 20},
		"many":        {1 << 20, 20, 100 << 10},
		"slowest":     {64 << 10, 20, 10 << 10},
		"fast":        {1 << 30, 3, 16 << 20},
		"no multiple": {1_000_003, 3, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up, down := newThrottle(c.limit), newThrottle(c.limit)
				began := time.Now()
				var all sync.WaitGroup
				for range c.connections {
					near, far := net.Pipe()
					conn := newWatchedConn(near, patience, up, down)
					all.Go(func() {
						transfer(t, conn, far, c.size)
						_, _ = conn.Close(), far.Close()
					})
				}
				all.Wait()
				took := time.Since(began)
				total := float64(c.size) * float64(c.connections)
				want := time.Duration(total / float64(c.limit) * float64(time.Second))
				least := want - time.Second/bursts
				if most := want + time.Second/10; took < least || took > most {
					t.Errorf("%d × %d bytes each way at %d per second took %s, want %s to %s",
						c.connections, c.size, c.limit, took, least, most)
				}
			})
		})
	}
}

// TestThrottleEnds: a connection that is closed does not wait for its turn, and
// its turn goes to the others.
func TestThrottleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newThrottle(64)
		near, far := net.Pipe()
		conn := newWatchedConn(near, time.Hour, up, nil)
		go func() { _, _ = io.Copy(io.Discard, far) }()
		written := make(chan error)
		go func() {
			_, err := conn.Write(make([]byte, 1000))
			written <- err
		}()
		time.Sleep(time.Second/2 + time.Millisecond) // in the middle of a wait
		began := time.Now()
		_ = conn.Close()
		if err := <-written; !errors.Is(err, net.ErrClosed) || time.Since(began) > 0 {
			t.Errorf("%s after it was closed: %v", time.Since(began), err)
		}
		_ = far.Close()
	})
}

// TestStandstillUnderThrottle: with a limit the watchdog still sees a peer that
// takes nothing.
func TestStandstillUnderThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _, _ = near.Close(), far.Close() }()
		conn := newWatchedConn(near, time.Second, newThrottle(1<<20), nil)
		_, err := conn.Write(make([]byte, 100))
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("write to a peer that takes nothing: %v", err)
		}
	})
}
