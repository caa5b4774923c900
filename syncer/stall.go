package syncer

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// StalledError: a restore made no progress for longer than it was given.
type StalledError struct {
	After time.Duration
	Last  string // what was wrong at the end, if anything was
}

func (e *StalledError) Error() string {
	text := fmt.Sprintf("no progress for %s (restore-timeout)", e.After)
	if e.Last != "" {
		text += "; the last error: " + e.Last
	}
	return text
}

// Unwrap: to whoever waits, a store that brings nothing cannot be reached.
func (e *StalledError) Unwrap() error { return store.ErrUnreachable }

// odometer counts what moves, so that a large file on a slow line is known
// from one that hangs.
type odometer struct{ moved atomic.Int64 }

// Write implements [io.Writer]: it counts.
func (o *odometer) Write(b []byte) (int, error) {
	o.moved.Add(int64(len(b)))
	return len(b), nil
}

// through counts what is written to dst.
func (o *odometer) through(dst io.WriterAt) io.WriterAt { return &metered{dst, o} }

type metered struct {
	io.WriterAt
	odometer *odometer
}

func (m *metered) WriteAt(b []byte, off int64) (int, error) {
	n, err := m.WriterAt.WriteAt(b, off)
	m.odometer.moved.Add(int64(n))
	return n, err
}

// watchdog calls abort when nothing has moved for limit. A limit of 0 is none.
func (e *Engine) watchdog(ctx context.Context, limit time.Duration, abort func(error)) {
	if limit <= 0 {
		return
	}
	const looks = 8 // within limit
	ticker := time.NewTicker(max(limit/looks, time.Millisecond))
	defer ticker.Stop()
	var last int64
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p := e.state.snapshot().Progress
		now := e.odometer.moved.Load() + p.FilesDone + p.FilesTotal
		if now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) >= limit {
			abort(&StalledError{After: limit, Last: e.state.snapshot().Message})
			return
		}
	}
}
