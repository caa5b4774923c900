package dirty_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a set, and the one who looks at what it hands out, in a bubble in
// which time is made of sleeping.
type bench struct {
	t *testing.T
	*dirty.Set
	start time.Time
}

func inBubble(t *testing.T, f func(t *testing.T, b bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, bench{t: t, Set: dirty.New(100, dirty.RestlessAfter), start: time.Now()})
	})
}

func (b bench) now() time.Duration { return time.Since(b.start) }

// next waits for the next work, at most a day.
func (b bench) next() dirty.Work {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 24*time.Hour)
	defer cancel()
	w, err := b.Next(ctx)
	if err != nil {
		b.t.Fatal("nothing is handed out")
	}
	return w
}

// nextAt wants key to be handed out at that time since the start.
func (b bench) nextAt(want time.Duration, key string) dirty.Work {
	b.t.Helper()
	w := b.next()
	if w.Key != key || b.now() != want {
		b.t.Fatalf("%q at %s, want %q at %s", w.Key, b.now(), key, want)
	}
	return w
}

// nothing wants nothing to be handed out for that long.
func (b bench) nothing(d time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	if w, err := b.Next(ctx); err == nil {
		b.t.Fatalf("%q is handed out at %s", w.Key, b.now())
	}
}

func (b bench) found(key string, remote *dirty.Remote) {
	b.t.Helper()
	if err := b.Found(b.t.Context(), key, remote); err != nil {
		b.t.Fatal(err)
	}
}

// hold makes a held deletion of key.
func (b bench) hold(key string) {
	b.t.Helper()
	b.found(key, nil)
	if w := b.next(); w.Key != key || w.MayDelete {
		b.t.Fatalf("%+v is handed out", w)
	}
	b.Done(key, dirty.Hold, "delete remote")
}

// fails has so many looks at key end in outcome.
func (b bench) fails(key string, outcome dirty.Outcome, times int) {
	b.t.Helper()
	b.found(key, nil)
	for range times {
		if w := b.next(); w.Key != key {
			b.t.Fatalf("%+v is handed out", w)
		}
		b.Done(key, outcome, "it failed")
	}
}

// touchUntil touches key every so often, from now on.
func (b bench) touchUntil(key string, every, until time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	b.Touch(key)
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for b.now() < until {
			select {
			case <-tick.C:
				b.Touch(key)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}

const ms = time.Millisecond

func TestQuiet(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		w := b.nextAt(25*ms, "a")
		if !w.Witnessed || w.Restless || w.MayDelete || w.Remote != nil || w.Attempts != 0 || !w.Since.Equal(b.start) {
			t.Errorf("%+v", w)
		}
		b.Done("a", dirty.Settled, "")
		if b.Len() != 0 {
			t.Error("it stays")
		}
		b.nothing(time.Hour)
	})
}

func TestQuietBeginsAnewWithEachTouch(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		for range 5 {
			b.Touch("a")
			time.Sleep(20 * ms)
		}
		b.nextAt(105*ms, "a")
	})
}

func TestFoundIsDueAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.found("a", nil)
		if w := b.nextAt(0, "a"); w.Witnessed {
			t.Error("a scan is no witness")
		}
		// What was touched is not hurried by being found as well.
		b.Touch("b")
		b.found("b", nil)
		if w := b.nextAt(25*ms, "b"); !w.Witnessed {
			t.Error("the witness is forgotten")
		}
	})
}

func TestFoldersWaitForTheirFirstFile(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("d/")
		b.nextAt(400*ms, "d/")
	})
}

func TestBackoff(t *testing.T) {
	for _, outcome := range []dirty.Outcome{dirty.Retry, dirty.Failed, dirty.Blocked} {
		inBubble(t, func(t *testing.T, b bench) {
			b.found("a", nil)
			b.next()
			for attempt := 1; attempt < 40; attempt++ {
				failed := b.now()
				b.Done("a", outcome, "it failed")
				if attempt%2 == 0 { // neither an event nor a flush nor a scan cuts it short
					b.Touch("a")
					b.found("a", nil)
					b.Hurry(true)
				}
				w := b.next()
				if attempt%2 == 0 {
					b.Hurry(false)
				}
				most := min(50*ms<<min(attempt-1, 20), 30*time.Second)
				if wait := b.now() - failed; wait < most/2 || wait > most {
					t.Fatalf("attempt %d comes after %s, want %s to %s", attempt, wait, most/2, most)
				}
				if w.Attempts != attempt {
					t.Fatalf("%d attempts, want %d", w.Attempts, attempt)
				}
			}
		})
	}
}

func remote(etag string) *dirty.Remote {
	return &dirty.Remote{Object: &entry.Remote{ETag: etag}}
}

// What a listing said stays said until the path is settled: a failed download
// would otherwise be taken for nothing to do.
func TestListingIsRemembered(t *testing.T) {
	for _, outcome := range []dirty.Outcome{dirty.Retry, dirty.Blocked, dirty.Unrest} {
		inBubble(t, func(t *testing.T, b bench) {
			said := remote("1")
			b.found("a", said)
			for range 3 {
				if w := b.next(); w.Remote != said {
					t.Fatalf("after outcome %d the listing is forgotten", outcome)
				}
				b.Done("a", outcome, "")
			}
			b.Touch("a") // an event says nothing of the bucket
			b.found("a", nil)
			if w := b.next(); w.Remote != said {
				t.Fatal("an event made it forget the listing")
			}
			b.Done("a", outcome, "")
			said = remote("2")
			b.found("a", said)
			if w := b.next(); w.Remote != said {
				t.Fatal("the older listing is believed")
			}
			b.Done("a", dirty.Settled, "")
			b.Touch("a")
			if w := b.next(); w.Remote != nil {
				t.Fatal("a listing that was dealt with comes back")
			}
		})
	}
}

// What a listing says while the path is being looked at is for the next look.
func TestListingWhileFlying(t *testing.T) {
	for _, outcome := range []dirty.Outcome{dirty.Settled, dirty.Published, dirty.Retry, dirty.Blocked, dirty.Unrest, dirty.Hold} {
		inBubble(t, func(t *testing.T, b bench) {
			b.found("a", remote("1"))
			b.next()
			gone := &dirty.Remote{}
			b.found("a", gone)
			b.Done("a", outcome, "")
			if w := b.next(); w.Remote != gone {
				t.Errorf("after outcome %d: %+v", outcome, w)
			}
		})
	}
}

func TestTouchedWhileFlying(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.nextAt(25*ms, "a")
		time.Sleep(100 * ms)
		b.Touch("a")
		b.nothing(time.Second) // one look at a time
		b.Done("a", dirty.Settled, "")
		w := b.nextAt(1125*ms, "a")
		if at := w.Since.Sub(b.start); at != 125*ms {
			t.Errorf("dirty since %s", at)
		}
		b.Done("a", dirty.Settled, "")
		if b.Len() != 0 {
			t.Error("it stays")
		}
	})
}

func TestTouchedJustBeforeTheEndOfALook(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.next()
		time.Sleep(100 * ms)
		b.Touch("a")
		b.Done("a", dirty.Settled, "")
		b.nextAt(150*ms, "a") // it still gets its quiet
	})
}

func TestDoneOfNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Done("a", dirty.Settled, "")
		b.Touch("b")
		b.Done("b", dirty.Settled, "") // nobody has it
		b.nextAt(25*ms, "b")
		b.Done("b", dirty.Settled, "")
		b.Done("b", dirty.Retry, "")
		if b.Len() != 0 {
			t.Error("made up")
		}
	})
}

func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.Pause(b.start.Add(time.Minute))
		b.nextAt(time.Minute, "a")
		b.Touch("b")
		b.Pause(b.start.Add(time.Hour))
		go func() {
			time.Sleep(5 * time.Second)
			b.Resume()
		}()
		b.nextAt(time.Minute+5*time.Second, "b")
	})
}

func TestHurry(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.found("fails", nil)
		b.next()
		for range 12 {
			b.Done("fails", dirty.Retry, "")
			b.next()
		}
		from := b.now()
		b.Done("fails", dirty.Retry, "")
		b.Touch("d/")
		b.Touch("a")
		b.Hurry(true)
		b.Hurry(true) // another flush
		for range 2 { // what is in backoff does not stand in the way of the others
			w := b.next()
			if b.now() != from || w.Key == "fails" {
				t.Fatalf("%q at %s", w.Key, b.now()-from)
			}
			b.Done(w.Key, dirty.Settled, "")
		}
		b.Hurry(false) // one of them has ended
		b.Touch("b")
		b.nextAt(from, "b")
		b.Done("b", dirty.Settled, "")
		b.Hurry(false)
		b.Touch("c")
		b.nextAt(from+25*ms, "c")
	})
}

// A backoff that is over before a quiet time would be does not keep its place.
func TestHurryPastABackoff(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.found("fails", nil)
		b.next()
		b.Done("fails", dirty.Retry, "")
		for i := range 10 {
			b.Touch(fmt.Sprint(i, "/"))
		}
		b.Hurry(true)
		for range 10 {
			if w := b.next(); w.Key == "fails" || b.now() > 0 {
				t.Fatalf("%s at %s", w.Key, b.now())
			}
		}
	})
}

// What is put off because others have failed is no attempt of its own. It comes
// as seldom as if it were, and nothing waits for it any longer.
func TestDeferred(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("held")
		b.found("a", nil)
		for i := range 12 {
			before := b.now()
			w := b.next()
			if w.Key != "a" || w.Attempts != 0 {
				t.Fatalf("look %d: %+v", i, w)
			}
			if i > 8 && b.now()-before < 5*time.Second {
				t.Errorf("look %d comes after %s", i, b.now()-before)
			}
			b.Done("a", dirty.Deferred, "not tried")
		}
		if h := b.Held(); h.Ripe.IsZero() {
			t.Errorf("deletions wait for %s", h.Awaited)
		}
		b.next()
		b.Done("a", dirty.Failed, "tried")
		if w := b.next(); w.Attempts != 1 {
			t.Errorf("%d attempts", w.Attempts)
		}
	})
}
