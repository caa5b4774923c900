package dirty_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		f(t, bench{t: t, Set: dirty.New(100), start: time.Now()})
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

// A file that is written again and again is uploaded ever more seldom, but
// whenever it pauses for long enough to be read the bucket is never far behind.
func TestUploadsOfABusyFile(t *testing.T) {
	for _, c := range []struct{ every, gap time.Duration }{
		{30 * ms, 4 * time.Second},
		{200 * ms, 4 * time.Second},
		{2 * time.Second, 2 * time.Second}, // so seldom that there is no need
		{10 * time.Second, 10 * time.Second},
	} {
		inBubble(t, func(t *testing.T, b bench) {
			defer b.touchUntil("a", c.every, 10*time.Minute)()
			var last, gap, before time.Duration
			for b.now() < 9*time.Minute {
				if w := b.next(); w.Restless {
					t.Fatalf("restless at %s, although it pauses for %s", b.now(), c.every)
				}
				b.Done("a", dirty.Published, "")
				before, gap, last = gap, b.now()-last, b.now()
				if gap < before-c.every || gap > c.gap+c.every {
					t.Fatalf("written every %s, uploaded after %s and then after %s", c.every, before, gap)
				}
			}
			if gap < c.gap {
				t.Fatalf("written every %s, in the end uploaded every %s, want %s", c.every, gap, c.gap)
			}
		})
	}
}

// Once it has cooled down a file leaves at once again.
func TestCoolDown(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		for range 12 {
			b.Touch("a")
			b.next()
			b.Done("a", dirty.Published, "")
		}
		b.Touch("a")
		before := b.now()
		b.nextAt(before+4*time.Second, "a")
		b.Done("a", dirty.Settled, "")
		time.Sleep(33 * time.Second)
		b.Touch("a")
		b.nextAt(b.now()+25*ms, "a")
	})
}

// A file that changes in the middle of being read is given more time each time.
func TestUnrest(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.found("a", nil)
		b.next()
		at := time.Duration(0)
		for _, wait := range []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 4000, 4000} {
			b.Done("a", dirty.Unrest, "changes while it is read")
			at += wait * ms
			b.nextAt(at, "a")
		}
		b.Done("a", dirty.Unrest, "changes while it is read")
		time.Sleep(3 * time.Second)
		b.Touch("a") // and that quiet begins anew as well
		b.nextAt(at+7*time.Second, "a")
	})
}

// A file that is touched without end is looked at nevertheless, marked so, and
// not again for as long.
func TestRestless(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		defer b.touchUntil("a", 10*ms, time.Hour)()
		for i := 1; i <= 4; i++ {
			if w := b.nextAt(time.Duration(i)*dirty.RestlessAfter, "a"); !w.Restless || !w.Since.Equal(b.start) {
				t.Fatalf("%+v", w)
			}
			b.Done("a", dirty.Unrest, "never rests")
		}
		if list, since := b.Oldest(1); !since.Equal(b.start) || list[0].Reason != "never rests" {
			t.Errorf("dirty since %s because of %q", since.Sub(b.start), list[0].Reason)
		}
	})
}

func TestRestlessWhenPublished(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		defer b.touchUntil("a", 10*ms, time.Hour)()
		b.nextAt(dirty.RestlessAfter, "a")
		time.Sleep(15 * ms) // time for one more touch
		b.Done("a", dirty.Published, "")
		w := b.next()
		if at := b.now() - dirty.RestlessAfter; at < dirty.RestlessAfter || at > dirty.RestlessAfter+20*ms {
			t.Errorf("looked at again after %s", at)
		}
		if !w.Restless || w.Since.Sub(b.start) < dirty.RestlessAfter {
			t.Errorf("%+v", w)
		}
	})
}

// A log, of which a part was published, stays dirty, but only since then; and
// who waits for what was in that part is served.
func TestAdvanced(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		defer b.touchUntil("a", 7*ms, time.Hour)() // never at the moment of a look
		early := b.waits(b.Mark(), false)
		looked := time.Duration(0)
		for range 3 {
			w := b.nextAt(looked+dirty.RestlessAfter, "a")
			if !w.Restless {
				t.Fatalf("%+v", w)
			}
			before := b.Mark()
			time.Sleep(15 * ms) // some more is written while it is read
			late := b.waits(b.Mark(), false)
			b.Done("a", dirty.Advanced, "grows")
			looked = b.now()
			if !early() || b.Left(before) {
				t.Error("what was there before the look is in the bucket")
			}
			if late() {
				t.Error("what was written during the look is not")
			}
			if _, since := b.Oldest(1); since.Before(b.start.Add(looked - 15*ms)) {
				t.Errorf("dirty since %s", since.Sub(b.start))
			}
		}
	})
}

// A flush does not wait for half a minute to tell a log from other files.
func TestFlushOfALog(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		defer b.touchUntil("a", 10*ms, time.Hour)()
		b.Hurry(true)
		looks := 0
		for !b.next().Restless {
			looks++
			b.Done("a", dirty.Unrest, "changes while it is read")
		}
		if looks == 0 || b.now() > 5*time.Second {
			t.Errorf("restless after %d looks, at %s", looks, b.now())
		}
		b.Done("a", dirty.Unrest, "never rests")
		b.Hurry(false)
		if w := b.next(); b.now() > time.Minute || !w.Restless {
			t.Errorf("%+v at %s", w, b.now())
		}
	})
}

// Nobody may have been there to look when it was due; every further touch must
// not put it off again.
func TestRestlessWhileNobodyLooks(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		defer b.touchUntil("a", 10*ms, time.Hour)()
		time.Sleep(5 * dirty.RestlessAfter)
		if w := b.nextAt(5*dirty.RestlessAfter, "a"); !w.Restless {
			t.Error("it is not said to be restless")
		}
	})
}

// When it comes to rest it is no longer restless.
func TestRestAtLast(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		stop := b.touchUntil("a", 10*ms, time.Hour)
		b.next()
		stop()
		b.Done("a", dirty.Unrest, "never rests")
		if w := b.next(); w.Restless || b.now() > dirty.RestlessAfter+100*ms {
			t.Errorf("%+v at %s", w, b.now())
		}
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

func TestHold(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		said := remote("1")
		b.found("a", said)
		b.Touch("b")
		if h := b.Held(); h != (dirty.Held{Witnessed: true}) {
			t.Errorf("nothing is held: %+v", h)
		}
		b.nextAt(0, "a")
		b.Done("a", dirty.Hold, "delete remote")
		b.nextAt(25*ms, "b")
		time.Sleep(75 * ms)
		b.Done("b", dirty.Hold, "delete remote")
		last := b.start.Add(100 * ms)
		want := dirty.Held{Keys: 2, First: b.start, Last: last, Ripe: last}
		if h := b.Held(); h != want {
			t.Errorf("%+v, want %+v", h, want)
		}
		b.nothing(24 * time.Hour)
		b.Release(b.Held().Last)
		if h := b.Held(); h.Keys != 0 {
			t.Errorf("%+v", h)
		}
		for range 2 {
			w := b.next()
			if !w.MayDelete || (w.Key == "a") != (w.Remote == said) || w.Witnessed != (w.Key == "b") {
				t.Errorf("%+v", w)
			}
			b.Done(w.Key, dirty.Settled, "")
		}
		if b.Len() != 0 {
			t.Error("something stays")
		}
	})
}

func TestHeldWitnessed(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.next()
		b.Done("a", dirty.Hold, "")
		if !b.Held().Witnessed {
			t.Error("a was seen to go")
		}
		b.hold("b")
		if b.Held().Witnessed {
			t.Error("b was found missing")
		}
		b.Touch("b")
		if !b.Held().Witnessed {
			t.Error("b was named by an event by now")
		}
		b.next()
		b.Done("b", dirty.Hold, "")
		b.hold("c")
		b.found("c", nil)
		b.next()
		b.Touch("c")
		b.Done("c", dirty.Hold, "")
		if h := b.Held(); !h.Witnessed || h.Keys != 3 {
			t.Errorf("c was named while it was looked at: %+v", h)
		}
	})
}

// A held deletion that there is news about is looked at again, stays counted
// as held meanwhile, and goes on waiting where it was if nothing has changed.
func TestHeldIsLookedAtAgain(t *testing.T) {
	for name, news := range map[string]func(b bench){
		"event":   func(b bench) { b.Touch("a") },
		"scan":    func(b bench) { b.found("a", nil) },
		"listing": func(b bench) { b.found("a", remote("2")) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.hold("a")
				time.Sleep(time.Minute)
				before := b.Held()
				news(b)
				if h := b.Held(); h.Keys != 1 || h.First != before.First {
					t.Errorf("%+v", h)
				}
				if w := b.next(); w.Key != "a" || w.MayDelete {
					t.Errorf("%+v", w)
				}
				if h := b.Held(); h.Keys != 1 || h.Awaited != "" {
					t.Errorf("while it is looked at: %+v", h)
				}
				b.Done("a", dirty.Hold, "")
				if h := b.Held(); h.Keys != 1 || h.First != before.First || h.Last != before.Last {
					t.Errorf("it waits from the beginning: %+v", h)
				}
				news(b)
				b.next()
				b.Done("a", dirty.Published, "") // it had come back
				if b.Held().Keys != 0 || b.Len() != 0 {
					t.Error("it stays")
				}
			})
		})
	}
}

// A deletion that is found again is nothing new, if it is the same one.
func TestHolds(t *testing.T) {
	there, absent := remote("1"), &dirty.Remote{}
	for _, room := range []int{100, 0} {
		inBubble(t, func(t *testing.T, b bench) {
			b.Set = dirty.NewHolding(100, room)
			is := func(key string, remote *dirty.Remote, want bool) {
				t.Helper()
				if b.Holds(key, remote) != want {
					t.Errorf("room for %d, %s: %v", room, key, !want)
				}
			}
			is("here", absent, false)
			b.found("here", absent) // and not in the bucket
			is("here", absent, false)
			b.next()
			is("here", absent, false)
			b.Done("here", dirty.Hold, "")
			b.hold("there")
			is("here", absent, true)
			is("here", nil, false)
			is("here", there, false)
			is("there", nil, true)
			is("there", there, true)
			is("there", absent, false)
			b.Touch("there")
			is("there", there, false)
			b.next()
			is("there", there, false)
			b.Done("there", dirty.Hold, "")
			is("there", there, true)
			b.Release(b.Held().Ripe)
			is("there", there, false)
		})
	}
}

// What came to be held after somebody had looked, and while he decided, is not
// let go with what he has seen.
func TestReleaseWhatWasSeen(t *testing.T) {
	for _, room := range []int{100, 1} {
		t.Run(fmt.Sprint("room for ", room), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.Set = dirty.NewHolding(100, room)
				for i := range 4 {
					b.hold(fmt.Sprint("before", i))
				}
				seen := b.Held()
				time.Sleep(ms)
				b.hold("after")
				b.found("before3", nil) // and is looked at again
				b.next()
				b.Done("before3", dirty.Hold, "")
				b.Release(seen.Ripe)
				if room == 1 { // it is not known any more of each when it came
					if h := b.Held(); h.Keys != 4 {
						t.Errorf("%+v", h)
					}
					return
				}
				if h := b.Held(); h.Keys != 1 || h.First != h.Last {
					t.Errorf("%+v", h)
				}
				for range 4 {
					if w := b.next(); w.Key == "after" || !w.MayDelete {
						t.Errorf("%+v", w)
					}
				}
				b.nothing(time.Hour)
			})
		})
	}
}

// Where something is always under way, deletions wait for what was when they
// were found, and for nothing that came later.
func TestRipe(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		for i := range 10 {
			b.found(fmt.Sprint("new", i), nil)
			b.next()
			time.Sleep(ms)
			b.hold(fmt.Sprint("old", i))
			time.Sleep(ms)
			if i == 0 {
				if h := b.Held(); h.Awaited != "new0" || !h.Ripe.IsZero() {
					t.Errorf("%+v", h)
				}
				continue
			}
			b.Done(fmt.Sprint("new", i-1), dirty.Published, "")
			h := b.Held()
			if h.Keys != 2 || h.Awaited != fmt.Sprint("new", i) || h.Ripe.Before(h.First) || !h.Ripe.Before(h.Last) {
				t.Errorf("%+v", h)
			}
			b.Release(h.Ripe)
			if w := b.next(); w.Key != fmt.Sprint("old", i-1) || !w.MayDelete {
				t.Errorf("%+v", w)
			}
			b.Done(fmt.Sprint("old", i-1), dirty.Settled, "")
		}
	})
}

func TestReleasedWhileLookedAt(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		b.found("a", nil)
		b.next()
		b.Release(b.Held().Last)
		b.Done("a", dirty.Hold, "") // it did not know
		if w := b.nextAt(0, "a"); !w.MayDelete {
			t.Error("it was let go")
		}
	})
}

// An event after the release asks for another judgement.
func TestTouchedAfterRelease(t *testing.T) {
	for _, flying := range []bool{false, true} {
		inBubble(t, func(t *testing.T, b bench) {
			b.hold("a")
			b.Release(b.Held().Last)
			if flying {
				b.next()
			}
			b.Touch("a")
			if flying {
				b.Done("a", dirty.Retry, "it failed")
			}
			if w := b.next(); w.MayDelete {
				t.Error("what was let go is another deletion by now")
			}
		})
	}
}

// Deletions wait for whatever may be the new name of what is deleted.
func TestAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(b bench)
		want    bool
	}{
		"nothing else":                {func(bench) {}, false},
		"one that waits":              {func(b bench) { b.Touch("new"); b.hold("old") }, true},
		"one that flies":              {func(b bench) { b.found("new", nil); b.next(); b.hold("old") }, true},
		"one that fails":              {func(b bench) { b.fails("new", dirty.Failed, 1); b.hold("old") }, true},
		"one that fails and fails":    {func(b bench) { b.fails("new", dirty.Failed, 6); b.hold("old") }, false},
		"one that the store keeps":    {func(b bench) { b.fails("new", dirty.Retry, 60); b.hold("old") }, true},
		"one that is torn":            {func(b bench) { b.fails("new", dirty.Unrest, 1); b.hold("old") }, true},
		"one in the way":              {func(b bench) { b.fails("new", dirty.Blocked, 1); b.hold("old") }, false},
		"one that became dirty later": {func(b bench) { b.hold("old"); time.Sleep(ms); b.Touch("new") }, false},
		"one that never rests": {func(b bench) {
			stop := b.touchUntil("new", 10*ms, time.Hour)
			b.next()
			b.Done("new", dirty.Unrest, "")
			stop()
			b.hold("old")
		}, false},
		"one that never rests, not looked at yet": {func(b bench) {
			stop := b.touchUntil("new", 10*ms, 10*time.Second)
			time.Sleep(time.Second)
			b.hold("old")
			stop()
		}, true},
		"one that was let go": {func(b bench) {
			b.Release(b.Held().Last)
			b.next()
			b.Done("first", dirty.Retry, "")
			b.hold("old")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.hold("first")
				c.prepare(b)
				if h := b.Held(); (h.Awaited == "new") != c.want || h.Awaited != "" && !c.want {
					t.Errorf("%+v", h)
				}
			})
		})
	}
}

// A scan finds that a file is gone, and much later in key order its new name.
func TestScannedTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("long ago")
		time.Sleep(time.Minute)
		from := time.Now()
		b.hold("a")
		time.Sleep(time.Second)
		b.found("z", nil)
		b.next()
		time.Sleep(time.Second)
		b.Scanned(from)
		if h := b.Held(); h.Awaited != "z" || h.Keys != 2 || !h.Last.Equal(time.Now()) || !h.First.Equal(b.start) {
			t.Errorf("while z is under way: %+v", h)
		}
		b.found("later", nil)
		b.Done("z", dirty.Published, "")
		time.Sleep(time.Second)
		b.Scanned(time.Now())
		b.found("later still", nil)
		b.next()
		b.Done("later", dirty.Settled, "")
		if h := b.Held(); h.Awaited != "" {
			t.Errorf("a later scan is not waited for: %+v", h)
		}
	})
}

func TestFoundWaitsWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bench{t: t, Set: dirty.New(3), start: time.Now()}
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
			b := bench{t: t, Set: dirty.New(3), start: time.Now()}
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

func TestDeleting(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("other")
		is := func(want bool, when string) {
			t.Helper()
			if b.Deleting() != want {
				t.Errorf("%s: %v", when, !want)
			}
		}
		is(false, "nothing is held")
		b.hold("a")
		is(true, "held")
		b.Release(b.Held().Last)
		is(true, "let go")
		b.next()
		is(true, "under way")
		b.Done("a", dirty.Failed, "")
		is(true, "failed")
		b.next() // other
		b.next()
		b.Done("a", dirty.Settled, "")
		is(false, "done")
	})
}

// waits starts a Wait and reports, whenever asked, whether it has ended.
func (b bench) waits(mark uint64, held bool) (ended func() bool) {
	done := make(chan error, 1)
	go func() { done <- b.Wait(b.t.Context(), mark, held) }()
	return func() bool {
		synctest.Wait()
		return len(done) > 0
	}
}

func TestWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		if !b.waits(b.Mark(), false)() {
			t.Error("nothing is dirty")
		}
		b.Touch("a")
		b.Touch("b")
		mark := b.Mark()
		b.Touch("late")
		ended := b.waits(mark, false)
		for _, key := range []string{"a", "b"} {
			if ended() || !b.Left(mark) {
				t.Fatalf("it has ended before %s", key)
			}
			b.Touch(key) // more of it does not make it less dirty
			if b.next().Key == "late" {
				b.next()
			}
			b.Done(key, dirty.Settled, "")
		}
		if !ended() || b.Left(mark) {
			t.Error("it does not end")
		}
	})
}

// What was written while a path was being looked at is not covered by that look.
func TestWaitForWhatCameWhileFlying(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.next()
		b.Touch("a")
		ended := b.waits(b.Mark(), false)
		b.Done("a", dirty.Published, "")
		if ended() {
			t.Fatal("the second write is not in the bucket")
		}
		b.next()
		b.Touch("a") // after the mark
		b.Done("a", dirty.Published, "")
		if !ended() {
			t.Error("it waits for what came later")
		}
	})
}

// What does not come from the bucket keeps nobody waiting who wants to know what
// is there; news of the path do.
func TestWaitSent(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.fails("in", dirty.Missed, 1)
		sent := func(want bool, when string) {
			t.Helper()
			done := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
			defer cancel()
			go func() { done <- b.WaitSent(ctx, b.Mark()) }()
			if ended := <-done == nil; ended != want || b.Sent(b.Mark()) != want {
				t.Errorf("%s: %v, %v", when, ended, b.Sent(b.Mark()))
			}
			if !b.Left(b.Mark()) {
				t.Errorf("%s: it is not left", when)
			}
		}
		sent(true, "missed")
		b.found("in", remote("2"))
		sent(true, "listed again")
		b.next()
		sent(true, "looked at again")
		b.Touch("in")
		sent(false, "touched meanwhile")
		b.Done("in", dirty.Missed, "")
		sent(false, "there is news")
		b.next()
		b.Done("in", dirty.Missed, "")
		sent(true, "none any more")
		b.found("in", nil)
		sent(false, "the volume differs")
		b.next()
		b.Done("in", dirty.Missed, "")
		sent(true, "missed again")
		b.Touch("out")
		sent(false, "something else")
	})
}

// What a look gives rise to is waited for by those who wait for the look.
func TestTouchFor(t *testing.T) {
	for _, follower := range []string{"copy", "cause", "known", "flying"} {
		t.Run(follower, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.found("cause", nil)
				b.next()
				ended := b.waits(b.Mark(), true)
				if follower == "known" || follower == "flying" { // for another reason, later
					b.Touch(follower)
				}
				if follower == "flying" {
					b.next()
				}
				b.TouchFor(follower, "cause")
				b.Done("cause", dirty.Settled, "")
				if follower == "flying" {
					b.Done("flying", dirty.Settled, "")
				}
				if ended() {
					t.Fatal("what follows is not in the bucket")
				}
				b.next()
				b.Done(follower, dirty.Settled, "")
				if !ended() || b.Len() > 0 {
					t.Error("it does not end")
				}
			})
		})
	}
	inBubble(t, func(t *testing.T, b bench) { // of nothing
		b.TouchFor("a", "nothing")
		b.nextAt(25*ms, "a")
	})
}

func TestWaitForHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		b.Touch("b")
		mark := b.Mark()
		all, others := b.waits(mark, false), b.waits(mark, true)
		if all() || others() {
			t.Error("b is left")
		}
		b.next()
		b.Done("b", dirty.Settled, "")
		if all() || !others() {
			t.Error("a alone is left, and held")
		}
		b.Touch("a") // it may have come back: then it is not just held
		others = b.waits(mark, true)
		if others() {
			t.Error("nobody has looked yet")
		}
		b.next()
		b.Done("a", dirty.Hold, "")
		if all() || !others() || !b.Left(mark) {
			t.Error("it is still held")
		}
		b.Release(b.Held().Last)
		b.next()
		b.Done("a", dirty.Settled, "")
		if !all() {
			t.Error("nothing is left")
		}
	})
}

func TestWaitIsCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("flush-timeout is over"))
		defer cancel()
		if err := b.Wait(ctx, b.Mark(), false); err == nil || err.Error() != "flush-timeout is over" {
			t.Errorf("%v", err)
		}
		if _, err := b.Next(ctx); err == nil || err.Error() != "flush-timeout is over" {
			t.Errorf("%v", err)
		}
	})
}

func TestOldest(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		if list, since := b.Oldest(5); len(list) > 0 || !since.IsZero() {
			t.Error(list, since)
		}
		b.hold("held")
		for i := range 50 {
			b.Touch(fmt.Sprintf("%02d", (i*17)%50))
			if i%2 == 1 {
				time.Sleep(ms)
			}
		}
		list, since := b.Oldest(3)
		var got []string
		for _, p := range list {
			got = append(got, fmt.Sprint(p.Key, " ", p.Since.Sub(b.start), " ", p.Reason))
		}
		if want := []string{"00 0s waiting", "17 0s waiting", "held 0s delete remote"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if !since.Equal(b.start) {
			t.Errorf("since %s", since)
		}
		if list, _ := b.Oldest(100); len(list) != 51 || list[50].Key != "33" {
			t.Errorf("%d paths, the last %+v", len(list), list[len(list)-1])
		}
		if list, _ := b.Oldest(0); len(list) > 0 {
			t.Error("asked for none")
		}
	})
}
