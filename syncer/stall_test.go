package syncer

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// slowListing has an object every 40 seconds.
type slowListing struct{ store.Store }

func (slowListing) List(context.Context, string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for i := range 10 {
			time.Sleep(40 * time.Second)
			if !yield(store.Object{Key: strconv.Itoa(i)}, nil) {
				return
			}
		}
	}
}

type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// TestWatchdog: whatever moves slowly is left alone, and what stands still is not.
func TestWatchdog(t *testing.T) {
	slowly := func(step func()) {
		for range 10 {
			time.Sleep(40 * time.Second)
			step()
		}
	}
	for name, work := range map[string]func(*Engine){
		"listing":   func(e *Engine) { e.listRemote(t.Context(), "dir/")(func(entry.Remote, error) bool { return true }) },
		"receiving": func(e *Engine) { slowly(func() { _, _ = e.odometer.through(nowhere{}).WriteAt([]byte("x"), 0) }) },
		"comparing": func(e *Engine) { slowly(func() { _, _ = e.odometer.Write([]byte("x")) }) },
		"finishing": func(e *Engine) { slowly(func() { e.state.transferred(0) }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &Engine{state: newState(slog.New(slog.DiscardHandler)), store: slowListing{}}
				ctx, abort := context.WithCancelCause(t.Context())
				go e.watchdog(ctx, time.Minute, abort)
				work(e)
				if ctx.Err() != nil {
					t.Errorf("given up while it went on: %v", context.Cause(ctx))
				}
				time.Sleep(2 * time.Minute)
				var stalled *StalledError
				if !errors.As(context.Cause(ctx), &stalled) {
					t.Errorf("after it stood still for two minutes: %v", context.Cause(ctx))
				}
			})
		})
	}
}
