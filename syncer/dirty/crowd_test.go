package dirty_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

func TestFoundWaitsWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench{t: t, Set: dirty.New(3, dirty.RestlessAfter), start: time.Now()}
		for i := range 5 { // held ones do not count
			b.hold(fmt.Sprint("held", i))
		}
		for i := range 3 {
			b.found(fmt.Sprint(i), nil)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		results := make(chan error, 3)
		go func() { results <- b.Found(ctx, "x", nil) }()
		go func() { results <- b.Found(t.Context(), "y", nil) }()
		synctest.Wait()
		if len(results) > 0 || b.Len() != 8 {
			t.Fatal("it does not wait")
		}
		b.Touch("z") // an event never waits
		why := errors.New("enough")
		cancel(why)
		if err := <-results; !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
		for range 2 {
			w := b.next()
			b.Done(w.Key, dirty.Settled, "")
		}
		if err := <-results; err != nil {
			t.Error(err)
		}
		if b.Len() != 8 {
			t.Errorf("%d paths", b.Len())
		}
	})
}

// Paths that fail keep a scan waiting no more than their memory asks for.
func TestFoundDoesNotWaitForBackoffs(t *testing.T) {
	for _, outcome := range []dirty.Outcome{dirty.Retry, dirty.Failed, dirty.Blocked, dirty.Unrest} {
		synctest.Test(t, func(t *testing.T) {
			b := bench{t: t, Set: dirty.New(3, dirty.RestlessAfter), start: time.Now()}
			b.Pause(b.start.Add(time.Minute)) // they come together
			for i := range 3 {
				b.found(fmt.Sprint(i), nil)
			}
			b.Resume()
			for range 3 {
				b.Done(b.next().Key, outcome, "")
			}
			if n := b.Waiting(); n != 3 {
				t.Errorf("%d are in a backoff", n)
			}
			for i := range 27 {
				b.found(fmt.Sprint("more", i), nil)
				b.Done(b.next().Key, outcome, "")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
			defer cancel()
			if err := b.Found(ctx, "too many", nil); err == nil || !b.Stuck() {
				t.Error("it takes ever more")
			}
			b.found("more0", remote("1")) // which is no more
			for range 30 {
				b.Done(b.next().Key, dirty.Settled, "")
			}
			if n := b.Waiting(); n != 0 || b.Len() != 0 {
				t.Errorf("%d of none are in a backoff", n)
			}
		})
	}
}

// What failed for a reason that has passed is looked at again at once.
func TestAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.fails("a", dirty.Failed, 12)
		at := b.now()
		if !b.Again("a") || b.Again("nothing") {
			t.Error("it does not know what is in it")
		}
		b.Again("a")
		if w := b.nextAt(at, "a"); w.Attempts != 12 {
			t.Errorf("%+v", w)
		}
		b.Again("a") // it is being looked at
		b.Done("a", dirty.Settled, "")
		if b.Waiting() != 0 || b.Len() != 0 {
			t.Error("it stays")
		}
	})
}
