package dirty_test

import (
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

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
